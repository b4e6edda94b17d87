"""Files beside the DuckDB file: uploads, binaries by sha256, results too large for a row, logs.

All functions block. A file appears under its final name complete or not at all: it is written in `uploads/`
and moved. What cannot be read or written raises `OSError`.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from rayjobs.errors import NoSuchBinary, NoSuchJob, StorageFailure
from rayjobs.records import JOB_ID


@dataclass
class Upload:
    """Content on its way in: `path` grows by chunks, `sha` and `size_bytes` with it."""

    path: Path
    sha: hashlib._Hash = field(default_factory=hashlib.sha256)
    size_bytes: int = 0

    def append(self, offset: int, chunk: bytes) -> None:
        """Add the chunk that begins at `offset`: not if it is there; `StorageFailure` if it leaves a gap."""
        if offset + len(chunk) <= self.size_bytes:
            return
        if offset != self.size_bytes:
            raise StorageFailure(f"a chunk at {offset} does not continue an upload of {self.size_bytes} bytes")
        with self.path.open("r+b") as file:  # not "ab": that would bring a removed upload back
            file.seek(offset)
            file.write(chunk)
        self.sha.update(chunk)
        self.size_bytes += len(chunk)

    def sync(self) -> None:
        sync_path(self.path)

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)


def binaries_folder(data_dir: Path) -> Path:
    """Where the contents of binaries are, each named by its sha256."""
    return data_dir / "binaries"


def changes_file(data_dir: Path) -> Path:
    """Where the changes of binaries are counted (`ChangeCount`), for processes of the store's node."""
    return data_dir / "binaries.changes"


class Blobs:
    def __init__(self, folder: Path):
        self._uploads, self._results, self._logs = (folder / name for name in ("uploads", "results", "logs"))
        self._binaries = binaries_folder(folder)
        for place in (self._uploads, self._binaries, self._results, self._logs):
            place.mkdir(parents=True, exist_ok=True)

    def remove_uploads(self) -> None:
        """Remove what an earlier process left unfinished."""
        for path in self._uploads.iterdir():
            path.unlink()

    def new_upload(self, upload_id: str) -> Upload:
        upload = Upload(self._uploads / upload_id)
        upload.path.touch(exist_ok=False)
        return upload

    def keep_binary(self, upload: Upload) -> None:
        """Make a synced upload the content of its sha, durably. Does no harm twice."""
        move_durably(upload.path, self._binaries / upload.sha.hexdigest())

    def read_binary(self, sha256: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` from `offset` on, none at the end; raises `NoSuchBinary`."""
        try:
            with (self._binaries / _safe_sha(sha256)).open("rb") as file:
                file.seek(offset)
                return file.read(limit_bytes)
        except FileNotFoundError:
            raise NoSuchBinary(f"no binary with the sha256 {sha256}") from None

    def remove_binaries_except(self, sha256s: set[str]) -> None:
        for path in self._binaries.iterdir():
            if path.name not in sha256s:
                path.unlink(missing_ok=True)

    def draft_result(self, content: bytes) -> Path:
        """A synced file to be kept, or removed, once its job's end is decided."""
        return self._draft(content, sync=True)

    def keep_result(self, job_id: str, draft: Path) -> None:
        """Make a draft the job's result, durably. Does no harm twice."""
        move_durably(draft, self._results / f"{safe_job_id(job_id)}.json")

    def read_result(self, job_id: str, longest_bytes: int | None = None) -> bytes | None:
        """None if there is no such file, or it is longer than that."""
        path = self._results / f"{safe_job_id(job_id)}.json"
        if longest_bytes is not None and path.exists() and path.stat().st_size > longest_bytes:
            return None
        return _read(path)

    def save_log(self, job_id: str, content: bytes) -> None:
        """Replace the job's log. Not synced: a power cut may cost it, a killed process does not."""
        path = self._logs / f"{safe_job_id(job_id)}.log"
        os.replace(self._draft(content, sync=False), path)

    def read_log(self, job_id: str) -> bytes:
        """Empty if there is none."""
        return _read(self._logs / f"{safe_job_id(job_id)}.log") or b""

    def remove_jobs(self, job_ids: list[str]) -> None:
        """Remove what belongs to jobs that are deleted: their results and logs."""
        for job_id in map(safe_job_id, job_ids):
            (self._results / f"{job_id}.json").unlink(missing_ok=True)
            (self._logs / f"{job_id}.log").unlink(missing_ok=True)

    def _draft(self, content: bytes, *, sync: bool) -> Path:
        path = self._uploads / uuid.uuid4().hex
        path.write_bytes(content)
        if sync:
            sync_path(path)
        return path


def safe_job_id(job_id: str) -> str:
    """`job_id`, fit to be a file's name; raises `NoSuchJob` for any other."""
    if not re.fullmatch(JOB_ID, job_id):
        raise NoSuchJob(f"No such job ID {job_id}")
    return job_id


def _safe_sha(sha256: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise NoSuchBinary(f"no binary with the sha256 {sha256}")
    return sha256


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def move_durably(source: Path, target: Path) -> None:
    """Move a synced file, durably. A source that is gone was moved by an earlier try of the same write."""
    try:
        os.replace(source, target)
    except FileNotFoundError:
        if not target.exists():
            raise
    sync_path(target.parent)


def sync_path(path: Path) -> None:
    """Have a file, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
