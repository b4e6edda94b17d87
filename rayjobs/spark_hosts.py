"""The Spark applications that the supervisor keeps without a context: the shared one, and those standing by."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.application import HostedApplication, SparkFacts
from rayjobs.context_settings import HIVE, PROXY_USER, is_true, jar_names
from rayjobs.errors import ActorGone, BadConfig, ContextInitError, RayJobsError
from rayjobs.placement import Room
from rayjobs.records import ContextInfo
from rayjobs.settings import Settings
from rayjobs.spark.kinds import ContextKind, kind_of

log = logging.getLogger(__name__)

SHARED = "shared"
STANDBY = "standby"
CHECK_S = 60.0
RETRY_S = 10.0
STOP_TIMEOUT_S = 10.0
LEFT_POLL_S = 0.1
REPLACED_AFTER_S = 2.0
"""So long the context that took one that stood by has the processors to itself, to start and run its first job."""


RoomOracle = Callable[[dict[str, Any]], Awaitable[tuple[Room, str]]]
"""Whether the cluster has room for the executors of a context with such settings, and what is lacking if not."""


@dataclass(frozen=True)
class Host:
    """A running `SparkHost`: contexts that use it must be on its node."""

    id: str
    handle: ActorHandle
    node_id: str

    @property
    def is_exclusive(self) -> bool:
        """Whether it ends with the one context that took it."""
        return self.id.startswith(STANDBY)


class SparkHosts:
    """Starts, lends, checks and ends hosts; `room` tells whether the cluster has room for one more."""

    def __init__(self, settings: Settings, room: RoomOracle):
        self._settings = settings
        self._room = room
        self._shared: asyncio.Task[Host] | None = None
        self._ready: list[Host] = []
        # All that there are: those above, and those that a context has or that are being ended.
        self._hosts: dict[str, Host] = {}
        self._maintenance: asyncio.Task[None] | None = None
        self._watches: set[asyncio.Task[None]] = set()
        self._next_check = 0.0
        self._next_start = 0.0

    async def host_for(self, info: ContextInfo) -> Host | None:
        """The host whose session a context gets: the shared one, or one standing by; None if there is none."""
        if self._shares(info):
            return await self._shared_if_up()
        while info.settings == self._settings.context_settings and self._ready:
            host = self._ready.pop(0)
            self._next_start = max(self._next_start, time.monotonic() + REPLACED_AFTER_S)
            if await _is_free(host):
                return host
            await self._end(host)
        return None

    async def start_for(self, info: ContextInfo) -> Host | None:
        """The shared host, started; None for a context that starts its own Spark. Raises `ContextInitError`."""
        if not self._shares(info):
            return None
        if self._shared is None or _failed(self._shared):
            self._shared = asyncio.create_task(self._start_shared(), name="start-shared")
        return await asyncio.shield(self._shared)

    def spark_settings(self, info: ContextInfo) -> dict[str, Any]:
        """Those of the Spark application that a context runs on."""
        return self._settings.context_settings if self._shares(info) else info.settings

    def kept(self) -> list[str]:
        """Ids of the running hosts that no context has to itself."""
        shared = self._running_shared()
        return [host.id for host in ([shared] if shared else []) + self._ready]

    async def open_session(self, host: Host, info: ContextInfo) -> SparkFacts:
        """A session for that context; raises `BadConfig`, `ContextInitError`."""
        sql = {key: str(value) for key, value in info.settings.items() if key.startswith("spark.sql.")}
        try:
            return await cluster.call(host.handle.open_session.remote(info.id, sql))
        except ActorGone as error:
            raise ContextInitError(f"the Spark application behind it died: {error.message}") from None

    async def give_back(self, host: Host, info: ContextInfo) -> None:
        """Its context is over: so is an exclusive host, and the session of a shared one."""
        if host.is_exclusive:
            await self._end(host)
        else:
            try:
                await cluster.ask(host.handle.close_session.remote(info.id))
            except Exception as error:
                log.info("the session of context %s went with its host: %r", info.name, error)

    async def cancel_jobs(self, host: Host | None, job_ids: list[str]) -> None:
        """End what the jobs of a context that died still do on a shared application; an exclusive one has ended."""
        if host and not host.is_exclusive:
            for job_id in job_ids:
                try:
                    await cluster.call(host.handle.cancel_job.remote(job_id))
                except Exception as error:
                    log.warning("the Spark work of job %s may go on: %r", job_id, error)

    def maintain(self, now: float) -> None:
        """In the background: check those that stand by, now and then, and start what is missing of them."""
        if self._maintenance is None or self._maintenance.done():
            self._maintenance = asyncio.create_task(self._maintain(now), name="maintain-standby")

    async def give_way(self) -> None:
        """End one that stands by, if any does, for a context that finds no room."""
        if self._ready:
            await self._end(self._ready.pop())

    async def recover(self, held: set[str]) -> None:
        """Take over what an earlier life of the supervisor left, and end what cannot be used.

        `held` are the ids of the hosts that living contexts have. Those that have sessions of others, are half up or
        silent, are ended.
        """
        for id in await cluster.host_ids() - held:
            with contextlib.suppress(ActorGone):
                host = self._hosts[id] = await found_host(id)
                if not await _is_free(host):
                    await self._end(host)
                elif host.is_exclusive:
                    self._ready.append(host)
                else:
                    self._take_as_shared(host)
        for id in held:
            with contextlib.suppress(ActorGone):
                host = self._hosts[id] = await found_host(id)
                if not host.is_exclusive:
                    self._take_as_shared(host)

    def _take_as_shared(self, host: Host) -> None:
        self._shared = asyncio.create_task(_itself(host))
        self._watch_shared(host)

    async def close(self) -> None:
        """End all hosts, when no context has one any more."""
        tasks = self._watches | ({self._maintenance} if self._maintenance else set())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        if self._shared:
            with contextlib.suppress(RayJobsError):
                await self._shared
        await asyncio.gather(*(self._end(host) for host in list(self._hosts.values())))

    def _shares(self, info: ContextInfo) -> bool:
        return not wants_own_jvm(info.settings, self._settings)

    async def _start_shared(self) -> Host:
        host = await self._start(SHARED)
        self._watch_shared(host)
        return host

    def _running_shared(self) -> Host | None:
        if self._shared is None or not self._shared.done() or _failed(self._shared):
            return None
        return self._shared.result()

    async def _shared_if_up(self) -> Host | None:
        """The shared host, also one that is starting; it may be over, and its watch not know that yet."""
        if self._shared is None or _failed(self._shared):
            return None
        host = await asyncio.shield(self._shared)
        if not await _is_over(host):
            return host
        self._forget_shared(host)
        return None

    def _forget_shared(self, host: Host) -> None:
        if self._running_shared() == host:
            self._shared = None

    def _watch_shared(self, host: Host) -> None:
        watch = asyncio.create_task(self._forget_when_over(host), name="watch-shared")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    async def _forget_when_over(self, host: Host) -> None:
        """The contexts on it notice by themselves, and have its runners until then; the next one gets a new host."""
        application = HostedApplication(host.handle, host.id)
        log.warning("the shared Spark application is over: %s", await application.end())
        self._forget_shared(host)
        await _wait_until_left(host)
        await self._end(host)

    async def _maintain(self, now: float) -> None:
        if now >= self._next_check:
            self._next_check = now + CHECK_S
            for host in list(self._ready):
                if not await _is_fit(host) and host in self._ready:
                    self._ready.remove(host)
                    await self._end(host)
        while len(self._ready) < self._settings.standby and now >= self._next_start:
            if (await self._room(self._settings.context_settings))[0] is not Room.NOW:
                return
            try:
                self._ready.append(await self._start(STANDBY))
                await self._replace_worker()
            except Exception as error:
                log.warning("no context stands by; tried again in %g s: %r", RETRY_S, error)
                self._next_start = now + RETRY_S
                return

    async def _replace_worker(self) -> None:
        """Start ahead the Ray worker that a host took from the contexts to come and their runners."""
        try:
            await cluster.prestart_workers(1)
        except Exception as error:
            log.warning("no worker is started ahead: %r", error)

    async def _start(self, kind: str) -> Host:
        id = f"{kind}-{uuid.uuid4()}"
        host = self._hosts[id] = Host(id, cluster.spawn_host(id, self._settings), "")
        try:
            async with asyncio.timeout(self._settings.context_creation_timeout_s):
                await cluster.call(host.handle.initialise.remote())
                return replace(host, node_id=await cluster.node_of(host.handle))
        except (ActorGone, TimeoutError) as error:
            await self._end(host)
            raise ContextInitError(f"the Spark application {id} did not start: {error}") from None
        except BaseException:
            await self._end(host)
            raise

    async def _end(self, host: Host) -> None:
        """Stop its Spark, then its process; one that does not stop is ended by force."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await cluster.call(host.handle.shutdown.remote())
        except Exception as error:
            log.info("the Spark host %s is ended by force: %r", host.id, error)
        await cluster.end(cluster.host_actor_name(host.id), host.handle)
        self._hosts.pop(host.id, None)


