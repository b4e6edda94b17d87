"""One context: its Spark session, its job slots, its runners; it starts, kills and drains jobs."""

from __future__ import annotations

import asyncio
import logging
import shutil
import time
from pathlib import Path
from typing import Any

from ray.actor import ActorHandle

from rayjobs import actor_lines, cluster, joblog, leftovers
from rayjobs.application import HostedApplication, SparkApplication, SparkFacts
from rayjobs.change_count import ChangeCount
from rayjobs.context_settings import STOP_ON_ERROR, is_true
from rayjobs.errors import (
    ContextStopping,
    ErrorData,
    NoRunningJob,
    NoSlotsAvailable,
    RayJobsError,
)
from rayjobs.job_binaries import check_binaries, names_to_find
from rayjobs.job_run import JobRun, Workplace
from rayjobs.job_writer import JobWriter
from rayjobs.known_binaries import KnownBinaries
from rayjobs.named_registry import NamedEntry, NamedRegistry
from rayjobs.node_files import ClusterStoreFiles, NodeFiles
from rayjobs.node_folders import contexts_folder, node_folder
from rayjobs.process_log import log_to_stderr
from rayjobs.records import BinaryInfo, ContextInfo, ContextOver, JobInfo, JobReply, killed_error, utc_now
from rayjobs.repetition import check_repeated
from rayjobs.runner_links import RunnerLinks
from rayjobs.runners import LONG_JOB_S, RunnerPool
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.states import JobEvent, JobState
from rayjobs.store.blobs import changes_file
from rayjobs.store.journal import Journal, journals_folder
from rayjobs.store.under_way import UnderWay
from rayjobs.tasks import RunnerSetup

log = logging.getLogger(__name__)

ADHOC_PATIENCE_S = 60.0
"""An ad-hoc context that got no job by then is over: who asked for it is gone."""
TIDY_S = 5.0
BURIAL_S = 10.0
"""By then a context whose Spark is gone has been ended."""
FIRST_JOB_S = 0.1
"""By then the first job has come of somebody who made a context for it."""


