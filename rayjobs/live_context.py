"""One context that is not final: its actor, and the tasks that start, watch, restart, stop and bury it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.context_settings import SUPERVISE
from rayjobs.errors import (
    ActorGone,
    ContextInitError,
    ErrorData,
    NotEnoughResources,
    RayJobsError,
    StorageFailure,
    error_data_of,
)
from rayjobs.placement import Room
from rayjobs.records import ContextInfo, ContextOver, JobInfo, JobReply
from rayjobs.settings import Settings
from rayjobs.spark_hosts import Host, RoomOracle, SparkHosts, found_host
from rayjobs.states import ContextEvent, ContextState, JobState

log = logging.getLogger(__name__)

RETRY_S = 1.0
ROOM_POLL_S = 0.5
STEADY_S = 600.0
"""A context that was up for that long has its restart attempts back."""

LOST = ErrorData("Reconnect failed after a restart of the service", "ContextLost", "")


class LiveContext:
    """`info` is its record as stored; every change of it is stored before anyone is told.

    `waits_for` says what a context in STARTED lacks, while it lacks something; `was_spawned`, whether there ever was an
    actor for it. `on_final` is called with the context once its final state is stored.
    """

    def __init__(
        self,
        info: ContextInfo,
        settings: Settings,
        hosts: SparkHosts,
        room: RoomOracle,
        on_final: Callable[[LiveContext], None],
    ):
        self.info = info
        self.waits_for: str | None = None
        self.handle: ActorHandle | None = None
        self.stop: asyncio.Task[None] | None = None
        self.was_spawned = False
        self._settings = settings
        self._hosts = hosts
        self._host: Host | None = None
        # The one that it had, whose Spark work of its jobs may still have to be cancelled.
        self._left: Host | None = None
        self._room = room
        self._on_final = on_final
        self._watch: asyncio.Task[None] | None = None
        self._restarts = 0
        self._must_restart = False
        # Held from the choice of a next state until it is stored.
        self._lock = asyncio.Lock()

    async def start(self) -> None:
        """From nothing to STARTED and RUNNING; raises `ContextInitError`, and the context is ERROR then.

        A stop meanwhile wins. One whose STARTED cannot be stored has never been: raises what the store did.
        """
        await self._begin()
        try:
            await self._bring_up()
            await self._enter_running()
        except Exception as error:
            if self.stop is None:
                failure = self._init_error(error)
                await self._bury_at_last(ContextEvent.INIT_FAILED, error_data_of(failure))
                raise failure from None
        if self.stop:
            await asyncio.wait({self.stop})
            raise ContextInitError(f"context {self.info.name} was stopped while it started")

    def begin_stop(self, force: bool = False) -> asyncio.Task[None]:
        """One task that sees the stop through, however many ask for it; a new one if the last could not.

        `force` ends the context's processes without asking it; also when a gentler stop is on its way.
        """
        if self.stop is None or (self.stop.done() and not self.info.state.is_final):
            self.stop = asyncio.create_task(self._stop(force), name=f"stop-{self.info.name}")
        elif force and self.handle:
            cluster.kill(self.handle)
        return self.stop

    async def recover(self) -> None:
        """After the supervisor's restart: find what the record names, and go on with what was going on.

        A RUNNING context is watched again, one that was STOPPING is stopped; one that was half started, or does not
        answer, is lost. One that is to be restarted waits for `resume_restart`.
        """
        answers = await self._reconnect()
        is_dead = self.info.state is ContextState.RUNNING and not answers
        self._must_restart = self.info.state is ContextState.RESTARTING or (is_dead and self._is_supervised())
        if self._must_restart:
            return
        if not answers or self.info.state is ContextState.STARTED:
            await self._bury_at_last(ContextEvent.LOST, LOST)
        elif self.info.state is ContextState.STOPPING:
            self.begin_stop()
        else:
            self._attend(self._watch_over())

    def resume_restart(self) -> None:
        """Restart a context that died while there was no supervisor, or in the middle of its restart."""
        if self._must_restart:
            self._attend(self._restart(_terminated(self.info, "the service was restarted meanwhile")))

    @property
    def host_id(self) -> str | None:
        """The Spark host it holds."""
        return self._host.id if self._host else None

    @property
    def has_executors(self) -> bool:
        """Whether executors run for it alone."""
        return self.handle is not None and (self._host is None or self._host.is_exclusive)

    async def _begin(self) -> None:
        try:
            async with self._lock:
                await self._save(self.info)
        except Exception:
            self._on_final(self)
            raise

    async def _bring_up(self) -> None:
        """Room on the cluster, an actor, its Spark; raises `ContextInitError`, whatever went wrong."""
        deadline = asyncio.get_running_loop().time() + self._settings.context_creation_timeout_s
        host = await self._find_place(deadline)
        self.waits_for = None
        if self.stop:
            if host:
                await self._hosts.give_back(host, self.info)
            return
        self._host = host
        name = self.info.name
        self.info = replace(self.info, host=host and host.id)
        self.was_spawned = True
        self.handle = cluster.spawn_context(
            name, self._settings, self.info, host and host.handle, host and host.node_id
        )
        try:
            async with asyncio.timeout_at(deadline):
                session = await self._hosts.open_session(host, self.info) if host else None
                facts = await cluster.call(self.handle.initialise.remote(session))
        except TimeoutError:
            raise ContextInitError(f"context {name} was not up within {self._limit()}") from None
        except ActorGone as error:
            raise ContextInitError(f"the process of context {name} died: {error.message}") from None
        self.info = replace(self.info, application_id=facts.application_id, ui_url=facts.ui_url)

    async def _find_place(self, deadline: float) -> Host | None:
        """A Spark host for it; None once the cluster has room for a Spark application of its own, or it is stopped."""
        settings = self._hosts.spark_settings(self.info)
        while not self.stop:
            if host := await self._hosts.host_for(self.info):
                return host
            room, lack = await self._room(settings)
            if room is Room.NEVER:
                raise NotEnoughResources(f"context {self.info.name} can never run on this cluster: {lack}")
            if room is Room.NOW:
                return await self._hosts.start_for(self.info)
            self.waits_for = lack
            if asyncio.get_running_loop().time() > deadline:
                raise NotEnoughResources(f"context {self.info.name} waited {self._limit()} for room: {lack}")
            await self._hosts.give_way()
            await asyncio.sleep(ROOM_POLL_S)
        return None

    async def _enter_running(self) -> None:
        async with self._lock:
            if self.stop is None:
                await self._save(self.info.after(ContextEvent.INITIALISED))
                self._attend(self._watch_over())

    def _attend(self, task: Awaitable[None]) -> None:
        self._watch = asyncio.ensure_future(task)

    async def _watch_over(self) -> None:
        """Wait for an end that nobody asked for: an ad-hoc job over, Spark or the process gone."""
        since = asyncio.get_running_loop().time()
        over = await self._await_end()
        if self.stop:
            return
        if asyncio.get_running_loop().time() - since > STEADY_S:
            self._restarts = 0
        if over.expected:
            self.begin_stop()
        elif self._is_supervised() and self._restarts < self._settings.context_restart_attempts:
            await self._restart(_terminated(self.info, over.reason))
        else:
            await self._bury_at_last(ContextEvent.DIED, _terminated(self.info, over.reason))

    async def _await_end(self) -> ContextOver:
        try:
            return await cluster.outlived(self.handle)
        except ActorGone as error:
            return ContextOver(f"its process died: {error.message}")

    async def _restart(self, error: ErrorData) -> None:
        """RESTARTING, with its async jobs; a new actor under the same name and id; its jobs; RUNNING.

        Tried again as often as the settings say, then ERROR; ERROR as well if none of its jobs can be started.
        """
        failure: RayJobsError | None = None
        while self._restarts < self._settings.context_restart_attempts and not self.stop:
            self._restarts += 1
            try:
                await self._enter_restarting(error)
                await self._bring_up()
                if self.stop or await self._resume_jobs():
                    return await self._enter_running()
                reason = ErrorData("Job(s) restart failed", "ContextRestartFailed", "")
                return await self._bury_at_last(ContextEvent.JOBS_NOT_RESTARTED, reason)
            except Exception as raised:
                failure = self._init_error(raised)
                log.warning("restart %d of context %s: %s", self._restarts, self.info.name, failure)
                await asyncio.sleep(RETRY_S)
        if not self.stop:
            is_stored = self.info.state is ContextState.RESTARTING
            event = ContextEvent.INIT_FAILED if is_stored else ContextEvent.DIED
            await self._bury_at_last(event, error_data_of(failure) if failure else error)

    async def _enter_restarting(self, error: ErrorData) -> None:
        async with self._lock:
            await self._end_actor()
            info = self.info
            if info.state is not ContextState.RESTARTING:
                info = info.after(ContextEvent.DIED_SUPERVISED, error)
            store = await cluster.find(cluster.STORE)
            left = await cluster.call(store.restart_context.remote(info, error))
            self.info = info
            await self._hosts.cancel_jobs(self._left, left)

    async def _resume_jobs(self) -> bool:
        """Start the context's jobs again; False if there were some and none could be.

        Raises `ActorGone` if the context has died over it.
        """
        store = await cluster.find(cluster.STORE)
        waiting = await cluster.call(store.restarting_jobs.remote(self.info.id))
        replies = await asyncio.gather(*(self._resume(*job) for job in waiting), return_exceptions=True)
        for (job, _), reply in zip(waiting, replies, strict=True):
            if isinstance(reply, BaseException):
                log.warning("job %s of context %s cannot run again: %r", job.job_id, self.info.name, reply)
        if waiting and (died := [reply for reply in replies if isinstance(reply, ActorGone)]) == replies:
            raise died[0]
        return not waiting or any(_is_resumed(reply) for reply in replies)

    async def _resume(self, job: JobInfo, config: dict[str, Any]) -> JobReply | None:
        """The job once its validation passed; None if that takes long, and goes on."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.job_load_timeout_s):
                return await cluster.call(self.handle.resume.remote(job, config))
        return None

    async def _stop(self, force: bool) -> None:
        """STOPPING, Spark and the actor ended, FINISHED; a context that hangs is ended by force."""
        while (left := await self._enter_stopping()) is None:
            await asyncio.sleep(RETRY_S)
        if self.handle and left in (ContextState.RUNNING, ContextState.STOPPING) and not force:
            try:
                async with asyncio.timeout(self._settings.context_kill_after_s):
                    await cluster.call(self.handle.shutdown.remote())
            except Exception as error:
                log.warning("context %s is ended by force: %r", self.info.name, error)
        await self._bury_at_last(ContextEvent.STOPPED, None)

    async def _enter_stopping(self) -> ContextState | None:
        """The state that it was in; None while the store cannot write: nobody may hear of what is not stored."""
        async with self._lock:
            left = self.info.state
            if left.is_final or left is ContextState.STOPPING:
                return left
            try:
                await self._save(self.info.after(ContextEvent.STOP_REQUESTED))
            except StorageFailure:
                log.exception("context %s is to stop, and that is not stored yet", self.info.name)
                return None
            return left

    async def _bury(self, event: ContextEvent, error: ErrorData | None) -> None:
        """The final state of a context: its actor gone, its record and its jobs' ends stored, its name free."""
        async with self._lock:
            if self.info.state.is_final:
                return
            await self._end_actor()
            final = self.info.after(event, error)
            store = await cluster.find(cluster.STORE)
            gone = ErrorData(f"Context ({final.name}) for this job was terminated", "", "")
            ended = await cluster.call(store.end_context.remote(final, error or gone))
            self.info = final
            self._on_final(self)
            await self._hosts.cancel_jobs(self._left, ended)

    async def _bury_at_last(self, event: ContextEvent, error: ErrorData | None) -> None:
        """`_bury`, tried again while the store cannot write: nobody else will do it."""
        while not self.info.state.is_final:
            try:
                await self._bury(event, error)
            except Exception:
                log.exception("context %s has ended, and that is not stored yet", self.info.name)
                await asyncio.sleep(RETRY_S)

    async def _end_actor(self) -> None:
        """Its process, and its part in a Spark host."""
        if self.handle:
            await cluster.end(cluster.context_actor_name(self.info.name), self.handle)
            self.handle = None
        if self._host:
            self._left, self._host = self._host, None
            await self._hosts.give_back(self._left, self.info)

    async def _save(self, info: ContextInfo) -> None:
        store = await cluster.find(cluster.STORE)
        await cluster.call(store.save_context.remote(info))
        self.info = info

    async def _reconnect(self) -> bool:
        """Find the context's actor and host; whether the actor is the one that this record is of, and answers.

        One that is silent is kept all the same: to be ended.
        """
        with contextlib.suppress(ActorGone):
            if self.info.host:
                self._host = await found_host(self.info.host)
        try:
            self.handle = await cluster.find(cluster.context_actor_name(self.info.name))
            if (await cluster.ask(self.handle.ping.remote())).id == self.info.id:
                return True
            self.handle = None
        except (ActorGone, TimeoutError) as error:
            log.warning("context %s does not answer: %r", self.info.name, error)
        return False

    def _is_supervised(self) -> bool:
        own = self.info.settings.get(SUPERVISE)
        given = self._settings.context_restart if own is None else str(own).lower() == "true"
        return given and not self.info.is_adhoc

    def _limit(self) -> str:
        return f"{self._settings.context_creation_timeout_s:g} s"

    def _init_error(self, error: Exception) -> RayJobsError:
        if isinstance(error, RayJobsError):
            return error
        return ContextInitError(f"context {self.info.name} did not start: {error!r}")


def _is_resumed(reply: Any) -> bool:
    return reply is None or (not isinstance(reply, BaseException) and reply.job.state is not JobState.ERROR)


def _terminated(info: ContextInfo, reason: str) -> ErrorData:
    return ErrorData(f"Unexpected termination of context {info.id}: {reason}", "ContextTerminatedException", "")
