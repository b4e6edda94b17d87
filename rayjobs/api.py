"""What the authors of jobs import: the same names as in `sparkjobserver.api`.

A job is any class with a constructor without arguments and the two methods of `SparkJob`; the base class is
optional.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

__all__ = ["JobEnvironment", "SparkJob", "ValidationProblem", "build_problems"]


class ValidationProblem:
    """One reason why a job cannot run with its config; `validate` returns a list of them."""

    def __init__(self, problem: str):
        self.problem = problem

    def __repr__(self) -> str:
        return f"ValidationProblem({self.problem!r})"


def build_problems(problems: Iterable[str]) -> list[ValidationProblem]:
    """A `ValidationProblem` for each text."""
    return [ValidationProblem(problem) for problem in problems]


class JobEnvironment:
    """What a job may know of where it runs.

    `jobId`: its id. `contextConfig`: the context's settings, a pyhocon tree. `namedObjects`: None, until
    objects can be shared by name.
    """

    def __init__(self, job_id: str, named_objects: Any, context_config: Any):
        self.jobId = job_id
        self.namedObjects = named_objects
        self.contextConfig = context_config


class SparkJob:
    """The shape of a job. `context` is what the context's factory says: a SparkSession unless it says otherwise."""

    def validate(self, context: Any, runtime: JobEnvironment, config: Any) -> Any:
        """The job's data, made of `config` (a pyhocon tree); or a list of `ValidationProblem`: a refusal."""
        raise NotImplementedError("Concrete implementations should override validate")

    def run_job(self, context: Any, runtime: JobEnvironment, data: Any) -> Any:
        """The job's work on what `validate` returned; its return value is the job's result."""
        raise NotImplementedError("Concrete implementations should override run_job")