class Context:
    """A plain class, made a detached async actor in `cluster.py`.

    A job's row in the store is written on this actor's word: every state before anyone is told of it.
    """

    def __init__(self, settings: Settings, info: ContextInfo, host: ActorHandle | None = None):
        log_to_stderr()
        self._settings = settings
        self._info = info
        self._node_path = node_folder(settings.data_path)
        self._folder = contexts_folder(self._node_path) / info.id
        self._application: SparkApplication | None = HostedApplication(host, info.id) if host else None
        self._place: Workplace | None = None
        self._links: RunnerLinks | None = None
        self._jobs: dict[str, JobRun] = {}
        self._named = NamedRegistry()
        self._idle_since = time.monotonic()
        self._stopping = False
        self._over: asyncio.Future[ContextOver] = asyncio.get_running_loop().create_future()
        self._tasks: list[asyncio.Task[None]] = []
        self._listener = actor_lines.offer(self)

    async def initialise(self, session: SparkFacts | None = None) -> SparkFacts:
        """Start Spark, unless its host has opened a `session` for it, and the spare runners.

        Raises `ContextInitError` with the cause, JVM log lines included.
        """
        facts = session or await self._start_spark()
        self._place = await self._make_place(facts)
        self._idle_since = time.monotonic()
        self._tasks = [
            asyncio.create_task(self._watch_application(), name="watch-spark"),
            asyncio.create_task(self._tidy(), name="tidy"),
        ]
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
            check_repeated(submission, job.info, job.config)
        except RayJobsError:
            self._end_if_adhoc()
            raise
        return await job.wait(submission.wait_s)

    async def await_job(self, job_id: str, wait_s: float) -> JobReply:
        """A job that runs here, as it stands after `wait_s` at most; raises `NoRunningJob`."""
        if job_id not in self._jobs:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return await self._jobs[job_id].wait(wait_s)

    async def resume(self, job: JobInfo, config: dict[str, Any]) -> JobReply:
        """Run a job again that was RESTARTING, with the binaries it had; the job once its validation passed."""
        if self._place is None:
            raise self._info.refusal()
        return await self._take_in(job, config, self._place).wait(0)

    async def job_over(self, job_id: str) -> None:
        """Returns when that job is over, or was never here."""
        if job := self._jobs.get(job_id):
            await asyncio.wait({job.task})

    async def kill_job(self, job_id: str) -> JobInfo:
        """The job, KILLED: stored, its Spark work cancelled, its process ended. Raises `NoRunningJob`."""
        job = self._jobs.get(job_id)
        killed = job and await job.end(JobEvent.KILLED, killed_error(job_id))
        if not killed:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return killed

    async def job_log(self, job_id: str) -> bytes:
        """What a job wrote so far; nothing once the store has its log, or if it never ran here."""
        if self._place is None:
            return b""
        return await asyncio.to_thread(joblog.read, self._place.setup.log_file(job_id))

    async def claim_name(self, name: str, job_id: str, wait_s: float) -> NamedEntry | None:
        """The object of that name; None if the job is to make it: others who want it wait until it has, or ends.

        Raises `TimeoutError` after `wait_s`.
        """
        async with asyncio.timeout(wait_s):
            entry = await self._named.claim(name, job_id)
        if entry is None and job_id not in self._jobs:
            # It was killed while it waited: nobody would make what it has claimed.
            self._named.release(job_id)
            raise NoRunningJob(f"No running job with ID {job_id}")
        return entry

    async def release_name(self, name: str, job_id: str) -> None:
        """The job does not make what it had claimed."""
        self._named.release(job_id, name)

    async def find_named(self, name: str) -> NamedEntry | None:
        """The object of that name, None if there is none."""
        return self._named.get(name)

    async def put_named(self, name: str, entry: NamedEntry) -> NamedEntry | None:
        """Let the name stand for that; what it stood for before."""
        return self._named.put(name, entry)

    async def forget_named(self, name: str) -> NamedEntry | None:
        """Let the name stand for nothing; what it stood for before."""
        return self._named.forget(name)

    async def named(self) -> list[str]:
        """The names there are."""
        return self._named.names()

    async def settled(self) -> None:
        """Returns when this new context leaves the processors to others.

        No job came at once, or its first one is over, or takes long.
        """
        await asyncio.sleep(FIRST_JOB_S)
        if jobs := [job.task for job in self._jobs.values()]:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED, timeout=LONG_JOB_S)

    async def close_if_idle(self, limit_s: float) -> bool:
        """Take no more jobs if there has been none for longer than that; whether it is so. A stop must follow."""
        if not self._jobs and time.monotonic() - self._idle_since > limit_s:
            self._stopping = True
        return self._stopping

    async def shutdown(self) -> None:
        """End the jobs, the runners, Spark and its JVM; the caller then kills this actor."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        gone = ErrorData(f"Context ({self._info.name}) for this job was terminated", "", "")
        ends = (job.end(JobEvent.CONTEXT_LOST, gone) for job in list(self._jobs.values()))
        for ended in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(ended, Exception):  # whoever buries this context ends the job
                log.error("a job's end could not be stored: %r", ended)
        if self._place:
            self._place.pool.close()
            await self._place.writer.close()
            if self._place.under_way:
                self._place.under_way.close()
        for listener in (self._links, self._listener):
            if listener:
                listener.close()
        if self._application:
            await self._application.stop()
        await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _start_spark(self) -> SparkFacts:
        """PySpark is imported only where Spark is to run here: contexts on a host start sooner without it."""
        from rayjobs.own_application import OwnApplication

        info = self._info
        application = OwnApplication(info.name, info.id, info.settings, self._folder, self._settings)
        self._application = application
        return await application.start()

    async def _occupy_slot(self, submission: Submission) -> JobRun:
        if self._place is None:
            raise self._info.refusal()
        if self._over.done() and not self._over.result().expected:
            await asyncio.sleep(BURIAL_S)  # what the supervisor makes of its death says more than we could
        binaries = await self._place.binaries.latest(names_to_find(submission))
        if submission.job_id not in self._jobs:
            self._refuse_if_full_or_unfit(submission, binaries)
            # A call of the supervisor, as for ad-hoc jobs, may be made again, and must then find the job.
            is_secret = submission.wait_s > 0 and not submission.may_be_repeated and not self._info.is_adhoc
            return self._take_in(self._new_job(submission, binaries), submission.config, self._place, is_secret)
        return self._jobs[submission.job_id]

    def _take_in(self, info: JobInfo, config: dict[str, Any], place: Workplace, is_secret: bool = False) -> JobRun:
        job = self._jobs[info.job_id] = JobRun(info, config, place, is_secret)
        job.task.add_done_callback(lambda _: self._free_slot(job))
        return job

    def _refuse_if_full_or_unfit(self, submission: Submission, binaries: list[BinaryInfo]) -> None:
        name = "ad-hoc" if self._info.is_adhoc else self._info.name
        if self._stopping or self._over.done():
            raise ContextStopping("Context stop in progress")
        check_binaries(submission, binaries)
        if len(self._jobs) >= self._settings.max_jobs_per_context:
            raise NoSlotsAvailable(f"Too many running jobs ({len(self._jobs)}) for job context '{name}'")

    def _new_job(self, submission: Submission, binaries: list[BinaryInfo]) -> JobInfo:
        return JobInfo(
            submission.job_id,
            self._info.id,
            self._info.name,
            binaries[0],
            submission.class_path,
            JobState.STARTED,
            utc_now(),
            is_async=submission.wait_s <= 0,
            callback_url=submission.callback_url,
            dependencies=tuple(binaries[1:]),
        )

    def _free_slot(self, job: JobRun) -> None:
        self._jobs.pop(job.info.job_id, None)
        self._named.release(job.info.job_id)
        self._idle_since = time.monotonic()
        self._end_if_adhoc()
        if job.info.state is JobState.ERROR and is_true(self._info.settings, STOP_ON_ERROR):
            self._declare_over(ContextOver("a job ended in an error", expected=True))

    def _end_if_adhoc(self) -> None:
        if self._info.is_adhoc and not self._jobs:
            self._declare_over(ContextOver("its job is over", expected=True))

    def _declare_over(self, over: ContextOver) -> None:
        if not self._over.done():
            self._over.set_result(over)

    async def _make_place(self, facts: SparkFacts) -> Workplace:
        setup = RunnerSetup(
            self._info.name, self._info.id, facts.session, self._info.settings, self._folder, facts.packages
        )
        hosted = self._application if isinstance(self._application, HostedApplication) else None
        links = self._links = RunnerLinks(self._info.id, setup, self._note_passed, hosted)
        pool = RunnerPool(
            self._info.name,
            0 if self._info.is_adhoc or hosted else self._settings.spare_runners,
            self._settings.max_jobs_per_context,
            spawn=links.spawn,
            files=NodeFiles(self._node_path, self._folder, ClusterStoreFiles()),
            # The host of an ad-hoc context ends with it, or is told of its end.
            refill_elsewhere=(lambda: None) if self._info.is_adhoc else links.replace_borrowed,
        )
        # The first thing, since the first job waits for it.
        for _ in range(1 if self._info.is_adhoc else self._settings.spare_runners):
            pool.add_spare()
        pool.refill_within(LONG_JOB_S)
        store = await cluster.find(cluster.STORE)
        journal = under_way = changes = None
        if folder := await self._stores_folder(store):
            journal = Journal(journals_folder(folder))
            under_way = UnderWay(journals_folder(folder), self._info.id)
            changes = ChangeCount(changes_file(folder))
        return Workplace(
            store,
            JobWriter(store, journal, self._settings.inline_result_bytes),
            under_way,
            KnownBinaries(store, changes),
            pool,
            setup,
            self._settings.job_defaults,
            self._settings.job_load_timeout_s,
            self._cancel_spark,
            self._check_spark,
            lambda job: cluster.show_job(f"{job.class_path} {job.job_id}", job.job_id),
        )

    async def _stores_folder(self, store: ActorHandle) -> Path | None:
        """The data directory, if this node has it: who has a line to the store is on its node."""
        beside = await actor_lines.peer(store)
        if beside is None or beside.line is None:
            return None
        folder = Path(await beside.ask("folder"))
        beside.close()
        return folder if folder.is_dir() else None

    def _note_passed(self, job_id: str) -> None:
        if job := self._jobs.get(job_id):
            job.note_passed()

    async def _cancel_spark(self, job_id: str) -> None:
        if self._application:
            await self._application.cancel_job(job_id)

    async def _check_spark(self) -> None:
        """A Spark that dies takes its jobs' calls, and a host the runners it has lent: no job has failed by itself."""
        try:
            is_up = self._application is None or await self._application.is_up()
        except Exception:
            log.exception("whether Spark is up cannot be told")
            is_up = True
        if not is_up:
            await asyncio.sleep(BURIAL_S)

    async def _watch_application(self) -> None:
        """Notice a Spark that died, or that a job or an operator stopped from outside."""
        if self._application:
            self._declare_over(ContextOver(await self._application.end()))

    async def _tidy(self) -> None:
        """End runners that nobody uses, and clear up after contexts that died on this node."""
        try:
            await leftovers.sweep(self._node_path)
        except Exception:
            log.exception("what dead contexts left on this node is still there; the supervisor tries again")
        while limit_s := self._settings.runner_idle_timeout_s:
            await asyncio.sleep(TIDY_S)
            if self._place:
                self._place.pool.end_idle(time.monotonic() - limit_s)
