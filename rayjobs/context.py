"""One context: its Spark session, its job slots, its runners; it starts, kills and drains jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from rayjobs import cluster, joblog, leftovers
from rayjobs.errors import (
    ContextInitError,
    ContextStopping,
    ErrorData,
    NoRunningJob,
    NoSlotsAvailable,
    NoSuchClass,
    NoSuchContext,
    RayJobsError,
)
from rayjobs.job_run import JobRun, Workplace
from rayjobs.records import BinaryInfo, ContextInfo, ContextOver, JobInfo, JobReply, utc_now
from rayjobs.runner import RunnerSetup, error_of
from rayjobs.runners import RunnerPool
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.spark import session as spark
from rayjobs.spark.needs import needs_of
from rayjobs.states import JobEvent, JobState

log = logging.getLogger(__name__)

T = TypeVar("T")

ADHOC_PATIENCE_S = 60.0
"""An ad-hoc context that got no job by then is over: who asked for it is gone."""
PULSE_S = 1.0
JVM_CALL_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class SparkFacts:
    """What a started context tells of its Spark application."""

    application_id: str
    ui_url: str | None


class Context:
    """A plain class, made a detached async actor in `cluster.py`.

    A job's row in the store is written on this actor's word: every state before anyone is told of it.
    """

    def __init__(self, settings: Settings, info: ContextInfo):
        self._settings = settings
        self._info = info
        self._folder = leftovers.contexts_folder(settings.data_path) / info.id
        self._spark: spark.RunningSpark | None = None
        self._place: Workplace | None = None
        self._jobs: dict[str, JobRun] = {}
        self._idle_since = time.monotonic()
        self._stopping = False
        self._over: asyncio.Future[ContextOver] = asyncio.get_running_loop().create_future()
        self._watch: asyncio.Task[None] | None = None
        self._sweep: asyncio.Task[None] | None = None
        # A JVM that hangs must not take the threads that everything else needs.
        self._jvm_threads = ThreadPoolExecutor(4, thread_name_prefix="jvm")

    async def initialise(self) -> SparkFacts:
        """Start Spark and the spare runners; raises `ContextInitError` with the cause, JVM log lines included."""
        try:
            running = self._spark = await self._in_jvm(self._start_spark)
            self._place = await self._make_place(running)
            facts = SparkFacts(*await self._in_jvm(spark.application_of, running))
        except RayJobsError:
            raise
        except Exception as error:
            raise ContextInitError(f"Spark did not start: {error}", error_of(error)) from None
        self._watch = asyncio.create_task(self._watch_spark(running), name="watch-spark")
        self._sweep = asyncio.create_task(leftovers.sweep(self._settings.data_path), name="sweep")
        if self._info.is_adhoc:
            asyncio.get_running_loop().call_later(ADHOC_PATIENCE_S, self._end_if_adhoc)
        return facts

    async def ping(self) -> ContextInfo:
        """The record this context was made from."""
        return self._info

    async def lifetime(self) -> ContextOver:
        """Returns when the context is over without having been asked to stop, and says why; costs nothing to await."""
        return await asyncio.shield(self._over)

    async def submit(self, submission: Submission) -> JobReply:
        """Start a job and wait for it as `JobService.start_job` says; needs no other actor than the store.

        The same job id again joins the job that runs under it.
        """
        try:
            job = self._jobs.get(submission.job_id) or await self._occupy_slot(submission)
        except RayJobsError:
            self._end_if_adhoc()
            raise
        return await job.wait(submission.wait_s)

    async def resume(self, job: JobInfo, config: dict[str, Any]) -> JobReply:
        """Run a job again that was RESTARTING, with the binary it had; the job once its validation passed."""
        if self._place is None:
            raise NoSuchContext(f"context {self._info.name} not found: it is still starting")
        return await self._take_in(job, config, self._place).wait(0)

    async def kill_job(self, job_id: str) -> JobInfo:
        """The job, KILLED: stored, its Spark work cancelled, its process ended. Raises `NoRunningJob`."""
        job = self._jobs.get(job_id)
        error = ErrorData(f"Job {job_id} killed", "JobKilledException", "")
        killed = job and await job.end(JobEvent.KILLED, error)
        if not killed:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return killed

    async def job_log(self, job_id: str) -> bytes:
        """What a running job wrote so far; nothing for a job that is not running here."""
        if job_id not in self._jobs or self._place is None:
            return b""
        return await asyncio.to_thread(joblog.read, self._place.setup.log_file(job_id))

    async def active_jobs(self) -> list[str]:
        """Ids of the jobs that hold a slot."""
        return list(self._jobs)

    async def idle_s(self) -> float:
        """How long this context has had no job."""
        return 0.0 if self._jobs else time.monotonic() - self._idle_since

    async def shutdown(self) -> None:
        """End the jobs, the runners, Spark and its JVM; the caller then kills this actor."""
        self._stopping = True
        if self._watch:
            self._watch.cancel()
        gone = ErrorData(f"Context ({self._info.name}) for this job was terminated", "", "")
        await asyncio.gather(*(job.end(JobEvent.CONTEXT_LOST, gone) for job in list(self._jobs.values())))
        if self._place:
            self._place.pool.close()
        if self._spark:
            await self._in_jvm(spark.stop, self._spark, self._settings.context_deletion_timeout_s)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _occupy_slot(self, submission: Submission) -> JobRun:
        if self._place is None:
            raise NoSuchContext(f"context {self._info.name} not found: it is still starting")
        binary = await cluster.call(self._place.store.get_binary.remote(submission.app_name))
        if submission.job_id not in self._jobs:
            self._refuse_if_full_or_unfit(submission, binary)
            return self._take_in(self._new_job(submission, binary), submission.config, self._place)
        return self._jobs[submission.job_id]

    def _take_in(self, info: JobInfo, config: dict[str, Any], place: Workplace) -> JobRun:
        job = self._jobs[info.job_id] = JobRun(info, config, place)
        job.task.add_done_callback(lambda _: self._free_slot(info.job_id))
        return job

    def _refuse_if_full_or_unfit(self, submission: Submission, binary: BinaryInfo) -> None:
        name = "ad-hoc" if self._info.is_adhoc else self._info.name
        if self._stopping or self._over.done():
            raise ContextStopping("Context stop in progress")
        if not binary.binary_type.is_python:
            raise NoSuchClass(f"classPath {submission.class_path} not found: {binary.app_name} is a jar")
        if len(self._jobs) >= self._settings.max_jobs_per_context:
            raise NoSlotsAvailable(f"Too many running jobs ({len(self._jobs)}) for job context '{name}'")

    def _new_job(self, submission: Submission, binary: BinaryInfo) -> JobInfo:
        return JobInfo(
            submission.job_id,
            self._info.id,
            self._info.name,
            binary,
            submission.class_path,
            JobState.STARTED,
            utc_now(),
            is_async=submission.wait_s <= 0,
        )

    def _free_slot(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)
        self._idle_since = time.monotonic()
        self._end_if_adhoc()

    def _end_if_adhoc(self) -> None:
        if self._info.is_adhoc and not self._jobs:
            self._declare_over(ContextOver("its job is over", expected=True))

    def _declare_over(self, over: ContextOver) -> None:
        if not self._over.done():
            self._over.set_result(over)

    def _start_spark(self) -> spark.RunningSpark:
        self._folder.mkdir(parents=True, exist_ok=True)
        return spark.start(
            self._info.name,
            self._info.settings,
            self._folder,
            cluster.spark_namespace(self._info.id),
            self._settings.jvm_options,
            self._settings.executor_jvm_options,
            self._settings.context_creation_timeout_s,
        )

    async def _make_place(self, running: spark.RunningSpark) -> Workplace:
        store = await cluster.find(cluster.STORE)
        setup = RunnerSetup(running.runner_gateway, self._info.settings, self._folder)
        pool = RunnerPool(
            self._info.name,
            self._settings.spare_runners,
            self._settings.max_jobs_per_context,
            spawn=lambda name: cluster.spawn_runner(name, setup),
            fetch=lambda binary: cluster.call(store.read_binary.remote(binary.sha256)),
        )
        pool.refill()
        return Workplace(
            store, pool, setup, self._settings.job_defaults, self._settings.job_load_timeout_s, self._cancel_spark
        )

    async def _cancel_spark(self, job_id: str) -> None:
        if self._spark:
            await asyncio.wait_for(self._in_jvm(spark.cancel_job, self._spark, job_id), JVM_CALL_TIMEOUT_S)

    async def _watch_spark(self, running: spark.RunningSpark) -> None:
        """Notice a driver JVM that died, or an application that a job or an operator stopped from outside."""
        exited = asyncio.ensure_future(asyncio.to_thread(spark.wait_for_exit, running))
        unfit = asyncio.ensure_future(self._await_unfit(running))
        done, _ = await asyncio.wait({exited, unfit}, return_when=asyncio.FIRST_COMPLETED)
        self._declare_over(ContextOver(done.pop().result()))

    async def _await_unfit(self, running: spark.RunningSpark) -> str:
        """Why a Spark application whose JVM lives is of no use. A JVM that is gone is not this one's to tell."""
        clock = asyncio.get_running_loop().time
        limit_s = self._settings.executor_timeout_s
        last_seen = clock()
        app_master = await cluster.app_master_of(await self._in_jvm(spark.ray_job_id, running))
        while clock() - last_seen <= limit_s:
            if app_master and await cluster.is_dead(app_master):
                return "its app master died, and its executors with it"
            with contextlib.suppress(spark.JvmSilent):
                executors = await self._in_jvm(spark.count_executors, running)
                if executors is None:
                    return "its Spark application was stopped from outside"
                if executors or not self._jobs:
                    last_seen = clock()
            self._tidy()
            await asyncio.sleep(PULSE_S)
        needs = needs_of(self._info.settings, os.cpu_count() or 1)
        return (
            f"its jobs had no executor for {limit_s:g} s: Ray could not place any of {needs.executors} with "
            f"{needs.cores} core(s) and {needs.memory} each, or they die as they start; `ray status` and the "
            "raydp-executor actors in Ray's dashboard say more"
        )

    def _tidy(self) -> None:
        limit_s = self._settings.runner_idle_timeout_s
        if self._place and limit_s:
            self._place.pool.end_idle(time.monotonic() - limit_s)

    async def _in_jvm(self, function: Callable[..., T], *args: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._jvm_threads, function, *args)
