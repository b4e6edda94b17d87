"""One context: its Spark session, its job slots, its runners; it starts, kills and drains jobs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from rayjobs import cluster, hocon
from rayjobs.errors import (
    ActorGone,
    ContextInitError,
    ContextStopping,
    ErrorData,
    NoRunningJob,
    NoSlotsAvailable,
    NoSuchClass,
    RayJobsError,
    ValidationFailed,
)
from rayjobs.records import BinaryInfo, ContextInfo, ContextOver, JobInfo, JobReply, utc_now
from rayjobs.runner import Done, Failed, Refused, RunnerSetup, Task, Valid, error_of
from rayjobs.runners import RunnerPool, RunnerSlot
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.spark import session as spark
from rayjobs.states import JobEvent, JobState, job_states_leading

log = logging.getLogger(__name__)

LOG_LIMIT_BYTES = 16 * 2**20
"""Of a longer job log the end is kept."""


@dataclass(eq=False)
class ActiveJob:
    """A job that holds a slot. `accepted` is done once its validation passed, `ended` once it is final."""

    info: JobInfo
    config: dict[str, object]
    accepted: asyncio.Future[JobReply]
    ended: asyncio.Future[JobReply]
    runner: RunnerSlot | None = None
    stored: bool = False
    task: asyncio.Task[None] | None = field(default=None)


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
        self._folder = settings.data_path / "contexts" / info.id
        self._spark: spark.RunningSpark | None = None
        self._pool: RunnerPool | None = None
        self._jobs: dict[str, ActiveJob] = {}
        self._stopping = False
        self._over: asyncio.Future[ContextOver] | None = None
        self._watch: asyncio.Task[None] | None = None

    async def initialise(self) -> SparkFacts:
        """Start Spark and the spare runners; raises `ContextInitError` with the cause, JVM log lines included."""
        self._over = asyncio.get_running_loop().create_future()
        try:
            self._store = await cluster.find(cluster.STORE)
            self._spark = await asyncio.to_thread(self._start_spark)
        except RayJobsError:
            raise
        except Exception as error:
            raise ContextInitError(f"Spark did not start: {error}", error_of(error)) from None
        self._pool = self._make_pool(self._spark)
        self._pool.refill()
        self._watch = asyncio.create_task(self._watch_spark(self._spark), name="watch-spark")
        jsc = self._spark.session.sparkContext
        return SparkFacts(jsc.applicationId, jsc.uiWebUrl)

    async def ping(self) -> ContextInfo:
        """The record this context was made from."""
        return self._info

    async def lifetime(self) -> ContextOver:
        """Returns when the context is over without having been asked to stop, and says why; costs nothing to await."""
        if self._over is None:
            raise ContextInitError(f"context {self._info.name} was never initialised")
        return await asyncio.shield(self._over)

    async def submit(self, submission: Submission) -> JobReply:
        """Start a job and wait for it as `JobService.start_job` says; needs no other actor than the store."""
        binary = await cluster.call(self._store.get_binary.remote(submission.app_name))
        job = self._jobs.get(submission.job_id) or self._occupy_slot(submission, binary)
        reply = await asyncio.shield(job.accepted)
        if submission.wait_s <= 0 or reply.job.state.is_final:
            return reply
        done, _ = await asyncio.wait({job.ended}, timeout=submission.wait_s)
        return job.ended.result() if done else JobReply(job.info)

    async def kill_job(self, job_id: str) -> JobInfo:
        """The job, KILLED: stored, its Spark work cancelled, its process ended. Raises `NoRunningJob`."""
        job = self._jobs.get(job_id)
        killed = job and await self._end(
            job, JobEvent.KILLED, ErrorData(f"Job {job_id} killed", "JobKilledException", "")
        )
        if not killed:
            raise NoRunningJob(f"No running job with ID {job_id}")
        await self._clear_away(job)
        return killed.job

    async def job_log(self, job_id: str) -> bytes:
        """What a running job wrote so far."""
        return await asyncio.to_thread(self._read_log, job_id)

    async def active_jobs(self) -> list[str]:
        """Ids of the jobs that hold a slot."""
        return list(self._jobs)

    async def shutdown(self) -> None:
        """End the jobs, the runners, Spark and its JVM; the caller then kills this actor."""
        self._stopping = True
        if self._watch:
            self._watch.cancel()
        gone = ErrorData(f"Context ({self._info.name}) for this job was terminated", "", "")
        for job in list(self._jobs.values()):
            if await self._end(job, JobEvent.CONTEXT_LOST, gone):
                await self._clear_away(job)
        if self._pool:
            self._pool.close()
        if self._spark:
            await asyncio.to_thread(spark.stop, self._spark, self._settings.context_deletion_timeout_s)
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

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

    def _make_pool(self, running: spark.RunningSpark) -> RunnerPool:
        self._setup = RunnerSetup(running.runner_gateway, self._info.settings, self._folder)
        return RunnerPool(
            self._info.name,
            self._settings.spare_runners,
            self._settings.max_jobs_per_context,
            spawn=lambda name: cluster.spawn_runner(name, self._setup),
            fetch=lambda binary: cluster.call(self._store.read_binary.remote(binary.sha256)),
        )

    async def _watch_spark(self, running: spark.RunningSpark) -> None:
        """Notice a driver JVM that died, or an application that a job or an operator stopped from outside."""
        while (end := await asyncio.to_thread(spark.wait_for_end, running, 1.0)) is None:
            pass
        self._declare_over(ContextOver(end))

    def _declare_over(self, over: ContextOver) -> None:
        if self._over and not self._over.done():
            self._over.set_result(over)

    def _occupy_slot(self, submission: Submission, binary: BinaryInfo) -> ActiveJob:
        name = "ad-hoc" if self._info.is_adhoc else self._info.name
        if self._stopping:
            raise ContextStopping("Context stop in progress")
        if not binary.binary_type.is_python:
            raise NoSuchClass(f"classPath {submission.class_path} not found: {binary.app_name} is a jar")
        if len(self._jobs) >= self._settings.max_jobs_per_context:
            raise NoSlotsAvailable(f"Too many running jobs ({len(self._jobs)}) for job context '{name}'")
        info = JobInfo(
            submission.job_id,
            self._info.id,
            self._info.name,
            binary,
            submission.class_path,
            JobState.STARTED,
            utc_now(),
        )
        loop = asyncio.get_running_loop()
        job = ActiveJob(info, submission.config, loop.create_future(), loop.create_future())
        self._jobs[submission.job_id] = job
        job.task = asyncio.create_task(self._run(job), name=f"job-{submission.job_id}")
        return job

    async def _run(self, job: ActiveJob) -> None:
        """A job's whole life in its slot. A failure of ours ends the job in ERROR: it never stays RUNNING."""
        try:
            await self._run_steps(job)
        except ActorGone as error:
            self._discard_runner(job)
            await self._fail(job, _runner_died(error))
        except RayJobsError as error:
            await self._refuse(job, error)
        except Exception as error:
            log.exception("job %s failed in its context", job.info.job_id)
            await self._fail(job, error_of(error))
        finally:
            self._jobs.pop(job.info.job_id, None)
            if self._info.is_adhoc:
                self._declare_over(ContextOver("its job is over", expected=True))

    async def _run_steps(self, job: ActiveJob) -> None:
        runner = await self._runner_with_class(job)
        task = self._task_of(job)
        _, verdict = await asyncio.gather(self._store_start(job), cluster.call(runner.handle.validate.remote(task)))
        match verdict:
            case Refused(problems):
                error = ErrorData("; ".join(problems), "ValidationProblem", "")
                await self._fail(job, error, ValidationFailed(error.message, error))
            case Failed(error):
                await self._fail(job, error)
            case Valid():
                await self._run_validated(job, runner, task)

    async def _run_validated(self, job: ActiveJob, runner: RunnerSlot, task: Task) -> None:
        """The state RUNNING is on its way to the store while the job begins, and there before anyone hears of it."""
        name = f"{job.info.class_path} {job.info.job_id}"
        outcome = asyncio.ensure_future(cluster.call(runner.handle.run.options(name=name).remote(task)))
        if await self._change(job, JobEvent.VALIDATED):
            _resolve(job.accepted, JobReply(job.info))
        match await outcome:
            case Done(result_json):
                await self._finish(job, result_json)
            case Failed(error):
                await self._fail(job, error)

    async def _runner_with_class(self, job: ActiveJob) -> RunnerSlot:
        assert self._pool is not None
        runner = job.runner = await self._pool.take(job.info.binary)
        if job.info.class_path not in runner.loaded:
            await cluster.call(runner.handle.load.remote(job.info.class_path))
            runner.loaded.add(job.info.class_path)
        return runner

    def _task_of(self, job: ActiveJob) -> Task:
        config = hocon.merge(self._settings.job_defaults, job.config)
        return Task(job.info.job_id, job.info.class_path, config)

    async def _store_start(self, job: ActiveJob) -> None:
        await cluster.call(self._store.create_job.remote(job.info, job.config))
        job.stored = True

    async def _change(self, job: ActiveJob, event: JobEvent, error: ErrorData | None = None) -> bool:
        """Store the job's next state; False if somebody else's end of the job came first."""
        if job.ended.done():
            return False
        info = job.info.after(event, error)
        won = await cluster.call(self._store.change_job.remote(info, job_states_leading(event)))
        if won:
            job.info = info
        return won

    async def _finish(self, job: ActiveJob, result_json: str) -> None:
        await self._ship_log(job)
        info = job.info.after(JobEvent.SUCCEEDED)
        if await cluster.call(self._store.finish_job.remote(info, result_json)):
            job.info = info
            self._settle(job, JobReply(info, result_json))
        self._free_runner(job)

    async def _end(self, job: ActiveJob, event: JobEvent, error: ErrorData) -> JobReply | None:
        """Store the end and tell the waiters; None if the job had ended already."""
        if not await self._change(job, event, error):
            return None
        reply = JobReply(job.info)
        self._settle(job, reply)
        return reply

    async def _fail(self, job: ActiveJob, error: ErrorData, refusal: RayJobsError | None = None) -> None:
        """End the job in ERROR; `refusal` is what a caller who still waits for its acceptance gets instead."""
        if job.ended.done():
            return
        if not job.stored:
            await self._store_start(job)
        await self._ship_log(job)
        if await self._change(job, JobEvent.FAILED, error):
            if refusal:
                job.accepted.set_exception(refusal)
            self._settle(job, JobReply(job.info))
        self._free_runner(job)

    async def _refuse(self, job: ActiveJob, error: RayJobsError) -> None:
        """A job that never reached its validation leaves no record, only the caller's error."""
        self._free_runner(job)
        if job.stored:
            await self._fail(job, ErrorData(error.message, type(error).__name__, ""))
        elif not job.accepted.done():
            job.accepted.set_exception(error)

    def _settle(self, job: ActiveJob, reply: JobReply) -> None:
        self._jobs.pop(job.info.job_id, None)
        _resolve(job.ended, reply)
        _resolve(job.accepted, reply)

    def _free_runner(self, job: ActiveJob) -> None:
        if job.runner and self._pool and not self._stopping:
            self._pool.give_back(job.runner)
        job.runner = None

    def _discard_runner(self, job: ActiveJob) -> None:
        if job.runner and self._pool:
            self._pool.discard(job.runner)
        job.runner = None

    async def _clear_away(self, job: ActiveJob) -> None:
        """End what a killed job still does: its process and its Spark work; then keep what it wrote."""
        self._discard_runner(job)
        if self._spark:
            with contextlib.suppress(Exception):
                await asyncio.to_thread(spark.cancel_job, self._spark, job.info.job_id)
        await self._ship_log(job)

    async def _ship_log(self, job: ActiveJob) -> None:
        if content := await asyncio.to_thread(self._read_log, job.info.job_id):
            await cluster.call(self._store.save_log.remote(job.info.job_id, content))

    def _read_log(self, job_id: str) -> bytes:
        path: Path = self._setup.log_file(job_id)
        if not path.exists():
            return b""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LOG_LIMIT_BYTES))
            return file.read()


def _resolve(future: asyncio.Future[JobReply], reply: JobReply) -> None:
    if not future.done():
        future.set_result(reply)


def _runner_died(error: ActorGone) -> ErrorData:
    return ErrorData(
        "The job's process ended unexpectedly (a crash of native code, out of memory, or os._exit); "
        "its context and the other jobs go on. See the job's log, and Ray's word on it in the stack.",
        "RunnerDied",
        error.message,
    )
