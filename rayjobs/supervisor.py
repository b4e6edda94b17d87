"""Which contexts should exist: it creates, finds, stops, reaps and, after its own restart, recovers them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ray.actor import ActorHandle

from rayjobs import actor_lines, cluster, context_settings, leftovers, trees
from rayjobs.callbacks import CallbackSender
from rayjobs.errors import (
    ActorGone,
    BadConfig,
    BadContextName,
    ContextDeleteError,
    ContextExists,
    ContextInitError,
    ContextRestarting,
    NoRunningJob,
    NoSuchContext,
    NoSuchJob,
    RayJobsError,
    ServiceStarting,
)
from rayjobs.job_binaries import check_binaries, names_to_find
from rayjobs.live_context import LOST, LiveContext
from rayjobs.node_folders import node_folder
from rayjobs.placement import Room, room_for, shortage
from rayjobs.process_log import log_to_stderr
from rayjobs.records import Callback, ContextInfo, JobInfo, JobReply, killed_error, utc_now
from rayjobs.repetition import check_repeated
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.spark.kinds import kind_of
from rayjobs.spark.needs import SparkNeeds, needs_of
from rayjobs.spark_hosts import SparkHosts, wants_own_jvm
from rayjobs.states import ContextState, JobEvent, JobState

log = logging.getLogger(__name__)

STEP_S = 1.0
CLEAN_UP_S = 60.0
RECOVERY_PATIENCE_S = 5.0
ORPHAN_TIMEOUT_S = 10.0
SETTLED_WITHIN_S = 15.0
_ON_THEIR_WAY = (ContextState.STARTED, ContextState.RESTARTING)


class Supervisor:
    """A plain class, made a detached async actor in `cluster.py`; to be made inside a running event loop.

    Every row of a context is written on this actor's word, before anyone is told of the new state.
    """

    def __init__(self, settings: Settings):
        log_to_stderr()
        self._settings = settings
        self._live: dict[str, LiveContext] = {}
        # Those that are being made: whoever asks for the same job meanwhile waits with the first one.
        self._adhoc: dict[str, asyncio.Task[LiveContext]] = {}
        self._hosts = SparkHosts(settings, self._room_for)
        self._next_clean_up = 0.0
        self._sweep_due = True
        self._is_closing = False
        self._predefined: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._listener = actor_lines.offer(self)
        loop = asyncio.get_running_loop()
        self._recovery = loop.create_task(self._recover(), name="recover")
        self._loop = loop.create_task(self._run_loop(), name="control-loop")
        self._callbacks = loop.create_task(CallbackSender(_StoreActor(), settings).run(), name="callbacks")

    async def ready(self) -> None:
        """Returns once the contexts of an earlier life are found again."""
        if self._recovery.done() and self._recovery.exception():
            self._recovery = asyncio.create_task(self._recover(), name="recover")
        await asyncio.shield(self._recovery)

    async def list_contexts(self) -> list[str]:
        """Names of contexts in RUNNING, RESTARTING, STOPPING, newest first."""
        await self.ready()
        infos = [live.info for live in self._live.values() if live.info.state is not ContextState.STARTED]
        return [info.name for info in sorted(infos, key=lambda info: info.start_time, reverse=True)]

    async def get_context(self, name: str) -> ContextInfo:
        """The unfinished context of that name; raises `NoSuchContext`."""
        await self.ready()
        live = self._find(name, f"can't find context with name {name}")
        return replace(live.info, waits_for=live.waits_for)

    async def create_context(self, name: str, settings: dict[str, Any] | None = None) -> ContextInfo:
        """A running context. `settings` lie over the server's `contexts.context-settings`, dotted keys.

        Raises `BadContextName`, `ContextExists`, `BadConfig`, `ContextInitError`, `ServiceStarting`.
        """
        await self._recovered()
        if not name[:1].isalpha():
            raise BadContextName("context name must start with letters")
        return (await self._create(name, settings or {}, is_adhoc=False)).info

    async def stop_context(self, name: str, force: bool = False) -> bool:
        """True once stopped, False if that takes longer than `contexts.deletion-timeout-s` and goes on.

        A context that is still starting is stopped too; `force` ends it without asking it. Raises `NoSuchContext`,
        `ContextDeleteError`, `ServiceStarting`.
        """
        await self._recovered()
        stop = self._find(name, f"context {name} not found").begin_stop(force)
        done, _ = await asyncio.wait({stop}, timeout=self._settings.context_deletion_timeout_s)
        if done and (failure := stop.exception()):
            raise ContextDeleteError(f"context {name} is not stopped: {failure}") from None
        return bool(done)

    async def reset_contexts(self, wait: bool) -> None:
        """Stop all contexts, then create the predefined ones again, in the background; `wait` for the stops."""
        await self._recovered()
        reset = asyncio.create_task(self._reset(), name="reset")
        if wait:
            await asyncio.shield(reset)

    async def submit(self, submission: Submission) -> JobReply:
        """Run a job by name of its context, or in an ad-hoc one; for callers without a context's handle.

        The same job id again joins the job that there is. Raises what `JobService.start_job` does.
        """
        await self._recovered()
        if known := await self._known(submission):
            return known
        store = await cluster.find(cluster.STORE)
        binaries = await cluster.call(store.get_binaries.remote(names_to_find(submission)))
        if submission.context is None:  # before a context is started for it
            check_binaries(submission, binaries)
        live = await self._context_for(submission)
        try:
            with contextlib.suppress(ActorGone):
                if live.handle:
                    return await cluster.call(live.handle.submit.remote(submission))
        finally:
            if live.info.is_adhoc:
                self._warm()
        return await self.job_after_loss(submission)

    async def _known(self, submission: Submission) -> JobReply | None:
        """The job if it has begun: this call may be one that Ray makes again after a restart of this actor."""
        store = await cluster.find(cluster.STORE)
        try:
            job = (await cluster.call(store.get_job.remote(submission.job_id))).job
        except NoSuchJob:
            return None
        check_repeated(submission, job, await cluster.call(store.job_config.remote(job.job_id)))
        live = self._live.get(job.context_name)
        if live and live.handle:
            with contextlib.suppress(ActorGone, NoRunningJob):
                return await cluster.call(live.handle.await_job.remote(submission.job_id, submission.wait_s))
        return await self.job_after_loss(submission)

    async def require_running(self, name: str) -> None:
        """Raises `NoSuchContext`, `ContextStopping` or `ContextRestarting` for a context that takes no jobs."""
        await self.ready()
        self._find_running(name)

    async def job_after_loss(self, submission: Submission) -> JobReply:
        """What became of a job whose context died or was deleted under it.

        Its jobs are ended, or marked to run again, when that is noticed, which may be a moment away. For a job that
        never was: raises what its context, as it is by then, says to new ones, `ContextRestarting` if it is up again.
        """
        await self.ready()
        name = _context_name(submission)
        store = await cluster.find(cluster.STORE)
        deadline = time.monotonic() + ORPHAN_TIMEOUT_S
        while True:
            may_appear = await self._is_dying(name) and time.monotonic() < deadline
            try:
                reply = await cluster.call(store.get_job.remote(submission.job_id))
            except NoSuchJob:
                if not may_appear:
                    if submission.context is None and name not in self._live:
                        raise ContextInitError(f"context {name} died before its job began") from None
                    self._find_running(name)
                    raise ContextRestarting(f"context {name} died, and was started again; try again") from None
            else:
                if reply.job.state.is_final or time.monotonic() >= deadline:
                    return reply
            await asyncio.sleep(0.05)

    async def _is_dying(self, name: str) -> bool:
        """Whether the context of that name is gone, or going, and its last jobs may not be in the store yet."""
        live = self._live.get(name)
        if live is None or live.info.state is ContextState.RESTARTING:
            return False
        if live.info.state is not ContextState.RUNNING or live.handle is None:
            return True
        try:
            await cluster.ask(live.handle.ping.remote())
        except (ActorGone, TimeoutError):
            return True
        return False

    async def kill_restarting_job(self, job_id: str) -> JobInfo | None:
        """The job, KILLED, if it waits for its context to come back; None if it does not."""
        store = await cluster.find(cluster.STORE)
        job = (await cluster.call(store.get_job.remote(job_id))).job
        if job.state is not JobState.RESTARTING:
            return None
        killed = job.after(JobEvent.KILLED, killed_error(job_id))
        won = await cluster.call(store.change_job.remote(killed, frozenset({JobState.RESTARTING})))
        return killed if won else None

    async def shutdown(self) -> None:
        """Stop every context, and return when all are final. Callbacks not sent by then are sent at the next start."""
        await self.ready()
        self._is_closing = True
        self._loop.cancel()
        await self._stop_all()
        await self._hosts.close()
        self._callbacks.cancel()
        await asyncio.wait({self._callbacks})

    async def step(self, now: float) -> None:
        """What is due at `now` (monotonic seconds).

        Contexts idle too long, what dead ones left on this node, records that are old, jobs without a context.
        """
        await self._stop_idle()
        # Those that stand by give way to contexts that are on their way.
        if not any(live.info.state in _ON_THEIR_WAY for live in self._live.values()):
            self._hosts.maintain(now)
        if self._sweep_due:
            await self._sweep()
        if now >= self._next_clean_up:
            self._next_clean_up = now + CLEAN_UP_S
            store = await cluster.find(cluster.STORE)
            await cluster.call(store.end_orphans.remote(LOST))
            if self._settings.retention_s:
                before = utc_now() - timedelta(seconds=self._settings.retention_s)
                await cluster.call(store.delete_older.remote(before))

    async def _sweep(self) -> None:
        self._sweep_due = False
        try:
            await leftovers.sweep(node_folder(self._settings.data_path))
        except Exception:
            self._sweep_due = True
            raise

    async def _run_loop(self) -> None:
        while True:
            try:
                await self.ready()
                await self.step(time.monotonic())
            except Exception:
                log.exception("a step of the control loop failed; it goes on")
            await asyncio.sleep(STEP_S)

    async def _stop_idle(self) -> None:
        for live in list(self._live.values()):
            limit_s = idle_limit_s(live.info.settings, self._settings)
            if limit_s and live.info.state is ContextState.RUNNING and live.handle:
                with contextlib.suppress(ActorGone, TimeoutError):  # its watch sees to that
                    if await cluster.ask(live.handle.close_if_idle.remote(limit_s)):
                        log.info("context %s had no job for %g s and is stopped", live.info.name, limit_s)
                        live.begin_stop()

    async def _recovered(self) -> None:
        """Changes are refused until the contexts of an earlier life are found; that takes a moment."""
        try:
            async with asyncio.timeout(RECOVERY_PATIENCE_S):
                await self.ready()
        except TimeoutError:
            raise ServiceStarting("the supervisor looks for its contexts after a restart; try again") from None

    def _find(self, name: str, message: str) -> LiveContext:
        try:
            return self._live[name]
        except KeyError:
            raise NoSuchContext(message) from None

    def _find_running(self, name: str) -> LiveContext:
        live = self._find(name, f"context {name} not found")
        if live.info.state is not ContextState.RUNNING:
            raise live.info.refusal()
        return live

    async def _context_for(self, submission: Submission) -> LiveContext:
        """The context a job names, or the ad-hoc one that is made for it."""
        name = _context_name(submission)
        if submission.context is not None or (name in self._live and name not in self._adhoc):
            return self._find_running(name)
        if name not in self._adhoc:
            settings = context_settings.posted(submission.config)
            if submission.proxy_user:
                settings[context_settings.PROXY_USER] = submission.proxy_user
            creation = self._create(name, settings, is_adhoc=True)
            self._adhoc[name] = asyncio.create_task(creation, name=f"create-{name}")
            self._adhoc[name].add_done_callback(lambda _: self._adhoc.pop(name))
        return await asyncio.shield(self._adhoc[name])

    async def _create(self, name: str, settings: dict[str, Any], is_adhoc: bool) -> LiveContext:
        if self._is_closing:
            raise ServiceStarting("the service is being stopped")
        if name in self._live:
            raise ContextExists(f"context {name} exists")
        effective = self._settings.context_settings | settings
        kind_of(effective)
        _needs(effective)
        context_settings.jar_names(effective)
        idle_limit_s(effective, self._settings)
        wants_own_jvm(effective, self._settings)
        info = ContextInfo(str(uuid.uuid4()), name, ContextState.STARTED, utc_now(), effective, is_adhoc)
        live = self._adopt(info)
        try:
            await live.start()
        finally:
            # Of an ad-hoc context that is up the job is still to come.
            if live.was_spawned and not (is_adhoc and live.handle):
                self._warm(live.handle)
        return live

    def _warm(self, after: ActorHandle | None = None) -> None:
        """Replace the Ray workers that contexts and their runners took, in the background.

        `after` is a new context, which first has the processors to itself.
        """
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._warm_up(after), name="warm-workers")

    async def _warm_up(self, after: ActorHandle | None) -> None:
        try:
            if after:
                with contextlib.suppress(ActorGone, TimeoutError):
                    async with asyncio.timeout(SETTLED_WITHIN_S):
                        await cluster.call(after.settled.remote())
            await cluster.prestart_workers(self._settings.warm_workers)
        except Exception as error:
            log.warning("no workers are started ahead: %r", error)

    def _adopt(self, info: ContextInfo) -> LiveContext:
        live = self._live[info.name] = LiveContext(info, self._settings, self._hosts, self._room_for, self._forget)
        return live

    def _forget(self, live: LiveContext) -> None:
        if self._live.get(live.info.name) is live:
            del self._live[live.info.name]
        self._sweep_due = True

    async def _room_for(self, settings: dict[str, Any]) -> tuple[Room, str]:
        """Whether the cluster has room for such a context's executors now, and what is lacking if not."""
        needs, nodes = _needs(settings), await cluster.node_shares()
        room = room_for(needs, nodes)
        if room is Room.NOW:
            return room, ""
        holders = {live.info.name: _needs(live.info.settings) for live in self._live.values() if live.has_executors}
        holders |= {host: _needs(self._settings.context_settings) for host in self._hosts.kept()}
        lack = shortage(needs, nodes, holders)
        return (Room.LATER if self._settings.ray_autoscaling else room), lack

    async def _reset(self) -> None:
        await self._stop_all()
        self._predefined = asyncio.create_task(self._create_predefined(), name="predefined")

    async def _stop_all(self) -> None:
        stops = [live.begin_stop() for live in list(self._live.values())]
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if failure:
                log.error("a context did not stop: %s", failure)

    async def _create_predefined(self) -> None:
        """The contexts of the settings that do not exist; one that cannot start does not keep the others from it."""
        for name, settings in self._settings.predefined_contexts.items():
            try:
                await self._create(name, context_settings.plain_names(trees.flatten(settings)), is_adhoc=False)
            except ContextExists:
                continue
            except RayJobsError as error:
                log.error("the predefined context %s is not there: %s", name, error)

    async def _recover(self) -> None:
        """Contexts of an earlier life whose actor answers go on; the others are ERROR, and so are their jobs."""
        store = await cluster.find(cluster.STORE)
        unfinished = await cluster.call(store.unfinished_contexts.remote())
        self._live.clear()
        await asyncio.gather(*(self._adopt(info).recover() for info in unfinished))
        await cluster.call(store.end_orphans.remote(LOST))
        self._warm()
        await self._hosts.recover({live.host_id for live in self._live.values() if live.host_id})
        for live in list(self._live.values()):
            live.resume_restart()
        self._predefined = asyncio.create_task(self._create_predefined(), name="predefined")


