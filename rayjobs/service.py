"""What the service does for its callers, whichever way they come: the verbs of HTTP routes and Python clients."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from rayjobs.records import BinaryInfo, BinaryType, ContextInfo, JobInfo, JobReply
from rayjobs.states import JobState


@dataclass(frozen=True)
class Submission:
    """A job as its caller describes it.

    `context` None asks for an ad-hoc context. `config` is the posted configuration. `wait_s` is how long the
    caller waits for the end: 0 for an async job, which is answered once its validation passed.
    """

    job_id: str
    app_name: str
    class_path: str
    context: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    wait_s: float = 0.0


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
        `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`, `NoSlotsAvailable`, `ValidationFailed`, `JobExists`.
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

    async def check_health(self) -> None:
        """Returns if supervisor and store answer; raises `ActorGone`."""
