"""The rows of binaries, as the store's writer makes and removes them, inside a batch's transaction."""

from __future__ import annotations

from datetime import timedelta

from rayjobs.errors import BinaryInUse, NoSuchBinary
from rayjobs.records import BinaryInfo, BinaryType, utc_now
from rayjobs.states import JOB_FINAL
from rayjobs.store import rows
from rayjobs.store.blobs import Blobs, Upload
from rayjobs.store.jobs import Execute


class BinaryRows:
    """Their contents are files of `blobs`."""

    def __init__(self, execute: Execute, blobs: Blobs):
        self._execute = execute
        self._blobs = blobs

    def add(self, upload: Upload, app_name: str, binary_type: BinaryType) -> BinaryInfo:
        """The app's latest version, later than the last one by the clock as well."""
        time = utc_now()
        last = rows.utc(self._execute("last_upload_time", app_name=app_name)[0]["upload_time"])
        if last and last >= time:
            time = last + timedelta(milliseconds=1)
        self._blobs.keep_binary(upload)
        info = BinaryInfo(app_name, binary_type, time, upload.sha.hexdigest(), upload.size_bytes)
        self._execute("add_binary", **rows.row_of_binary(info))
        return info

    def delete(self, app_name: str) -> None:
        """All versions; raises `BinaryInUse`, `NoSuchBinary`."""
        jobs = self._execute("job_ids_of_binary", app_name=app_name, final=sorted(JOB_FINAL))
        if jobs:
            raise BinaryInUse(f"Binary is in use by job(s): {', '.join(row['job_id'] for row in jobs)}")
        if not self._execute("delete_binary", app_name=app_name)[0]["Count"]:
            raise NoSuchBinary(f"can't find binary with name {app_name}")

    def remove_unused_contents(self) -> None:
        """The files that no row names any more."""
        used = self._execute("contents_in_use", final=sorted(JOB_FINAL))
        self._blobs.remove_binaries_except({row["sha256"] for row in used})
