"""The jobs of a Python binary: their classes imported, made, validated and run in this process."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from rayjobs import hocon, results
from rayjobs.api import JobEnvironment, ValidationProblem
from rayjobs.errors import InvalidJobType, JobLoadingFailed, NoSuchClass
from rayjobs.tasks import Refused, Task, error_of


class PythonJobs:
    """`context_for` makes the context that a job gets, `environment_of` what it may know of where it runs."""

    def __init__(self, context_for: Callable[[Any], Any], environment_of: Callable[[Task], JobEnvironment]):
        self._context_for = context_for
        self._environment_of = environment_of
        self._classes: dict[str, type] = {}
        self._job: Any = None
        self._context: Any = None
        self._environment: JobEnvironment | None = None
        self._data: Any = None

    def load(self, class_path: str) -> None:
        """Import the job class; raises `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`."""
        if class_path not in self._classes:
            self._classes[class_path] = _job_class(class_path)

    def validate(self, task: Task) -> Refused | None:
        """The job's own check of its config; the job, an object of its own, and what it works on are kept for `run`."""
        config = hocon.tree_of(task.config)
        self._job = self._classes[task.class_path]()
        self._context = self._context_for(self._job)
        self._environment = self._environment_of(task)
        data = self._job.validate(self._context, self._environment, config)
        if isinstance(data, list) and data and _is_problem(data[0]):
            return Refused([str(getattr(item, "problem", item)) for item in data])
        self._data = data
        return None

    def run(self, task: Task) -> str:
        """The job itself, on the data of the `validate` before; its result as JSON text."""
        job, data, self._job, self._data = self._job, self._data, None, None
        return results.to_json(job.run_job(self._context, self._environment, data))


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
