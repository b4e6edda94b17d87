"""Jobs that a context has begun and written nowhere else yet: what the store tells of them if the context dies.

A context on the store's node notes them in a file of its own, in a few microseconds: not synced, for the file outlives
the process all the same, and a power cut takes their caller along. Lines of JSON: a job's row as it begins, or its id
alone once it is over, or written elsewhere.
"""

from __future__ import annotations

import contextlib
import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from rayjobs.errors import StorageFailure
from rayjobs.records import JobInfo
from rayjobs.store import rows
from rayjobs.store.journal import ensure_folder

TIDY_BYTES = 64 * 2**10


class UnderWay:
    """What one context notes."""

    def __init__(self, folder: Path, context_id: str):
        self._path = _path(folder, context_id)
        self._file: int | None = None
        self._open: set[str] = set()

    def begun(self, job: JobInfo, config: dict[str, Any]) -> None:
        """Raises `StorageFailure`."""
        self._note(rows.row_of_whole_job(job, config, None))
        self._open.add(job.job_id)

    def over(self, job_id: str) -> None:
        """Nothing happens for one that has not begun. What cannot be noted costs nothing: it is written elsewhere."""
        if job_id in self._open:
            self._open.remove(job_id)
            with contextlib.suppress(StorageFailure):
                self._note(job_id)

    def close(self) -> None:
        """The context is over, in good order."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._path.unlink(missing_ok=True)

    def _note(self, what: dict[str, Any] | str) -> None:
        try:
            if self._file is None:
                ensure_folder(self._path.parent)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
            if not self._open and os.fstat(self._file).st_size > TIDY_BYTES:
                os.ftruncate(self._file, 0)
            os.write(self._file, json.dumps(what, default=datetime.isoformat).encode() + b"\n")
        except OSError as error:
            raise StorageFailure(f"can't note a job that begins or ends: {error}") from error


def left_by(folder: Path, context_id: str) -> list[dict[str, Any]]:
    """The rows of jobs that a context which has died had begun; some may be written elsewhere as well."""
    found: dict[str, dict[str, Any]] = {}
    try:
        content = _path(folder, context_id).read_bytes()
    except FileNotFoundError:
        return []
    for line in content.splitlines():
        try:
            noted = json.loads(line)
        except ValueError:  # the disk was full
            continue
        if isinstance(noted, dict):
            found[noted["job_id"]] = noted
        else:
            found.pop(noted, None)
    return list(found.values())


def forget(folder: Path, context_id: str) -> None:
    """What that context had begun is written."""
    _path(folder, context_id).unlink(missing_ok=True)


def _path(folder: Path, context_id: str) -> Path:
    return folder / f"{context_id}.begun"
