"""What the supervisor does with one context, against a real job store; the context's actor does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rayjobs import live_context
from rayjobs.application import SparkFacts
from rayjobs.errors import ActorGone, ContextInitError, StorageFailure
from rayjobs.live_context import LiveContext
from rayjobs.placement import Room
from rayjobs.records import ContextInfo, ContextOver, JobInfo, JobReply
from rayjobs.settings import Settings
from rayjobs.spark.jvm import Gateway, SessionAddress
from rayjobs.states import ContextState, JobEvent, JobState
from rayjobs.store.store import Store
from tests.stores import EGG, START, LocalActor

FACTS = SparkFacts("app-1", None, SessionAddress(Gateway(1, "secret"), "key"), Path("packages"))
ATTEMPTS = 2


class FakeContext:
    """The actor of one life of a context; `over` is what its `lifetime` says, or raises."""

    def __init__(self) -> None:
        self.over: asyncio.Future[ContextOver] = asyncio.get_running_loop().create_future()
        self.resumed: list[str] = []
        self.dies_of_jobs = False
        self.shut_down = False

    async def initialise(self, session: SparkFacts | None) -> SparkFacts:
        return FACTS

    async def resume(self, job: JobInfo, config: dict[str, Any]) -> JobReply:
        if self.dies_of_jobs:
            raise ActorGone("it died over that job")
        self.resumed.append(job.job_id)
        return JobReply(job.after(JobEvent.VALIDATED))

    async def shutdown(self) -> None:
        self.shut_down = True


class NoHosts:
    """`SparkHosts` of which no context has one."""

    def spark_settings(self, info: ContextInfo) -> dict[str, Any]:
        return info.settings

    async def host_for(self, info: ContextInfo) -> None:
        return None

    async def start_for(self, info: ContextInfo) -> None:
        return None

    async def cancel_jobs(self, host: None, job_ids: list[str]) -> None:
        pass


class World:
    """A context in a service whose job store is real; `lives` are its actors, the latest one last."""

    def __init__(self, store: Store):
        self.store = store
        self.lives: list[FakeContext] = []
        self.next_dies_of_jobs = 0
        info = ContextInfo("c1", "ctx", ContextState.STARTED, START)
        settings = Settings(context_restart=True, context_restart_attempts=ATTEMPTS)
        self.live = LiveContext(info, settings, NoHosts(), self._room, lambda _: None)  # type: ignore[arg-type]

    async def _room(self, settings: dict[str, Any]) -> tuple[Room, str]:
        return Room.NOW, ""

    def spawn(self, *_: Any) -> Any:
        life = FakeContext()
        life.dies_of_jobs = self.next_dies_of_jobs > 0
        self.next_dies_of_jobs -= 1
        self.lives.append(life)
        return LocalActor(life)

    def kill(self, event: str = "killed") -> None:
        self.lives[-1].over.set_exception(ActorGone(event))

    async def outlived(self, handle: Any) -> ContextOver:
        return await self.lives[-1].over

    async def until(self, state: ContextState, lives: int = 1) -> None:
        """In the store, once there were so many."""
        async with asyncio.timeout(30):
            while len(self.lives) < lives or (await self._stored()).state is not state:
                await asyncio.sleep(0.01)

    async def _stored(self) -> ContextInfo:
        found = await self.store.get_context("c1")
        assert found
        return found

    async def running_job(self) -> None:
        job = JobInfo("j1", "c1", "ctx", EGG, "a.Job", JobState.STARTED, START, is_async=True)
        await self.store.create_job(job, {})
        assert await self.store.change_job(job.after(JobEvent.VALIDATED), frozenset({JobState.STARTED}))


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    store = Store(str(tmp_path), 100)
    made = World(store)

    async def find(name: str) -> Any:
        return LocalActor(store)

    async def end(name: str, handle: Any) -> None:
        pass

    for name, replacement in {"find": find, "end": end, "spawn_context": made.spawn, "outlived": made.outlived}.items():
        monkeypatch.setattr(live_context.cluster, name, replacement)
    monkeypatch.setattr(live_context, "RETRY_S", 0.01)
    yield made
    await store.close()


async def test_a_death_that_cannot_be_stored_is_stored_once_it_can_though_no_attempt_is_left(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a disk that is full: the context never was RESTARTING."""
    await world.live.start()
    restart, end, tries = world.store.restart_context, world.store.end_context, 0

    async def full(*_: Any) -> list[str]:
        nonlocal tries
        tries += 1
        raise StorageFailure("no space left")

    monkeypatch.setattr(world.store, "restart_context", full)
    monkeypatch.setattr(world.store, "end_context", full)
    world.kill()
    async with asyncio.timeout(30):
        while tries < ATTEMPTS + 2:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(world.store, "restart_context", restart)
    monkeypatch.setattr(world.store, "end_context", end)
    await world.until(ContextState.KILLED)


async def test_a_context_that_dies_over_its_jobs_as_it_comes_back_is_started_once_more(world: World) -> None:
    await world.live.start()
    await world.running_job()
    world.next_dies_of_jobs = 1
    world.kill()
    await world.until(ContextState.RUNNING, lives=3)
    assert [life.resumed for life in world.lives] == [[], [], ["j1"]]


async def test_a_context_that_dies_over_its_jobs_each_time_is_over_with_the_reason(world: World) -> None:
    await world.live.start()
    await world.running_job()
    world.next_dies_of_jobs = ATTEMPTS
    world.kill()
    await world.until(ContextState.ERROR)
    assert len(world.lives) == 1 + ATTEMPTS
    ended = await world.store.get_context("c1")
    assert ended and ended.error and ended.error.message == "it died over that job"
    assert (await world.store.get_job("j1")).job.state is JobState.ERROR


async def test_a_stop_while_running_is_being_stored_lets_the_context_stop_its_spark(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, stored = world.store.save_context, asyncio.Event()

    async def slow(info: ContextInfo) -> None:
        if info.state is ContextState.RUNNING:
            world.live.begin_stop()
            await asyncio.sleep(0.05)
            stored.set()
        await save(info)

    monkeypatch.setattr(world.store, "save_context", slow)
    with pytest.raises(ContextInitError, match="was stopped while it started"):
        await world.live.start()
    assert stored.is_set()
    await world.until(ContextState.FINISHED)
    assert world.lives[0].shut_down
