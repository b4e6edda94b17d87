"""Journals: jobs that were over before anything of them was written, on their way into the job store's database.

A context on the store's node appends them to a file of its own, durable in a quarter of a millisecond; the store takes
them into its database before anyone reads it. So a short job costs neither a call of the store nor a commit there.
A file is whole lines of JSON, each a row of `jobs`; its writer holds a lock on it for as long as it may grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from rayjobs.errors import StorageFailure
from rayjobs.gathering import Gathering, Outcome
from rayjobs.records import JobInfo
from rayjobs.store import rows
from rayjobs.store.blobs import sync_path

log = logging.getLogger(__name__)

FULL_BYTES = 4 * 2**20
READ_BYTES = 4 * 2**20
_NAMES = "*.jsonl"


def journals_folder(data_dir: Path) -> Path:
    return data_dir / "journals"


def ensure_folder(folder: Path) -> None:
    """Make the folder of journals, durably."""
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        sync_path(folder.parent)


def line_of(ended: JobInfo, config: dict[str, Any], result_json: str | None) -> bytes:
    """A job as a line: the columns of its row, times in ISO 8601.

    Raises `UnicodeEncodeError` for text that UTF-8 cannot hold: the store could not take it in.
    """
    row = rows.row_of_whole_job(ended, config, result_json)
    return json.dumps(row, default=datetime.isoformat, ensure_ascii=False).encode() + b"\n"


class Journal:
    """What one process appends. Lines that come while others are made durable share the next write."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._file: int | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._waiting: Gathering[bytes] = Gathering(self._write)

    async def append(self, line: bytes) -> None:
        """Returns once it is durable; raises `StorageFailure`."""
        await self._waiting.add(line)

    async def close(self) -> None:
        """Append what waits, and let the store have the file."""
        await self._waiting.drained()
        self._let_go()
        self._thread.shutdown()

    async def _write(self, lines: list[bytes]) -> list[Outcome[Any]]:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, b"".join(lines))
        return [Outcome()] * len(lines)

    def _append(self, content: bytes) -> None:
        try:
            if self._file is None:
                self._file = _new_file(self._folder)
            _write_all(self._file, content)
            os.fdatasync(self._file)
            if os.fstat(self._file).st_size > FULL_BYTES:
                self._let_go()
        except OSError as error:
            # What of it is in the file may be half a line, which must not be the beginning of another.
            self._let_go()
            raise StorageFailure(f"can't write to the journal of jobs: {error}") from error

    def _let_go(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None


@dataclass(frozen=True)
class News:
    """Rows that are new in the journals, and up to where each file is known with them."""

    rows: list[dict[str, Any]]
    ends: dict[Path, int]


@dataclass
class Journals:
    """All journals of a store, as it reads them. Methods block, for microseconds where nothing is new."""

    folder: Path
    _offsets: dict[Path, int] = field(default_factory=dict)

    def sizes(self) -> dict[Path, int]:
        """How long each file is now, in bytes: all that was acknowledged by now is in that."""
        sizes: dict[Path, int] = {}
        for path in self.folder.glob(_NAMES):
            with contextlib.suppress(FileNotFoundError):
                sizes[path] = path.stat().st_size
        return sizes

    def news(self, sizes: dict[Path, int]) -> News:
        """What of `sizes` has not been `taken` yet: a part of it if that is very much."""
        found: list[dict[str, Any]] = []
        ends: dict[Path, int] = {}
        read_bytes = 0
        for path, size in sizes.items():
            offset = self._offsets.get(path, 0)
            if size > offset and read_bytes < READ_BYTES:
                with contextlib.suppress(FileNotFoundError):
                    lines, end = _whole_lines(path, offset)
                    found += _rows_of(path, lines)
                    read_bytes += end - offset
                    if lines:
                        ends[path] = end
        return News(found, ends)

    def taken(self, news: News) -> None:
        """Those rows are in the database."""
        self._offsets |= news.ends

    def remove_read(self) -> None:
        """Remove the files that are in the database and will not grow any more."""
        for path in list(self.folder.glob(_NAMES)):
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                if is_let_go(file.fileno()) and not _whole_lines(path, self._offsets.get(path, 0))[0]:
                    path.unlink()
                    self._offsets.pop(path, None)


def _new_file(folder: Path) -> int:
    """Under its name once it is locked: a store must not take it for one that is let go."""
    ensure_folder(folder)
    draft = folder / uuid.uuid4().hex
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        os.replace(draft, draft.with_suffix(".jsonl"))
        sync_path(folder)
    except OSError:
        draft.unlink(missing_ok=True)
        os.close(file)
        raise
    return file


def _write_all(file: int, content: bytes) -> None:
    while content:
        content = content[os.write(file, content) :]


def _whole_lines(path: Path, offset: int) -> tuple[list[bytes], int]:
    """Lines from `offset` on, and where the last of them ends: one without an end is still being written, or never
    will be.
    """
    with path.open("rb") as file:
        file.seek(offset)
        content = file.read(READ_BYTES)
        if b"\n" not in content:
            content += file.readline()
    whole = content[: content.rfind(b"\n") + 1]
    return whole.splitlines(), offset + len(whole)


def _rows_of(path: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    """What a power cut left of lines that were never acknowledged is no job, and must not keep others out."""
    found = []
    for line in lines:
        try:
            found.append(_row_of(line))
        except ValueError:
            log.error("a line of the journal %s is no job, and is left out: %r", path, line[:100])
    return found


def _row_of(line: bytes) -> dict[str, Any]:
    row = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError(f"no row: {row!r}")
    return row


def is_let_go(file: int) -> bool:
    """Whether the file's writer, who holds a lock on it, has ended."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
