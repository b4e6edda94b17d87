"""Jobs that a context has begun and written nowhere else yet: what the store tells of them if the context dies.

A context on the store's node notes them in a file of its own, in a few microseconds: not synced, for the file outlives
the process all the same, and a power cut takes their caller along. Lines of JSON: a job's row as it begins, or its id
alone once it is written elsewhere. Its writer holds a lock on it for as long as it lives.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

from rayjobs.errors import BadParameter, StorageFailure
from rayjobs.records import JobInfo
from rayjobs.store.journal import ensure_folder, is_let_go, line_of

log = logging.getLogger(__name__)

TIDY_BYTES = 64 * 2**10
WRITER_PATIENCE_S = 5.0
"""A process that was killed is gone in less."""


class UnderWay:
    """What one context notes."""

    def __init__(self, folder: Path, context_id: str):
        self._path = _path(folder, context_id)
        self._file: int | None = None
        self._open: dict[str, bytes] = {}

    def begun(self, job: JobInfo, config: dict[str, Any]) -> None:
        """Raises `StorageFailure`; `BadParameter` for text that the store could not take in."""
        try:
            line = line_of(job, config, None)
            self._append(line)
        except UnicodeEncodeError as error:
            raise BadParameter(f"the job has text that UTF-8 cannot hold: {error}") from None
        except OSError as error:
            raise StorageFailure(f"can't note a job that begins: {error}") from error
        self._open[job.job_id] = line

    def written(self, job_id: str) -> None:
        """The job is in the store, or refused. What cannot be noted of that costs nothing: the store sees the job."""
        if self._open.pop(job_id, None):
            with contextlib.suppress(OSError):
                self._append(json.dumps(job_id).encode() + b"\n")
                if os.fstat(self._file).st_size > TIDY_BYTES + 2 * sum(map(len, self._open.values())):
                    self._rewrite()

    def close(self) -> None:
        """Note nothing more; the file is the store's to remove."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, line: bytes) -> None:
        if self._file is None:
            ensure_folder(self._path.parent)
            self._file = _locked(self._path)
        size = os.fstat(self._file).st_size
        if os.write(self._file, line) < len(line):
            os.ftruncate(self._file, size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _rewrite(self) -> None:
        """The open ones alone, in a new file."""
        draft = self._path.with_suffix(".draft")
        file = _locked(draft)
        if os.write(file, content := b"".join(self._open.values())) < len(content):
            os.close(file)
            draft.unlink()
            return
        os.replace(draft, self._path)
        self.close()
        self._file = file


def left_by(folder: Path, context_id: str) -> list[dict[str, Any]]:
    """The rows of jobs that a context which has died had begun; some may be written elsewhere as well."""
    found: dict[str, dict[str, Any]] = {}
    with contextlib.suppress(FileNotFoundError):
        for line in _path(folder, context_id).read_bytes().splitlines():
            try:
                noted = json.loads(line)
            except ValueError:  # what a power cut left
                continue
            if isinstance(noted, dict):
                found[noted["job_id"]] = noted
            else:
                found.pop(noted, None)
    return list(found.values())


def await_writer_gone(folder: Path, context_id: str) -> None:
    """Returns once the context's process writes no more: until then it may still end jobs. Blocks."""
    deadline = time.monotonic() + WRITER_PATIENCE_S
    with contextlib.suppress(FileNotFoundError):
        while not _has_no_writer(_path(folder, context_id)):
            if time.monotonic() > deadline:
                log.warning("the process of context %s has ended, and still writes", context_id)
                return
            time.sleep(0.01)


def forget(folder: Path, context_id: str) -> None:
    """What that context had begun is written."""
    for suffix in (".begun", ".draft"):
        _path(folder, context_id).with_suffix(suffix).unlink(missing_ok=True)


def _locked(path: Path) -> int:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    fcntl.flock(file, fcntl.LOCK_EX)
    return file


def _has_no_writer(path: Path) -> bool:
    with path.open("rb") as file:
        return is_let_go(file.fileno())


def _path(folder: Path, context_id: str) -> Path:
    return folder / f"{context_id}.begun"
