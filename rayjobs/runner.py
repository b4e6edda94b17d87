"""One process beside a context: loads the job classes of one uploaded binary, and runs one job at a time."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rayjobs import binaries, hocon, results
from rayjobs.api import JobEnvironment, ValidationProblem
from rayjobs.errors import ErrorData, InvalidJobType, JobLoadingFailed, NoSuchClass
from rayjobs.joblog import job_output
from rayjobs.records import BinaryInfo
from rayjobs.spark import attach
from rayjobs.spark.jvm import Gateway
from rayjobs.spark.kinds import kind_of

T = TypeVar("T")


@dataclass(frozen=True)
class RunnerSetup:
    """What a runner needs of its context: the JVM's gateway, the context's settings, a folder on this node."""

    gateway: Gateway
    context_settings: dict[str, Any]
    folder: Path

    def log_file(self, job_id: str) -> Path:
        """Where a job's prints and logging go; absent until it says something."""
        return self.folder / "logs" / f"{job_id}.log"

    @property
    def packages(self) -> Path:
        return self.folder / "packages"


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
class Valid:
    """`validate` passed; its data waits in the runner for `run`."""


@dataclass(frozen=True)
class Done:
    """`run_job` returned: its result as JSON text."""

    result_json: str


class Runner:
    """A plain class, made an actor in `cluster.py`; calls come one at a time and all on its main thread."""

    def __init__(self, setup: RunnerSetup):
        self._setup = setup
        self._session = attach.attach(setup.gateway)
        self._context = attach.context_object(self._session, kind_of(setup.context_settings))
        self._classes: dict[str, type] = {}
        self._job: Any = None
        self._data: Any = None

    def ready(self) -> int:
        """The process id, once the runner is attached to its context's JVM."""
        return os.getpid()

    def adopt(self, binary: BinaryInfo, content: bytes | None) -> int | None:
        """Make the binary's modules importable here and in this runner's UDFs, for good; the process id.

        `content` None tries what an earlier runner of this node left; None asks for a call with the content.
        """
        package = self._setup.packages / binary.file_name
        if not package.exists():
            if content is None:
                return None
            package = binaries.materialise(content, binary, self._setup.packages)
        sys.path.insert(0, str(binaries.unpack(package)))
        attach.ship_package(self._session, package, binary.sha256)
        return os.getpid()

    def load(self, class_path: str) -> None:
        """Import the job class; raises `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`."""
        if class_path not in self._classes:
            self._classes[class_path] = _job_class(class_path)

    def validate(self, task: Task) -> Valid | Refused | Failed:
        """The job's own check of its config; the job, an object of its own, and its data are kept for `run`."""
        return self._in_job(task, self._validate)

    def run(self, task: Task) -> Done | Failed:
        """The job itself, on the data of the `validate` before."""
        return self._in_job(task, self._run)

    def _validate(self, task: Task) -> Valid | Refused:
        config = hocon.tree_of(task.config)
        self._job = self._classes[task.class_path]()
        data = self._job.validate(self._context, self._environment(task), config)
        if isinstance(data, list) and data and _is_problem(data[0]):
            return Refused([str(getattr(item, "problem", item)) for item in data])
        self._data = data
        return Valid()

    def _run(self, task: Task) -> Done:
        job, data, self._job, self._data = self._job, self._data, None, None
        value = job.run_job(self._context, self._environment(task), data)
        return Done(results.to_json(value))

    def _environment(self, task: Task) -> JobEnvironment:
        return JobEnvironment(task.job_id, None, hocon.tree_of(self._setup.context_settings))

    def _in_job(self, task: Task, step: Callable[[Task], T]) -> T | Failed:
        """Run `step` with the job's output caught and its Spark work tagged; what it raises becomes data.

        A job's `sys.exit()` must not end the actor, hence BaseException.
        """
        with job_output(self._setup.log_file(task.job_id)):
            try:
                with attach.marked_as(self._session, task.job_id, task.class_path):
                    return step(task)
            except BaseException as error:
                logging.getLogger(task.class_path).error("job %s failed", task.job_id, exc_info=error)
                return Failed(error_of(error))


def _job_class(class_path: str) -> type:
    module_name, _, class_name = class_path.rpartition(".")
    try:
        found = getattr(_import(module_name, class_path), class_name, None)
    except (NoSuchClass, JobLoadingFailed):
        raise
    except BaseException as error:
        raise _loading_failed(error) from None
    if found is None:
        raise _no_such_class(class_path)
    if not isinstance(found, type) or not all(callable(getattr(found, m, None)) for m in ("validate", "run_job")):
        raise InvalidJobType("Invalid job type for this context")
    return found


def _import(module_name: str, class_path: str) -> Any:
    """The module; `NoSuchClass` if it is missing, whatever it raises if its own imports fail."""
    if not module_name:
        raise _no_such_class(class_path)
    importlib.invalidate_caches()
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise _no_such_class(class_path) from None
        raise


def _no_such_class(class_path: str) -> NoSuchClass:
    return NoSuchClass(f"classPath {class_path} not found")


def _loading_failed(error: BaseException) -> JobLoadingFailed:
    return JobLoadingFailed(f"importing the job's module raised {error!r}", error_of(error))


def _is_problem(item: object) -> bool:
    return isinstance(item, ValidationProblem) or (
        type(item).__name__ == "ValidationProblem" and hasattr(item, "problem")
    )


def error_of(error: BaseException) -> ErrorData:
    """An exception of a user's job as data; one that Spark's JVM raised keeps its Java class and message."""
    stack = "".join(traceback.format_exception(error))
    java = getattr(error, "java_exception", None)
    if java is not None:
        return ErrorData(str(java.getMessage()), java.getClass().getName(), stack)
    kind = type(error)
    name = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    return ErrorData(str(error) or repr(error), name, stack)
