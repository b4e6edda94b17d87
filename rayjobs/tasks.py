"""What a context and its runners tell each other: a job as a task, and what came of it."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayjobs.errors import ErrorData
from rayjobs.spark.jvm import SessionAddress


@dataclass(frozen=True)
class RunnerSetup:
    """What a runner needs of its context: where its session is, the context's settings, folders on this node."""

    context_name: str
    context_id: str
    session: SessionAddress
    context_settings: dict[str, Any]
    folder: Path
    packages: Path

    def log_file(self, job_id: str) -> Path:
        """Where a job's prints and logging go; absent until it says something."""
        return self.folder / "logs" / f"{job_id}.log"


@dataclass(frozen=True)
class Task:
    """One job as its runner gets it: `config` is the job's own over the server's `job-defaults`."""

    job_id: str
    class_path: str
    config: dict[str, Any]


@dataclass(frozen=True)
class Refused:
    """`validate` returned problems: their texts."""

    problems: list[str]


@dataclass(frozen=True)
class Failed:
    """The job's code raised."""

    error: ErrorData


@dataclass(frozen=True)
class Done:
    """`run_job` returned: its result as JSON text."""

    result_json: str


class UserError(Exception):
    """What a job raised, or had raised in the JVM, where it is data already."""

    def __init__(self, data: ErrorData):
        super().__init__(data.message)
        self.data = data


def error_of(error: BaseException) -> ErrorData:
    """An exception of a user's job as data; one that Spark's JVM raised keeps its Java class and message."""
    if isinstance(error, UserError):
        return error.data
    stack = "".join(traceback.format_exception(error))
    java = getattr(error, "java_exception", None)
    if java is not None:
        return ErrorData(str(java.getMessage()), java.getClass().getName(), stack)
    kind = type(error)
    name = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorData(str(error) or repr(error), name, stack)
