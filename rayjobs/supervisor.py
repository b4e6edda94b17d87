"""Which contexts should exist: it creates, finds, stops and, after its own restart, recovers them."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from dataclasses import dataclass, field, replace
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster, context_settings
from rayjobs.errors import (
    ActorGone,
    BadContextName,
    ContextDeleteError,
    ContextExists,
    ContextInitError,
    ContextStopping,
    ErrorData,
    NoSuchContext,
    NoSuchJob,
    RayJobsError,
    error_data_of,
)
from rayjobs.records import ContextInfo, ContextOver, JobReply, utc_now
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.spark.kinds import kind_of
from rayjobs.spark.needs import needs_of
from rayjobs.states import ContextEvent, ContextState

log = logging.getLogger(__name__)

PING_TIMEOUT_S = 5.0
RETRY_S = 1.0
ORPHAN_TIMEOUT_S = 10.0


@dataclass(eq=False)
class LiveContext:
    """A context that is not final: its record as stored, its actor, and the tasks that attend it.

    `lock` is held from the choice of a next state until it is stored.
    """

    info: ContextInfo
    handle: ActorHandle | None = None
    watch: asyncio.Task[None] | None = None
    stop: asyncio.Task[None] | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Supervisor:
    """A plain class, made a detached async actor in `cluster.py`; to be made inside a running event loop.

    Every row of a context is written on this actor's word, before anyone is told of the new state.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._live: dict[str, LiveContext] = {}
        self._recovery = asyncio.get_running_loop().create_task(self._recover(), name="recover")

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
        return self._find(name, f"can't find context with name {name}").info

    async def create_context(self, name: str, settings: dict[str, Any] | None = None) -> ContextInfo:
        """A running context. `settings` lie over the server's `contexts.context-settings`, dotted keys.

        Raises `BadContextName`, `ContextExists`, `BadConfig`, `ContextInitError`.
        """
        await self.ready()
        if not name[:1].isalpha():
            raise BadContextName("context name must start with letters")
        return await self._create(name, settings or {}, is_adhoc=False)

    async def stop_context(self, name: str) -> bool:
        """True once stopped, False if that takes longer than `contexts.deletion-timeout-s` and goes on.

        A context that is still starting is stopped too. Raises `NoSuchContext`, `ContextDeleteError`.
        """
        await self.ready()
        stop = self._begin_stop(self._find(name, f"context {name} not found"))
        done, _ = await asyncio.wait({stop}, timeout=self._settings.context_deletion_timeout_s)
        if done and (failure := stop.exception()):
            raise ContextDeleteError(f"context {name} is not stopped: {failure}") from None
        return bool(done)

    async def submit(self, submission: Submission) -> JobReply:
        """Run a job by name of its context, or in an ad-hoc one; for callers without a context's handle.

        The same job id again joins the job that there is. Raises what `JobService.start_job` does.
        """
        await self.ready()
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.get_binary.remote(submission.app_name))
        live = await self._context_for(submission)
        try:
            return await cluster.call(live.handle.submit.remote(submission))
        except ActorGone:
            return await self.job_after_loss(submission)

    async def require_running(self, name: str) -> None:
        """Raises `NoSuchContext` or `ContextStopping` for a context that takes no jobs."""
        await self.ready()
        self._find_running(name)

    async def job_after_loss(self, submission: Submission) -> JobReply:
        """What became of a job whose context died or was deleted under it; raises `NoSuchContext` if it never was.

        Its jobs are ended when a context is buried, which may be a moment away.
        """
        store = await cluster.find(cluster.STORE)
        deadline = asyncio.get_running_loop().time() + ORPHAN_TIMEOUT_S
        try:
            reply = await cluster.call(store.get_job.remote(submission.job_id))
            while not reply.job.state.is_final and asyncio.get_running_loop().time() < deadline:
                await asyncio.sleep(0.05)
                reply = await cluster.call(store.get_job.remote(submission.job_id))
        except NoSuchJob:
            raise NoSuchContext(f"context {submission.context} not found") from None
        return reply

    async def shutdown(self) -> None:
        """Stop every context, and return when all are final."""
        await self.ready()
        stops = [self._begin_stop(live) for live in list(self._live.values())]
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if failure:
                log.error("a context did not stop: %s", failure)

    def _find(self, name: str, message: str) -> LiveContext:
        try:
            return self._live[name]
        except KeyError:
            raise NoSuchContext(message) from None

    def _find_running(self, name: str) -> LiveContext:
        live = self._find(name, f"context {name} not found")
        if live.info.state is ContextState.STOPPING:
            raise ContextStopping("Context stop in progress")
        if live.info.state is not ContextState.RUNNING:
            raise NoSuchContext(f"context {name} not found: it is still starting")
        return live

    async def _context_for(self, submission: Submission) -> LiveContext:
        """The context a job names, or the ad-hoc one that is made for it, called `<job id>-<class path>`."""
        if submission.context is not None:
            return self._find_running(submission.context)
        name = f"{submission.job_id}-{submission.class_path}"
        if name not in self._live:
            await self._create(name, context_settings.posted(submission.config), is_adhoc=True)
        return self._find_running(name)

    async def _create(self, name: str, settings: dict[str, Any], is_adhoc: bool) -> ContextInfo:
        if name in self._live:
            raise ContextExists(f"context {name} exists")
        effective = self._settings.context_settings | settings
        kind_of(effective)
        needs_of(effective, os.cpu_count() or 1)
        info = ContextInfo(str(uuid.uuid4()), name, ContextState.STARTED, utc_now(), effective, is_adhoc)
        live = self._live[name] = LiveContext(info)
        try:
            async with live.lock:
                await self._save(live, info)
            await self._start(live)
        except Exception as error:
            if live.stop is None:
                failure = _init_error(name, error)
                await self._bury(live, ContextEvent.INIT_FAILED, error_data_of(failure))
                raise failure from None
        if live.stop:
            await asyncio.wait({live.stop})
            raise ContextInitError(f"context {name} was stopped while it started")
        return live.info

    async def _start(self, live: LiveContext) -> None:
        """From STARTED to RUNNING; a DELETE meanwhile wins, and its stop clears up."""
        if live.stop:
            return
        live.handle = cluster.spawn_context(live.info.name, self._settings, live.info)
        limit_s = self._settings.context_creation_timeout_s
        try:
            facts = await asyncio.wait_for(cluster.call(live.handle.initialise.remote()), limit_s)
        except TimeoutError:
            raise ContextInitError(f"context {live.info.name} was not up within {limit_s:g} s") from None
        except ActorGone as error:
            raise ContextInitError(f"the process of context {live.info.name} died: {error.message}") from None
        async with live.lock:
            if live.stop is None:
                running = replace(live.info, application_id=facts.application_id, ui_url=facts.ui_url)
                await self._save(live, running.after(ContextEvent.INITIALISED))
                self._attend(live)

    def _attend(self, live: LiveContext) -> None:
        live.watch = asyncio.create_task(self._watch(live), name=f"watch-{live.info.name}")

    async def _watch(self, live: LiveContext) -> None:
        """Wait for an end that nobody asked for: an ad-hoc job over, Spark or the process gone."""
        over = await self._await_end(live)
        if live.stop:
            return
        if over.expected:
            self._begin_stop(live)
        else:
            await self._bury_at_last(live, ContextEvent.DIED, _terminated(live.info, over.reason))

    async def _await_end(self, live: LiveContext) -> ContextOver:
        """An actor whose connection broke is asked again before it counts as dead."""
        while True:
            try:
                return await cluster.call(live.handle.lifetime.remote())
            except ActorGone as error:
                if not await cluster.answers(live.handle, PING_TIMEOUT_S):
                    return ContextOver(f"its process died: {error.message}")

    def _begin_stop(self, live: LiveContext) -> asyncio.Task[None]:
        """One task that sees the stop through, however many ask for it; a new one if the last could not."""
        if live.stop is None or (live.stop.done() and not live.info.state.is_final):
            live.stop = asyncio.create_task(self._stop(live), name=f"stop-{live.info.name}")
        return live.stop

    async def _stop(self, live: LiveContext) -> None:
        """STOPPING, Spark and the actor ended, FINISHED; a context that hangs is ended by force."""
        async with live.lock:
            was_started = live.info.state is not ContextState.STARTED
            if live.info.state.is_final:
                return
            if live.info.state is not ContextState.STOPPING:
                await self._save(live, live.info.after(ContextEvent.STOP_REQUESTED))
        if live.handle and was_started:
            try:
                shutdown = cluster.call(live.handle.shutdown.remote())
                await asyncio.wait_for(shutdown, self._settings.context_kill_after_s)
            except Exception as error:
                log.warning("context %s is ended by force: %r", live.info.name, error)
        await self._bury(live, ContextEvent.STOPPED, None)

    async def _bury(self, live: LiveContext, event: ContextEvent, error: ErrorData | None) -> None:
        """The final state of a context: its actor gone, its record and its jobs' ends stored, its name free."""
        async with live.lock:
            if live.info.state.is_final:
                return
            if live.handle:
                await cluster.end(cluster.context_actor_name(live.info.name), live.handle)
            final = live.info.after(event, error)
            store = await cluster.find(cluster.STORE)
            await cluster.call(store.end_context.remote(final, error or _terminated(final, "it was stopped")))
            live.info = final
            if self._live.get(final.name) is live:
                del self._live[final.name]

    async def _bury_at_last(self, live: LiveContext, event: ContextEvent, error: ErrorData) -> None:
        """`_bury`, tried again while the store cannot write: nobody else will do it."""
        while not live.info.state.is_final:
            try:
                await self._bury(live, event, error)
            except RayJobsError as failure:
                log.error("the end of context %s is not stored: %s", live.info.name, failure)
                await asyncio.sleep(RETRY_S)

    async def _save(self, live: LiveContext, info: ContextInfo) -> None:
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.save_context.remote(info))
        live.info = info

    async def _recover(self) -> None:
        """After a restart: contexts whose actor answers go on; the others are ERROR, and so are their jobs."""
        store = await cluster.find(cluster.STORE)
        unfinished = await cluster.call(store.unfinished_contexts.remote())
        self._live = {info.name: LiveContext(info) for info in unfinished}
        await asyncio.gather(*(self._recover_one(live) for live in list(self._live.values())))
        await cluster.call(store.end_orphans.remote(_LOST))

    async def _recover_one(self, live: LiveContext) -> None:
        """A RUNNING context is attended again, one that was STOPPING is stopped; one half started is lost."""
        if not await self._reconnect(live) or live.info.state is ContextState.STARTED:
            await self._bury_at_last(live, ContextEvent.LOST, _LOST)
        elif live.info.state is ContextState.STOPPING:
            self._begin_stop(live)
        else:
            self._attend(live)

    async def _reconnect(self, live: LiveContext) -> bool:
        """Find the context's actor, if it lives and is the one that this record is of."""
        try:
            handle = await cluster.find(cluster.context_actor_name(live.info.name))
            pinged = await asyncio.wait_for(cluster.call(handle.ping.remote()), PING_TIMEOUT_S)
        except (ActorGone, TimeoutError):
            return False
        if pinged.id == live.info.id:
            live.handle = handle
        return live.handle is not None


_LOST = ErrorData("Reconnect failed after a restart of the service", "ContextLost", "")


def _init_error(name: str, error: Exception) -> RayJobsError:
    if isinstance(error, RayJobsError):
        return error
    return ContextInitError(f"context {name} did not start: {error!r}")


def _terminated(info: ContextInfo, reason: str) -> ErrorData:
    return ErrorData(f"Unexpected termination of context {info.id}: {reason}", "ContextTerminatedException", "")
