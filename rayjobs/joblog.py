"""A job's own log: its prints and its logging, in a file of its own and, as before, in its process's output."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from io import TextIOBase
from pathlib import Path
from typing import TextIO

READ_LIMIT_BYTES = 16 * 2**20


class _Tee(TextIOBase):
    """Writes to a stream and to a file that is opened at the first write; all else, like `buffer`, is the stream's."""

    def __init__(self, stream: TextIO, file: _LogFile):
        self._stream = stream
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _LogFile:
    """Line-buffered, so that a reader sees what a job printed while it runs, and a crash loses no whole line.

    Takes and drops what comes after `close`: a thread or a logging handler of a job may outlive it.
    """

    def __init__(self, path: Path):
        self._path = path
        self._open: TextIO | None = None
        self._closed = False
        self._lock = threading.RLock()

    def write(self, text: str) -> None:
        with self._lock:
            if self._closed:
                return
            if self._open is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._open = self._path.open("a", buffering=1, encoding="utf-8", errors="replace")
            self._open.write(text)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._open is not None:
                self._open.close()


@contextmanager
def job_output(path: Path) -> Iterator[None]:
    """While open, whatever this process prints or logs (INFO and above) is added to the file at `path`."""
    file = _LogFile(path)
    out = _Tee(sys.stdout, file)
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    _set_level(root, min(level, logging.INFO) or logging.INFO)
    try:
        with redirect_stdout(out), redirect_stderr(_Tee(sys.stderr, file)):
            yield
    finally:
        _set_level(root, level)
        root.removeHandler(handler)
        file.close()


def _set_level(root: logging.Logger, level: int) -> None:
    """Only where it is another one: a level that is set has all loggers of the process forget what they know."""
    if root.level != level:
        root.setLevel(level)


def read(path: Path) -> bytes:
    """What a job wrote so far, of a very long log the end; empty if it wrote nothing."""
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - READ_LIMIT_BYTES))
        return file.read()