class _StoreActor:
    """The job store as `CallbackStore`."""

    async def due_callbacks(self, now: datetime, sending: list[str], limit: int, per_receiver: int) -> list[Callback]:
        store = await cluster.find(cluster.STORE)
        return await cluster.call(store.due_callbacks.remote(now, sending, limit, per_receiver))

    async def get_job(self, job_id: str, longest_result_bytes: int | None = None) -> JobReply:
        store = await cluster.find(cluster.STORE)
        return await cluster.call(store.get_job.remote(job_id, longest_result_bytes))

    async def record_attempt(self, before: Callback, after: Callback) -> None:
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.record_attempt.remote(before, after))


def _context_name(submission: Submission) -> str:
    """Of the context that a job names, or of the ad-hoc one that is made for it."""
    return f"{submission.job_id}-{submission.class_path}" if submission.context is None else submission.context


def idle_limit_s(of_context: dict[str, Any], of_service: Settings) -> float:
    """How long a context may be without a job, 0 for ever; raises `BadConfig` for what is no number."""
    given = of_context.get("idle-timeout-s", of_service.context_idle_timeout_s)
    try:
        return max(0.0, float(str(given)))
    except ValueError:
        raise BadConfig(f"idle-timeout-s: {given!r} is not a number of seconds") from None


def _needs(settings: dict[str, Any]) -> SparkNeeds:
    return needs_of(settings, os.cpu_count() or 1)
