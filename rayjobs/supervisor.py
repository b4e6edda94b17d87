"""Which contexts should exist: it creates, finds, stops and, after its own restart, recovers them."""

from __future__ import annotations

import asyncio
import logging
import os
import uuid
from dataclasses import dataclass, replace
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster, hocon
from rayjobs.errors import (
    ActorGone,
    BadContextName,
    ContextDeleteError,
    ContextExists,
    ContextInitError,
    ContextStopping,
    ErrorData,
    NoSuchContext,
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


@dataclass(eq=False)
class LiveContext:
    """A context that is not final: its record as stored, its actor, and the tasks that attend it."""

    info: ContextInfo
    handle: ActorHandle | None = None
    watch: asyncio.Task[None] | None = None
    stop: asyncio.Task[None] | None = None


class Supervisor:
    """A plain class, made a detached async actor in `cluster.py`.

    Every row of a context is written on this actor's word, before anyone is told of the new state.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._live: dict[str, LiveContext] = {}
        self._recovery: asyncio.Task[None] | None = None

    async def ready(self) -> None:
        """Returns once the contexts of an earlier life are found again."""
        if self._recovery is None:
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

    async def create_adhoc_context(self, class_path: str, settings: dict[str, Any]) -> ContextInfo:
        """A running context for one job, named `<uuid>-<class path>`; it stops when that job is over."""
        await self.ready()
        return await self._create(f"{uuid.uuid4()}-{class_path}", settings, is_adhoc=True)

    async def stop_context(self, name: str) -> bool:
        """True once stopped, False if that takes longer than `contexts.deletion-timeout-s` and goes on.

        A context that is still starting is stopped too. Raises `NoSuchContext`, `ContextDeleteError`.
        """
        await self.ready()
        live = self._find(name, f"context {name} not found")
        self._begin_stop(live)
        done, _ = await asyncio.wait({live.stop}, timeout=self._settings.context_deletion_timeout_s)
        for task in done:
            task.result()
        return bool(done)

    async def submit(self, submission: Submission) -> JobReply:
        """Run a job by name of its context, or in an ad-hoc one; for callers without a context's handle."""
        await self.ready()
        if submission.context is None:
            wanted = (submission.config.get("spark") or {}).get("context-settings") or {}
            info = await self.create_adhoc_context(submission.class_path, hocon.flatten(wanted))
            submission = replace(submission, context=info.name)
        handle = self._find(str(submission.context), f"context {submission.context} not found").handle
        if handle is None:
            raise NoSuchContext(f"context {submission.context} is still starting")
        return await cluster.call(handle.submit.remote(submission))

    async def require_running(self, name: str) -> None:
        """Raises `NoSuchContext` or `ContextStopping` for a context that takes no jobs."""
        await self.ready()
        state = self._find(name, f"context {name} not found").info.state
        if state is ContextState.STOPPING:
            raise ContextStopping("Context stop in progress")
        if state is not ContextState.RUNNING:
            raise NoSuchContext(f"context {name} not found: it is still starting")

    async def shutdown(self) -> None:
        """Stop every context, and return when all are final."""
        await self.ready()
        for live in list(self._live.values()):
            self._begin_stop(live)
        stops = [live.stop for live in self._live.values() if live.stop]
        for failure in await asyncio.gather(*stops, return_exceptions=True):
            if failure:
                log.error("a context did not stop: %s", failure)

    def _find(self, name: str, message: str) -> LiveContext:
        try:
            return self._live[name]
        except KeyError:
            raise NoSuchContext(message) from None

    async def _create(self, name: str, settings: dict[str, Any], is_adhoc: bool) -> ContextInfo:
        if name in self._live:
            raise ContextExists(f"context {name} exists")
        effective = self._settings.context_settings | settings
        kind_of(effective)
        needs_of(effective, os.cpu_count() or 1)
        info = ContextInfo(str(uuid.uuid4()), name, ContextState.STARTED, utc_now(), effective, is_adhoc)
        live = self._live[name] = LiveContext(info)
        try:
            await self._save(live, info)
            await self._start(live)
        except RayJobsError as error:
            if live.stop is None:
                await self._bury(live, ContextEvent.INIT_FAILED, error_data_of(error))
                raise
        if live.stop:
            raise ContextInitError(f"context {name} was stopped while it started")
        return live.info

    async def _start(self, live: LiveContext) -> None:
        """From STARTED to RUNNING; a DELETE meanwhile wins, and its stop clears up."""
        live.handle = cluster.spawn_context(live.info.name, self._settings, live.info)
        limit_s = self._settings.context_creation_timeout_s
        try:
            facts = await asyncio.wait_for(cluster.call(live.handle.initialise.remote()), limit_s)
        except TimeoutError:
            raise ContextInitError(f"context {live.info.name} was not up within {limit_s:g} s") from None
        except ActorGone as error:
            raise ContextInitError(f"the process of context {live.info.name} died: {error.message}") from None
        if live.stop is None:
            running = replace(live.info, application_id=facts.application_id, ui_url=facts.ui_url)
            await self._save(live, running.after(ContextEvent.INITIALISED))
            self._attend(live)

    def _attend(self, live: LiveContext) -> None:
        live.watch = asyncio.create_task(self._watch(live), name=f"watch-{live.info.name}")

    async def _watch(self, live: LiveContext) -> None:
        """Wait for an end that nobody asked for: an ad-hoc job over, Spark or the process gone."""
        assert live.handle is not None
        try:
            over = await cluster.call(live.handle.lifetime.remote())
        except ActorGone as error:
            over = ContextOver(f"its process died: {error.message}")
        if live.info.state is not ContextState.RUNNING or live.stop:
            return
        if over.expected:
            self._begin_stop(live)
        else:
            await self._bury(live, ContextEvent.DIED, _terminated(live.info, over.reason))

    def _begin_stop(self, live: LiveContext) -> None:
        """STOPPING, and one task that sees the stop through, however many ask for it."""
        if live.stop is None:
            live.stop = asyncio.create_task(self._stop(live), name=f"stop-{live.info.name}")

    async def _stop(self, live: LiveContext) -> None:
        await self._save(live, live.info.after(ContextEvent.STOP_REQUESTED))
        try:
            if live.handle:
                await cluster.call(live.handle.shutdown.remote())
        except ActorGone:
            log.info("context %s was gone before it was asked to stop", live.info.name)
        except Exception as error:
            await self._bury(live, ContextEvent.STOPPED, None)
            raise ContextDeleteError(f"context {live.info.name} was ended by force: {error}") from None
        await self._bury(live, ContextEvent.STOPPED, None)

    async def _bury(self, live: LiveContext, event: ContextEvent, error: ErrorData | None) -> None:
        """The final state of a context: its actor gone, its jobs ended, its record stored, its name free."""
        if live.info.state.is_final:
            return
        if live.handle:
            cluster.kill(live.handle)
        final = live.info.after(event, error)
        await self._end_jobs(final, error or _terminated(final, "it was stopped"))
        await self._save(live, final)
        self._live.pop(final.name, None)

    async def _end_jobs(self, info: ContextInfo, error: ErrorData) -> None:
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.end_unfinished_jobs.remote(info.id, error))

    async def _save(self, live: LiveContext, info: ContextInfo) -> None:
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.save_context.remote(info))
        live.info = info

    async def _recover(self) -> None:
        """After a restart: contexts whose actor answers go on; the others are ERROR, and so are their jobs."""
        store = await cluster.find(cluster.STORE)
        for info in await cluster.call(store.unfinished_contexts.remote()):
            live = self._live[info.name] = LiveContext(info)
            if not await self._reconnect(live):
                lost = ErrorData("Reconnect failed after a restart of the service", "ContextLost", "")
                await self._bury(live, ContextEvent.LOST, lost)

    async def _reconnect(self, live: LiveContext) -> bool:
        """A RUNNING context is attended again, one that was STOPPING is stopped; one half started is lost."""
        try:
            live.handle = await cluster.find(cluster.context_actor_name(live.info.name))
            alive = (await cluster.call(live.handle.ping.remote())).id == live.info.id
        except ActorGone:
            return False
        if alive and live.info.state is ContextState.RUNNING:
            self._attend(live)
            return True
        return False


def _terminated(info: ContextInfo, reason: str) -> ErrorData:
    return ErrorData(f"Unexpected termination of context {info.id}: {reason}", "ContextTerminatedException", "")
