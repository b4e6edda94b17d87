"""One process beside a context: loads the job classes of one package or set of jars, and runs one job at a time."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Any, Protocol

from rayjobs import binaries, cluster, hocon
from rayjobs.api import JobEnvironment
from rayjobs.errors import RayJobsError
from rayjobs.joblog import job_output
from rayjobs.line import WorkerLine
from rayjobs.named_objects import ContextNamedObjects
from rayjobs.node_files import NodeFiles
from rayjobs.python_jobs import PythonJobs
from rayjobs.records import BinaryInfo
from rayjobs.spark import attach
from rayjobs.spark.jvm import SessionAddress
from rayjobs.spark.kinds import kind_of
from rayjobs.tasks import Done, Failed, Refused, RunnerSetup, Task, error_of
from rayjobs.teller import Teller
from rayjobs.trees import names_of


class Jobs(Protocol):
    """The jobs of one binary, of either kind."""

    def load(self, class_path: str) -> None:
        """Find the class; raises `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`."""

    def validate(self, task: Task) -> Refused | None:
        """The job's own check of its config; None if it passed."""

    def run(self, task: Task) -> str:
        """The job; its result as JSON text."""


class Runner:
    """A plain class, made an actor in `cluster.py`, whose one long call is `work`: for one context, and no other after.

    Within it the context calls `adopt`, `load` and `perform`: one at a time, and all on the main thread.
    """

    def __init__(self, session: SessionAddress):
        """Attach to the application of that session, which need not be the one of the context to come."""
        # What the log of a job begins at, so that it need not be set for each one.
        logging.getLogger().setLevel(logging.INFO)
        self._spark = attach.attach(session)
        self._jobs: Jobs | None = None

    def work(self, key: str, setup: RunnerSetup, line_path: Path) -> None:
        """Do what the context asks for by its line, until it is gone; `key` is what it expects to hear first.

        When the context has gone the process ends, whatever it does.
        """
        context = WorkerLine(line_path)
        context.when_gone(lambda: os._exit(0))
        self._setup = setup
        self._session = attach.session_of(self._spark, setup.session)
        self._marks = attach.JobMarks(self._session)
        attach.add_paths(self._session, names_of(setup.context_settings.get("python.paths", [])))
        self._kind = kind_of(setup.context_settings)
        self._teller = Teller(lambda job_id: context.tell("job_passed", job_id))
        calls = {"adopt": self.adopt, "load": self.load, "perform": self.perform}
        self._idle_title = f"Runner of {setup.context_name}"
        cluster.set_title(self._idle_title)
        context.tell("runner_ready", key)
        context.answer_calls(lambda verb, arguments: calls[verb](*arguments))

    def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed:
        """Make the classes of these binaries ready here and for their tasks on executors, for good; the process id.

        They are one Python package, or jars. `files` has their contents, unless an earlier runner of this node left
        their packages. What Spark or the disk raises becomes data.
        """
        try:
            self._files = files
            self._jobs = self._python_jobs(taken[0]) if taken[0].binary_type.is_python else self._jar_jobs(taken)
        except RayJobsError:
            raise
        except Exception as error:
            return Failed(error_of(error))
        return os.getpid()

    def load(self, class_path: str) -> None:
        """Find the job class; raises `NoSuchClass`, `JobLoadingFailed`, `InvalidJobType`."""
        self._adopted().load(class_path)

    def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed:
        """The job: its own check of its config, then its run; its output caught, its Spark work marked.

        `is_awaited`: somebody waits to hear that it passed its check. What it raises becomes data, and its
        `sys.exit()` must not end the actor, hence BaseException.
        """
        jobs = self._adopted()
        cluster.set_title(f"{task.class_path} {task.job_id}")
        with job_output(self._setup.log_file(task.job_id)):
            try:
                with self._marks.of(task.job_id, task.class_path):
                    if refused := jobs.validate(task):
                        return refused
                    self._teller.passed(task.job_id, is_awaited)
                    return Done(jobs.run(task))
            except BaseException as error:
                data = error_of(error)
                logging.getLogger(task.class_path).error("job %s failed\n%s", task.job_id, data.stack)
                return Failed(data)
            finally:
                self._teller.over()
                cluster.set_title(self._idle_title)

    def _adopted(self) -> Jobs:
        if self._jobs is None:
            raise RuntimeError("this runner has no binary yet")
        return self._jobs

    def _python_jobs(self, binary: BinaryInfo) -> PythonJobs:
        package = self._files.package(binary, self._setup.packages)
        sys.path.insert(0, str(binaries.unpack(package)))
        attach.ship_package(self._session, package, binary.sha256)
        return PythonJobs(self._context_for, self._environment)

    def _jar_jobs(self, jars: tuple[BinaryInfo, ...]) -> Jobs:
        """Its module is imported only for jars: most runners never need it."""
        from rayjobs.spark.jar_jobs import JarJobs

        paths = [self._files.package(jar, self._setup.packages) for jar in jars]
        sha256 = binaries.joint_sha256([jar.sha256 for jar in jars])
        return JarJobs(self._session, paths, sha256, self._setup.log_file)

    def _context_for(self, job: Any) -> Any:
        return attach.context_object(self._session, self._kind, job)

    def _environment(self, task: Task) -> JobEnvironment:
        named = ContextNamedObjects(task.job_id, self._setup, self._session)
        return JobEnvironment(task.job_id, named, hocon.tree_of(self._setup.context_settings), self._files.data_file)
