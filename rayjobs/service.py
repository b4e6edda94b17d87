"""What the service does for its callers, whichever way they come: the verbs of HTTP routes and Python clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from rayjobs.records import BinaryInfo, BinaryType, Callback, ContextInfo, JobInfo, JobReply
from rayjobs.states import JobState


@dataclass(frozen=True)
class Submission:
    """A job as its caller describes it.

    `context` None asks for an ad-hoc context. `config` is the posted configuration. `wait_s` is how long the
    caller waits for the end: 0 for an async job, which is answered once its validation passed. `callback_url`, http
    or https, is told of the job's end; a name and password in it are sent by the Basic scheme. `may_be_repeated`: the
    caller chose the id, and means the job of that id if there is one. `proxy_user` is whom the Spark of an ad-hoc
    context is to be. `dependencies` are the apps of further jars that a jar's job needs.
    """

    job_id: str
    app_name: str
    class_path: str
    context: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    wait_s: float = 0.0
    callback_url: str | None = field(default=None, repr=False)
    may_be_repeated: bool = False
    proxy_user: str | None = None
    dependencies: tuple[str, ...] = ()


class JobService(Protocol):
    """Every method raises the errors of `rayjobs/errors.py` and nothing else on purpose."""

    async def list_binaries(self) -> list[BinaryInfo]:
        """The latest version of each app, by name."""

    async def get_binary(self, app_name: str) -> BinaryInfo:
        """The latest version; raises `NoSuchBinary`."""

    async def upload_binary(self, app_name: str, binary_type: BinaryType, chunks: AsyncIterator[bytes]) -> BinaryInfo:
        """A new version, durable when this returns; raises `BadBinary`, `TooLarge`, `StorageFailure`."""

    async def delete_binary(self, app_name: str) -> None:
        """All versions; raises `BinaryInUse`, `NoSuchBinary`."""

    async def list_data_files(self) -> list[str]:
        """Their absolute paths on the store's node, by name."""

    async def upload_data_file(self, prefix: str, chunks: AsyncIterator[bytes]) -> str:
        """The path of a new data file, durable when this returns; its name is `prefix`, the time and `.dat`.

        Raises `BadDataFileName`, before it asks for the first chunk; `TooLarge`, `StorageFailure`.
        """

    async def delete_data_file(self, name: str) -> None:
        """By its path or its file's name; raises `NoSuchDataFile`."""

    async def reset_data_files(self, wait: bool) -> None:
        """Delete all data files, in the background; `wait` for that."""

    async def list_contexts(self) -> list[str]:
        """Names of contexts in RUNNING, RESTARTING, STOPPING, newest first."""

    async def get_context(self, name: str) -> ContextInfo:
        """The unfinished context of that name; raises `NoSuchContext`."""

    async def create_context(self, name: str, settings: dict[str, Any]) -> ContextInfo:
        """A running context; raises `BadContextName`, `ContextExists`, `BadConfig`, `ContextInitError`."""

    async def stop_context(self, name: str, force: bool = False) -> bool:
        """True once stopped, False if that still goes on; `force` ends it without asking it.

        Raises `NoSuchContext`, `ContextDeleteError`.
        """

    async def reset_contexts(self, wait: bool) -> None:
        """Stop all contexts and create the predefined ones again, in the background; `wait` for the stops."""

    async def start_job(self, submission: Submission) -> JobReply:
        """The job as it stands when its caller's wait is over: ended, or (async, or waited long) not yet.

        Raises `NoSuchBinary`, `NoSuchContext`, `ContextStopping`, `ContextRestarting`, `ContextInitError` (ad-hoc),
        `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`, `NoSlotsAvailable`, `ValidationFailed`; `JobExists` if the
        id is that of another job.
        """

    async def get_job(self, job_id: str) -> JobReply:
        """Raises `NoSuchJob`."""

    async def list_jobs(self, limit: int, state: JobState | None) -> list[JobInfo]:
        """Newest start first."""

    async def job_config(self, job_id: str) -> dict[str, Any]:
        """The posted configuration; raises `NoSuchJob`."""

    async def job_log(self, job_id: str) -> bytes:
        """What the job printed and logged so far, UTF-8; raises `NoSuchJob`."""

    async def kill_job(self, job_id: str) -> JobInfo:
        """The job, KILLED; or, unchanged, one that had ended in ERROR. Raises `NoSuchJob`, `NoRunningJob`."""

    async def get_callback(self, job_id: str) -> Callback:
        """WAITING until the job is over; raises `NoSuchJob`, `NoSuchCallback`."""

    async def resend_callback(self, job_id: str) -> Callback:
        """The callback, due now, whatever became of it; raises `NoSuchJob`, `NoSuchCallback`, `JobNotOver`."""

    async def check_health(self) -> None:
        """Returns if supervisor and store answer; raises `ActorGone`."""
