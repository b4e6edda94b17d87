"""Writes of jobs, as contexts send them to the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rayjobs.records import JobInfo
from rayjobs.states import JobState


@dataclass(frozen=True)
class Created:
    """A new job and its posted configuration."""

    info: JobInfo
    config: dict[str, Any]


@dataclass(frozen=True)
class Changed:
    """A job's next state, if its state is one of `leaving`."""

    info: JobInfo
    leaving: frozenset[JobState]


@dataclass(frozen=True)
class Finished:
    """FINISHED with a result, if the job is RUNNING."""

    info: JobInfo
    result_json: str


@dataclass(frozen=True)
class Whole:
    """A job that was over before anything of it was written; `result_json` is None unless it FINISHED."""

    info: JobInfo
    config: dict[str, Any]
    result_json: str | None = None


JobWrite = Created | Changed | Finished | Whole