async def found_host(id: str) -> Host:
    """The running host of that id; raises `ActorGone`."""
    handle = await cluster.find(cluster.host_actor_name(id))
    return Host(id, handle, await cluster.node_of(handle))


async def _wait_until_left(host: Host) -> None:
    """Until no context has a session there, or `STOP_TIMEOUT_S`, or it is gone."""
    with contextlib.suppress(ActorGone, TimeoutError):
        async with asyncio.timeout(STOP_TIMEOUT_S):
            while await cluster.call(host.handle.sessions.remote()):
                await asyncio.sleep(LEFT_POLL_S)


def wants_own_jvm(context_settings: dict[str, Any], settings: Settings) -> bool:
    """Whether a context is a Spark application of its own: as it says itself, else as the service's settings say.

    Raises `BadConfig` for a context that cannot be what it says.
    """
    given = str(context_settings.get("context-per-jvm", settings.context_per_jvm)).lower()
    if given not in ("true", "false"):
        raise BadConfig(f"context-per-jvm: {given!r} is not true or false")
    if given == "true":
        return True
    if kind_of(context_settings) is ContextKind.HIVE:
        raise BadConfig("a HiveContext needs a Spark application of its own: context-per-jvm = true")
    if is_true(context_settings, HIVE) and not is_true(settings.context_settings, HIVE):
        raise BadConfig(f"{HIVE} needs a Spark application of its own: context-per-jvm = true")
    if PROXY_USER in context_settings:
        raise BadConfig(f"{PROXY_USER} needs a Spark application of its own: context-per-jvm = true")
    if jar_names(context_settings) != jar_names(settings.context_settings):
        raise BadConfig("cp and dependent-jar-uris need a Spark application of its own: context-per-jvm = true")
    return False


async def _is_fit(host: Host) -> bool:
    try:
        await cluster.call(host.handle.check.remote())
    except Exception as error:
        log.warning("%s is not fit and is replaced: %r", host.id, error)
        return False
    return True


async def _is_free(host: Host) -> bool:
    """Whether its Spark is up and no context has a session there."""
    try:
        return await cluster.ask(host.handle.is_up.remote()) and not await cluster.ask(host.handle.sessions.remote())
    except Exception as error:
        log.info("%s is of no use: %r", host.id, error)
        return False


async def _is_over(host: Host) -> bool:
    """Whether it has ended, for all that is known without asking Spark: one that does not answer may be busy."""
    try:
        return await cluster.ask(host.handle.ping.remote()) is None
    except ActorGone:
        return True
    except TimeoutError:
        return False


def _failed(start: asyncio.Task[Host]) -> bool:
    return start.done() and (start.cancelled() or start.exception() is not None)


async def _itself(host: Host) -> Host:
    return host
