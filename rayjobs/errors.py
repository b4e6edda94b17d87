"""Every error the service raises on purpose.

    RayJobsError
    ├── BadRequest                  what the caller sent cannot be used
    │   ├── BadConfig               HOCON or JSON that does not parse
    │   ├── BadParameter            a query parameter of the wrong kind
    │   ├── BadBinary               content that is not what its type says
    │   ├── UnsupportedBinaryType
    │   ├── TooLarge                a body beyond the limit
    │   ├── ForeignOrigin           a web page of another site, or a name that is not ours
    │   ├── UnknownMethod           `_method` names no HTTP method
    │   ├── BadContextName
    │   ├── BadDataFileName
    │   ├── ContextExists
    │   ├── JobLoadingFailed        importing the job's module raised
    │   ├── InvalidJobType          the class is not a job
    │   └── ValidationFailed        the job's own `validate` refused
    ├── NotFound
    │   ├── NoSuchBinary · NoSuchContext · NoSuchJob · NoSuchClass · NoRunningJob · NoSuchDataFile · NoSuchCallback
    ├── Conflict
    │   ├── BinaryInUse · ContextStopping · ContextRestarting · NoSlotsAvailable · JobExists · JobNotOver
    └── ServiceFailure              our side or the cluster's
        ├── ContextInitError        the context did not come up
        │   └── NotEnoughResources  the cluster has no room for its executors
        ├── ContextDeleteError · StorageFailure · ActorGone · ServiceStarting · IllegalTransition

`code` is the stable, machine-readable kind that HTTP clients see; which HTTP status each gets stands in
`rayjobs/web/errors.py`. All errors take one positional message (and, some, one `detail`), so they survive
pickling between processes; an exception of a user's job never travels as an object, only as `ErrorData`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ErrorData:
    """An exception as data: `message`, `error_class` (its type's name), `stack` (its traceback as text)."""

    message: str
    error_class: str
    stack: str


class RayJobsError(Exception):
    """The root of the tree. `message` is written for the person who made the call."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, detail: ErrorData | None = None):
        super().__init__(message, detail)
        self.message = message
        self.detail = detail

    def __str__(self) -> str:
        return self.message


class BadRequest(RayJobsError):
    code = "bad-request"


class BadConfig(BadRequest):
    code = "bad-config"


class BadParameter(BadRequest):
    code = "bad-parameter"


class BadBinary(BadRequest):
    code = "bad-binary"


class UnsupportedBinaryType(BadRequest):
    code = "unsupported-binary-type"


class TooLarge(BadRequest):
    code = "too-large"


class ForeignOrigin(BadRequest):
    code = "foreign-origin"


class UnknownMethod(BadRequest):
    code = "unknown-method"


class BadContextName(BadRequest):
    code = "bad-context-name"


class BadDataFileName(BadRequest):
    code = "bad-data-file-name"


class ContextExists(BadRequest):
    code = "context-exists"


class JobLoadingFailed(BadRequest):
    code = "job-loading-failed"


class InvalidJobType(BadRequest):
    code = "invalid-job-type"


class ValidationFailed(BadRequest):
    code = "validation-failed"


class NotFound(RayJobsError):
    code = "not-found"


class NoSuchBinary(NotFound):
    code = "no-such-binary"


class NoSuchContext(NotFound):
    code = "no-such-context"


class NoSuchJob(NotFound):
    code = "no-such-job"


class NoSuchClass(NotFound):
    code = "no-such-class"


class NoRunningJob(NotFound):
    code = "no-running-job"


class NoSuchCallback(NotFound):
    code = "no-such-callback"


class NoSuchDataFile(NotFound):
    code = "no-such-data-file"


class Conflict(RayJobsError):
    code = "conflict"


class BinaryInUse(Conflict):
    code = "binary-in-use"


class ContextStopping(Conflict):
    code = "context-stopping"


class ContextRestarting(Conflict):
    code = "context-restarting"


class NoSlotsAvailable(Conflict):
    code = "no-slots-available"


class JobExists(Conflict):
    code = "job-exists"


class JobNotOver(Conflict):
    code = "job-not-over"


class ServiceFailure(RayJobsError):
    code = "service-failure"


class ContextInitError(ServiceFailure):
    code = "context-init-error"


class NotEnoughResources(ContextInitError):
    code = "not-enough-resources"


class ContextDeleteError(ServiceFailure):
    code = "context-delete-error"


class StorageFailure(ServiceFailure):
    code = "storage-failure"


class ActorGone(ServiceFailure):
    """The actor behind a handle died; its name may be taken by a successor."""

    code = "actor-gone"


class ServiceStarting(ServiceFailure):
    """The supervisor started again and has not found all its contexts yet."""

    code = "service-starting"


class IllegalTransition(ServiceFailure):
    """A state change that the table in `rayjobs/states.py` does not hold: a defect of ours."""

    code = "illegal-transition"


def error_data_of(error: RayJobsError) -> ErrorData:
    """What a record or a reply says of an error: its detail if it carries one, else its own message."""
    return error.detail or ErrorData(error.message, type(error).__name__, "")
