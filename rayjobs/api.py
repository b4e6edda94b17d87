"""What the authors of jobs import: the same names as in `sparkjobserver.api`.

A job is any class with a constructor without arguments and the two methods of `SparkJob`; the base class is
optional.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["JobEnvironment", "NamedObject", "NamedObjects", "SparkJob", "ValidationProblem", "build_problems"]


class ValidationProblem:
    """One reason why a job cannot run with its config; `validate` returns a list of them."""

    def __init__(self, problem: str):
        self.problem = problem

    def __repr__(self) -> str:
        return f"ValidationProblem({self.problem!r})"


def build_problems(problems: Iterable[str]) -> list[ValidationProblem]:
    """A `ValidationProblem` for each text."""
    return [ValidationProblem(problem) for problem in problems]


def _no_data_file(name: str) -> str:
    raise FileNotFoundError(f"no data file {name}: this environment was not made by a context")


class JobEnvironment:
    """What a job may know of where it runs.

    `jobId`: its id. `contextConfig`: the context's settings, a pyhocon tree. `namedObjects`: a `NamedObjects`.
    """

    def __init__(
        self,
        job_id: str,
        named_objects: Any,
        context_config: Any,
        find_data_file: Callable[[str], str] = _no_data_file,
    ):
        self.jobId = job_id
        self.namedObjects = named_objects
        self.contextConfig = context_config
        self._find_data_file = find_data_file

    def data_file(self, name: str) -> str:
        """The path, on this node, of a data file; `name` is what `POST /data` answered, or the file's bare name.

        It is for reading, and may be the store's own. Raises FileNotFoundError if there is no such file.
        """
        return self._find_data_file(name)


class NamedObject:
    """`obj`, and its caching: persisted with `storage_level` unless that is None, counted if `forceComputation`."""

    def __init__(self, obj: Any, forceComputation: bool = False, storage_level: Any = None):
        self.obj = obj
        self.forceComputation = forceComputation
        self.storage_level = storage_level


class NamedObjects:
    """What the jobs of one context share by name: DataFrames, RDDs, broadcasts, and whatever can be pickled.

    It is there for the context's life. `obj_gen` is a function without arguments that makes a `NamedObject`, or the
    plain object.
    """

    def get(self, name: str) -> NamedObject | None:
        """None if there is none of that name."""
        raise NotImplementedError("Concrete implementations should override get")

    def get_or_else_create(self, name: str, obj_gen: Callable[[], Any]) -> NamedObject:
        """The object, made now if there is none: by one job, while others who ask wait, at most a minute."""
        raise NotImplementedError("Concrete implementations should override get_or_else_create")

    def update(self, name: str, obj_gen: Callable[[], Any]) -> NamedObject:
        """A new object under that name; the one before is no longer cached."""
        raise NotImplementedError("Concrete implementations should override update")

    def forget(self, name: str) -> None:
        """Free the name; the object stays cached as long as anybody has it."""
        raise NotImplementedError("Concrete implementations should override forget")

    def destroy(self, name: str) -> None:
        """Free the name, and the object's cache."""
        raise NotImplementedError("Concrete implementations should override destroy")

    def get_names(self) -> list[str]:
        """All names, sorted."""
        raise NotImplementedError("Concrete implementations should override get_names")


class SparkJob:
    """The shape of a job. `context` is what the context's factory says: a SparkSession unless it says otherwise."""

    def validate(self, context: Any, runtime: JobEnvironment, config: Any) -> Any:
        """The job's data, made of `config` (a pyhocon tree); or a list of `ValidationProblem`: a refusal."""
        raise NotImplementedError("Concrete implementations should override validate")

    def run_job(self, context: Any, runtime: JobEnvironment, data: Any) -> Any:
        """The job's work on what `validate` returned; its return value is the job's result."""
        raise NotImplementedError("Concrete implementations should override run_job")

    def build_context(self, gateway: Any, jvmContext: Any, sparkConf: Any) -> Any:
        """The job's own context, made of the JVM's: asked for in a context whose `context-factory` is CustomContext."""
        return None
