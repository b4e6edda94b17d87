"""One process beside a context: loads the job classes of one uploaded binary, and runs one job at a time."""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from rayjobs import binaries, hocon, results
from rayjobs.api import JobEnvironment, ValidationProblem
from rayjobs.errors import InvalidJobType, JobLoadingFailed, NoSuchClass
from rayjobs.joblog import job_output
from rayjobs.records import BinaryInfo
from rayjobs.spark import attach
from rayjobs.spark.kinds import kind_of
from rayjobs.tasks import Done, Failed, Refused, RunnerSetup, Task, Valid, error_of

T = TypeVar("T")


class Runner:
    """A plain class, made an actor in `cluster.py`; calls come one at a time and all on its main thread."""

    def __init__(self, setup: RunnerSetup):
        self._setup = setup
        self._session = attach.attach(setup.session)
        self._context = attach.context_object(self._session, kind_of(setup.context_settings))
        self._classes: dict[str, type] = {}
        self._job: Any = None
        self._data: Any = None

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
