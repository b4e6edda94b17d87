"""What the service knows of contexts, jobs and binaries: frozen records, changed by copy.

Times are timezone-aware UTC datetimes, truncated to milliseconds. Their row form stands in
`rayjobs/store/store.py`, their JSON form in `rayjobs/web/render.py`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from rayjobs.errors import ContextRestarting, ContextStopping, ErrorData, NoSuchContext, RayJobsError
from rayjobs.states import (
    ContextEvent,
    ContextState,
    JobEvent,
    JobState,
    next_context_state,
    next_job_state,
)

JOB_ID = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
"""What every job's id looks like: fit to be a file's name, and a segment of a path."""


def utc_now() -> datetime:
    """The time now, UTC, in whole milliseconds: what every record holds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


class BinaryType(StrEnum):
    JAR = "Jar"
    EGG = "Egg"
    WHEEL = "Wheel"
    ZIP = "Zip"
    PYTHON = "Python"

    @property
    def is_python(self) -> bool:
        return self is not BinaryType.JAR


@dataclass(frozen=True)
class BinaryInfo:
    """One uploaded version of an app's code; its content lies in the store under `sha256` (hex)."""

    app_name: str
    binary_type: BinaryType
    upload_time: datetime
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """A name that carries the sha, so that two versions never meet; Spark ships `.zip` and `.egg` files."""
        suffix = {BinaryType.JAR: "jar", BinaryType.EGG: "egg"}.get(self.binary_type, "zip")
        return f"{self.module_name}-{self.sha256[:16]}.{suffix}"

    @property
    def module_name(self) -> str:
        """The app's name as a Python identifier: the module that a lone .py file becomes."""
        name = re.sub(r"\W", "_", self.app_name, flags=re.ASCII)
        return name if name.isidentifier() else f"_{name}"


@dataclass(frozen=True)
class ContextInfo:
    """One context. `settings` are its own, after defaults; `end_time` is set in final states only.

    `host` is the id of the Spark host whose application it uses, None if it has one of its own.
    `waits_for` says what a context in STARTED lacks, while it lacks something; it is not stored.
    """

    id: str
    name: str
    state: ContextState
    start_time: datetime
    settings: dict[str, Any] = field(default_factory=dict)
    is_adhoc: bool = False
    end_time: datetime | None = None
    error: ErrorData | None = None
    application_id: str | None = None
    ui_url: str | None = None
    host: str | None = None
    waits_for: str | None = None

    def after(self, event: ContextEvent, error: ErrorData | None = None) -> ContextInfo:
        """This context after `event`, by the state table; raises `IllegalTransition`."""
        state = next_context_state(self.state, event)
        return replace(self, state=state, error=error or self.error, end_time=utc_now() if state.is_final else None)

    def refusal(self) -> RayJobsError:
        """What a job is told that comes in this state, which is not RUNNING."""
        match self.state:
            case ContextState.STOPPING:
                return ContextStopping("Context stop in progress")
            case ContextState.RESTARTING:
                return ContextRestarting(f"context {self.name} died and is being started again; try again")
        return NoSuchContext(f"context {self.name} not found: it is still starting")


@dataclass(frozen=True)
class ContextOver:
    """Why a context ended though nobody asked it to stop; `expected` for an ad-hoc context whose job is over."""

    reason: str
    expected: bool = False


@dataclass(frozen=True)
class JobInfo:
    """One job. `end_time` is set in final states, `error` in ERROR, KILLED and RESTARTING.

    `is_async`: nobody waits for its end, so it may be run again when its context died and comes back.
    `callback_url` is told of its end, and may hold a password. `dependencies` are jars that its own one needs.
    """

    job_id: str
    context_id: str
    context_name: str
    binary: BinaryInfo
    class_path: str
    state: JobState
    start_time: datetime
    end_time: datetime | None = None
    error: ErrorData | None = None
    is_async: bool = False
    callback_url: str | None = field(default=None, repr=False)
    dependencies: tuple[BinaryInfo, ...] = ()

    @property
    def binaries(self) -> tuple[BinaryInfo, ...]:
        """All that it runs with, its own first."""
        return (self.binary, *self.dependencies)

    def after(self, event: JobEvent, error: ErrorData | None = None) -> JobInfo:
        """This job after `event`, by the state table; raises `IllegalTransition`."""
        state = next_job_state(self.state, event)
        return replace(self, state=state, error=error, end_time=utc_now() if state.is_final else None)


def killed_error(job_id: str) -> ErrorData:
    """What a killed job's record says."""
    return ErrorData(f"Job {job_id} killed", "JobKilledException", "")


@dataclass(frozen=True)
class JobReply:
    """A job as it stands, with its result as JSON text once FINISHED (None before, and if it was lost)."""

    job: JobInfo
    result_json: str | None = None

    @property
    def result(self) -> Any:
        """The result as Python's own scalars, lists and dicts; None until FINISHED."""
        return None if self.result_json is None else json.loads(self.result_json)


class CallbackState(StrEnum):
    WAITING = "WAITING"
    PENDING = "PENDING"
    SENT = "SENT"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Callback:
    """The news of a job's end for `url`: WAITING for that end, then PENDING until SENT or, given up, FAILED.

    `attempts` counts from the end, or from when it was last asked for again. Of the last one, `last_status` is the
    answer's HTTP status, `last_error` what else went wrong. `next_attempt` is set while PENDING.
    """

    job_id: str
    url: str = field(repr=False)
    state: CallbackState
    attempts: int = 0
    last_attempt: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    next_attempt: datetime | None = None

    def again(self, now: datetime) -> Callback:
        """This callback due at `now`, with all its attempts before it."""
        return replace(self, state=CallbackState.PENDING, attempts=0, next_attempt=now)
