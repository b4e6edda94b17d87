"""One job in its slot: from its acceptance to its stored end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster, joblog, trees
from rayjobs.errors import ActorGone, ErrorData, JobLoadingFailed, RayJobsError, ValidationFailed, error_data_of
from rayjobs.job_writer import JobWriter
from rayjobs.known_binaries import KnownBinaries
from rayjobs.records import JobInfo, JobReply
from rayjobs.repetition import PROBLEM
from rayjobs.runners import RunnerPool, RunnerSlot
from rayjobs.states import JobEvent, JobState
from rayjobs.store.under_way import UnderWay
from rayjobs.tasks import Done, Failed, Refused, RunnerSetup, Task, error_of

log = logging.getLogger(__name__)

CANCEL_TIMEOUT_S = 10.0
WITHHELD_S = 0.5
"""A job that only its waiting caller knows of, and that is over by then, goes to the store in one piece."""


@dataclass(frozen=True)
class Workplace:
    """What a context lends to its jobs. `cancel_spark` ends the Spark work of a job, by its id.

    `spark_checked` returns at once if Spark is up; else it leaves time for the end of the context, and so of its jobs.
    `under_way` is for those that nothing is stored of yet. `show` has Ray's dashboard show a job by its name.
    """

    store: ActorHandle
    writer: JobWriter
    under_way: UnderWay | None
    binaries: KnownBinaries
    pool: RunnerPool
    setup: RunnerSetup
    job_defaults: dict[str, Any]
    load_timeout_s: float
    cancel_spark: Callable[[str], Awaitable[None]]
    spark_checked: Callable[[], Awaitable[None]]
    show: Callable[[JobInfo], None]


class JobRun:
    """Runs as a task of its own from the moment it is made; `task` is done when its slot is free.

    Every state is in the store before anyone hears of it. Whoever ends the job, the first to store an end wins.
    A job that is RESTARTING is in the store already. `is_secret`: only its caller knows of it, and hears of it when it
    is over; so its first row may wait a moment.
    """

    def __init__(self, info: JobInfo, config: dict[str, Any], place: Workplace, is_secret: bool = False):
        self.info = info
        self.config = config
        self._place = place
        self._is_secret = is_secret
        self._runner: RunnerSlot | None = None
        self._start: asyncio.Future[Any] | None = None
        loop = asyncio.get_running_loop()
        self._accepted: asyncio.Future[JobReply] = loop.create_future()
        self._ended: asyncio.Future[JobReply] = loop.create_future()
        self._passed: asyncio.Future[None] = loop.create_future()
        self.task = loop.create_task(self._run(), name=f"job-{info.job_id}")

    async def wait(self, wait_s: float) -> JobReply:
        """The job once its validation passed (`wait_s` 0), or once it is final, or after `wait_s`; or its refusal."""
        reply = await asyncio.shield(self._accepted)
        if wait_s <= 0 or reply.job.state.is_final:
            return reply
        done, _ = await asyncio.wait({self._ended}, timeout=wait_s)
        return self._ended.result() if done else JobReply(self.info)

    async def end(self, event: JobEvent, error: ErrorData) -> JobInfo | None:
        """End the job from outside: stored, its waiters told, its process and Spark work ended, its log kept.

        None if it had ended already.
        """
        await self._stored()
        if not await self._change(event, error):
            return None
        self._settle(JobReply(self.info))
        self.task.cancel()
        await asyncio.wait({self.task})
        await self._ship_log()
        return self.info

    def note_passed(self) -> None:
        """Its validation has passed, and it runs."""
        if not self._passed.done():
            self._passed.set_result(None)

    async def _run(self) -> None:
        try:
            await self._run_or_fail()
        except Exception as error:
            log.exception("job %s: its end could not be stored", self.info.job_id)
            self._give_up(error)
        finally:
            await self._discard_runner()
            self._note_written()

    async def _run_or_fail(self) -> None:
        """A failure of ours ends the job in ERROR as well: it never stays RUNNING."""
        try:
            await self._run_steps()
        except ActorGone as error:
            await self._fail(_runner_died(error))
        except RayJobsError as error:
            await self._refuse(error)
        except Exception as error:
            log.exception("job %s failed in its context", self.info.job_id)
            await self._fail(error_of(error))

    async def _run_steps(self) -> None:
        if self._is_secret and self._place.under_way:
            self._place.under_way.begun(self.info, self.config)
        runner = self._runner = await self._place.pool.take(self.info.binaries)
        await self._load_class(runner)
        if not self._is_secret:
            await self._stored()
        config = trees.merge(self._place.job_defaults, self.config)
        task = Task(self.info.job_id, self.info.class_path, config)
        outcome = asyncio.ensure_future(runner.link.perform(task, self.info.is_async))
        try:
            if not await self._is_under_way_as_stored(outcome):
                return await self._settle_as_stored()
            result = await outcome
        finally:
            outcome.cancel()
        self._release_runner()
        match result:
            case Refused(problems):
                error = ErrorData("; ".join(problems), PROBLEM, "")
                await self._fail(error, ValidationFailed(error.message, error))
            case Failed(error):
                await self._fail(error)
            case Done(result_json):
                await self._finish(result_json)

    async def _is_under_way_as_stored(self, outcome: asyncio.Future[Done | Refused | Failed]) -> bool:
        """RUNNING is stored once the validation has passed, unless the job is over by then.

        False if somebody else has ended the job.
        """
        if self._is_secret:
            await asyncio.wait({outcome}, timeout=WITHHELD_S)
            if outcome.done():
                return True
            await self._stored()
        await asyncio.wait({outcome, self._passed}, return_when=asyncio.FIRST_COMPLETED)
        if not self._passed.done() and not _succeeded(outcome):
            return True
        if not await self._change(JobEvent.VALIDATED):
            return False
        _resolve(self._accepted, JobReply(self.info))
        if not outcome.done():
            self._place.show(self.info)
        return True

    async def _load_class(self, runner: RunnerSlot) -> None:
        class_path, limit_s = self.info.class_path, self._place.load_timeout_s
        if class_path in runner.loaded:
            return
        try:
            await asyncio.wait_for(runner.link.load(class_path), limit_s)
        except TimeoutError:
            raise JobLoadingFailed(f"importing {class_path} took longer than {limit_s:g} s") from None
        except ActorGone:
            raise
        except RayJobsError:
            self._release_runner()
            raise
        runner.loaded.add(class_path)

    async def _stored(self) -> None:
        """The job's first row is in the store, written once however many wait for it."""
        if self._start is None and self.info.state is JobState.RESTARTING:
            return
        if self._start is None:
            self._start = asyncio.ensure_future(self._place.writer.create(self.info, self.config))
        await asyncio.shield(self._start)
        self._note_written()

    def _note_written(self) -> None:
        if self._place.under_way:
            self._place.under_way.written(self.info.job_id)

    async def _change(self, event: JobEvent, error: ErrorData | None = None) -> bool:
        """Store the job's next state; False if another end of the job came first."""
        if self._ended.done():
            return False
        info = self.info.after(event, error)
        won = await self._place.writer.change(info, event)
        if won:
            self.info = info
        return won

    async def _finish(self, result_json: str) -> None:
        await self._ship_log()
        if self._is_withheld():
            ended = self.info.after(JobEvent.VALIDATED).after(JobEvent.SUCCEEDED)
            won = await self._record(ended, result_json)
        else:
            ended = self.info.after(JobEvent.SUCCEEDED)
            won = await self._place.writer.finish(ended, result_json)
        if not won:
            return await self._settle_as_stored()
        self.info = ended
        self._settle(JobReply(ended, result_json))

    async def _settle_as_stored(self) -> None:
        """Somebody else ended the job: whoever waits here hears of that end."""
        if not self._ended.done():
            reply = await cluster.call(self._place.store.get_job.remote(self.info.job_id))
            if reply.job.state.is_final:
                self.info = reply.job
                self._settle(reply)

    async def _fail(self, error: ErrorData, refusal: RayJobsError | None = None) -> None:
        """End the job in ERROR; `refusal` is what a caller who still waits for its acceptance gets instead.

        Before anyone hears of it, its runner is not its any more: who posts the next job then finds the slot free.
        """
        if self._ended.done():
            return
        await self._place.spark_checked()
        await self._discard_runner()
        await self._ship_log()
        if self._is_withheld():
            ended = self.info.after(JobEvent.FAILED, error)
            won = await self._record(ended)
            self.info = ended if won else self.info
        else:
            await self._stored()
            won = await self._change(JobEvent.FAILED, error)
        if not won:
            return await self._settle_as_stored()
        if refusal:
            self._accepted.set_exception(refusal)
        self._settle(JobReply(self.info))

    def _is_withheld(self) -> bool:
        """Whether nothing of the job is stored yet."""
        return self._is_secret and self._start is None

    async def _record(self, ended: JobInfo, result_json: str | None = None) -> bool:
        """Store a withheld job that is over; False if somebody else has ended it."""
        self._start = asyncio.ensure_future(self._place.writer.record(ended, self.config, result_json))
        return await asyncio.shield(self._start)

    async def _refuse(self, error: RayJobsError) -> None:
        """A job that never reached its validation leaves no record, only the caller's error."""
        if self._is_recorded():
            await self._fail(error_data_of(error))
        elif not self._accepted.done():
            self._accepted.set_exception(error)

    def _is_recorded(self) -> bool:
        if self._start is None:
            return self.info.state is JobState.RESTARTING
        return not (self._start.done() and self._start.exception())

    def _settle(self, reply: JobReply) -> None:
        _resolve(self._ended, reply)
        _resolve(self._accepted, reply)

    def _give_up(self, error: Exception) -> None:
        """Nobody waits for ever: who still does hears the error, marked as heard in case nobody does."""
        for future in (self._accepted, self._ended):
            if not future.done():
                future.set_exception(error)
                future.exception()

    def _release_runner(self) -> None:
        """It has answered, so it may serve the next job."""
        if self._runner:
            self._place.pool.give_back(self._runner)
        self._runner = None

    async def _discard_runner(self) -> None:
        """End a runner that was not released, and the Spark work that its job has begun."""
        if self._runner:
            await self._place.pool.end(self._runner)
            # A chosen id without a record is that of another job.
            if self._is_secret or self._is_recorded():
                await self._cancel_spark()
            self._runner = None

    async def _cancel_spark(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_TIMEOUT_S):
                await self._place.cancel_spark(self.info.job_id)
        except Exception as error:
            log.warning("the Spark work of job %s may go on: %r", self.info.job_id, error)

    async def _ship_log(self) -> None:
        """Move what the job wrote to the store; a log that cannot be kept costs the job nothing else."""
        file = self._place.setup.log_file(self.info.job_id)
        try:
            if file.exists() and (content := await asyncio.to_thread(joblog.read, file)):
                await cluster.call(self._place.store.save_log.remote(self.info.job_id, content))
                file.unlink(missing_ok=True)
        except Exception:
            log.exception("the log of job %s could not be kept", self.info.job_id)


def _succeeded(outcome: asyncio.Future[Done | Refused | Failed]) -> bool:
    return outcome.done() and outcome.exception() is None and isinstance(outcome.result(), Done)


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
