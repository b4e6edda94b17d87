"""What a runner that holds some binaries is good for, and which runner a job gets."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from rayjobs import runners as runners_module
from rayjobs.errors import ActorGone, ErrorData
from rayjobs.records import BinaryInfo, BinaryType
from rayjobs.runners import SHARE_S, RunnerPool, RunnerSlot
from rayjobs.tasks import Failed, UserError

START = datetime(2026, 1, 2, tzinfo=UTC)
A = BinaryInfo("a", BinaryType.JAR, START, "a" * 64, 1)
B = BinaryInfo("b", BinaryType.JAR, START, "b" * 64, 1)
C = BinaryInfo("c", BinaryType.JAR, START, "c" * 64, 1)
NEW_A, NEW_B = (replace(old, upload_time=START + timedelta(milliseconds=1)) for old in (A, B))


def a_runner(*binaries: BinaryInfo) -> RunnerSlot:
    return RunnerSlot("etl/runner-1", None, binaries)  # type: ignore[arg-type]


def test_a_runner_holds_the_versions_that_it_took_on_in_their_order() -> None:
    assert a_runner(A, B).holds((A, B))
    for others in ((A,), (B, A), (A, B, C), (NEW_A, B), (A, NEW_B)):
        assert not a_runner(A, B).holds(others)


def test_a_spare_runner_holds_nothing_and_is_never_outdated() -> None:
    assert not a_runner().holds((A,))
    assert not a_runner().is_outdated_by((NEW_A,))


@pytest.mark.parametrize("newer", [(NEW_A,), (NEW_B,), (C, NEW_B)])
def test_a_runner_is_outdated_by_a_newer_version_of_anything_it_holds(newer: tuple[BinaryInfo, ...]) -> None:
    assert a_runner(A, B).is_outdated_by(newer)


def test_a_runner_is_not_outdated_by_what_it_holds_by_others_or_by_older_versions() -> None:
    assert not a_runner(A, B).is_outdated_by((B, C))
    assert not a_runner(NEW_A, B).is_outdated_by((A,))


# A pool of them


class FakeRunner:
    """A runner's handle. It is ready at once, or when `ready` is set; `adopts` is its process id, or what is wrong."""

    def __init__(self, name: str, adopts: int | Failed | ActorGone):
        self.name = name
        self.adopts = adopts
        self.ready = asyncio.Event()
        self.ready.set()
        self.killed = False

    def kill(self) -> None:
        self.killed = True

    async def adopt(self, binaries: tuple[BinaryInfo, ...], files: object) -> int | Failed:
        await self.ready.wait()
        if isinstance(self.adopts, ActorGone):
            raise self.adopts
        return self.adopts


class Runners(list[FakeRunner]):
    """All runners that a pool started; `slow` ones become ready when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = False
        self.adopts: int | Failed | ActorGone = os.getpid()

    def spawn(self, name: str) -> Any:
        runner = FakeRunner(name, self.adopts)
        if self.slow:
            runner.ready.clear()
        self.append(runner)
        return runner

    @property
    def alive(self) -> list[str]:
        return [runner.name for runner in self if not runner.killed]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Runners:
    return Runners()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No runner is started while another one is busy."""
    monkeypatch.setattr(runners_module, "SHARE_S", 60.0)


@pytest.fixture
def mortal() -> Iterator[subprocess.Popen[bytes]]:
    """A process that a test may kill."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def a_pool(started: Runners, spares: int = 0, idle_limit: int = 8) -> RunnerPool:
    return RunnerPool("etl", spares, idle_limit, started.spawn, files=None)  # type: ignore[arg-type]


async def soon(task: asyncio.Task[RunnerSlot]) -> RunnerSlot:
    async with asyncio.timeout(5):
        return await task


def taking(pool: RunnerPool, *binaries: BinaryInfo) -> asyncio.Task[RunnerSlot]:
    return asyncio.create_task(pool.take(binaries))


async def until_started(started: Runners, count: int) -> None:
    async with asyncio.timeout(5):
        while len(started) < count:
            await asyncio.sleep(0.001)


async def test_a_runner_that_was_given_back_serves_the_next_job(started: Runners) -> None:
    pool = a_pool(started)
    first = await pool.take((A,))
    pool.give_back(first)
    assert await pool.take((A,)) is first
    assert len(started) == 1


async def test_another_binary_gets_a_runner_of_its_own(started: Runners) -> None:
    pool = a_pool(started)
    pool.give_back(await pool.take((A,)))
    for binaries in ((B,), (A, B), (B, A)):
        slot = await pool.take(binaries)
        assert slot.holds(binaries)
    assert len(started) == 4


@pytest.mark.usefixtures("patient")
async def test_the_first_job_of_a_binary_waits_for_no_other(started: Runners) -> None:
    pool = a_pool(started)
    await pool.take((B,))
    await soon(taking(pool, A))
    assert len(started) == 2


@pytest.mark.usefixtures("patient")
async def test_a_job_waits_for_a_busy_runner_instead_of_starting_one(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    waiting = taking(pool, A)
    await asyncio.sleep(SHARE_S)
    assert not waiting.done()
    pool.give_back(busy)
    assert await soon(waiting) is busy
    assert len(started) == 1


@pytest.mark.usefixtures("patient")
async def test_jobs_that_wait_are_served_in_their_order(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    first, second = taking(pool, A), taking(pool, A)
    await asyncio.sleep(0)
    pool.give_back(busy)
    assert await soon(first) is busy
    assert not second.done()
    pool.give_back(busy)
    assert await soon(second) is busy
    assert len(started) == 1


@pytest.mark.usefixtures("patient")
async def test_a_runner_of_another_version_is_not_waited_for(started: Runners) -> None:
    pool = a_pool(started)
    old, new = await soon(taking(pool, A)), await soon(taking(pool, NEW_A))
    waiting = taking(pool, A)
    await asyncio.sleep(0)
    pool.give_back(new)
    await asyncio.sleep(0)
    assert not waiting.done()
    pool.give_back(old)
    assert await soon(waiting) is old


async def test_a_job_that_waited_long_enough_gets_a_runner_that_is_started_for_it(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    begun = time.monotonic()
    another = await soon(taking(pool, A))
    assert another is not busy
    assert time.monotonic() - begun >= SHARE_S
    assert len(started) == 2


async def test_a_runner_that_comes_free_is_taken_before_one_that_is_not_ready_which_is_kept(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    started.slow = True
    waiting = taking(pool, A)
    await until_started(started, 2)
    pool.give_back(busy)
    assert await soon(waiting) is busy
    started[1].ready.set()
    assert (await soon(taking(pool, A))).link is started[1]
    assert len(started.alive) == 2


async def test_a_runner_that_is_ready_late_serves_whoever_waits_by_then(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    started.slow = True
    first = taking(pool, A)
    await until_started(started, 2)
    pool.give_back(busy)
    assert await soon(first) is busy
    second = taking(pool, A)
    await asyncio.sleep(0)
    started[1].ready.set()
    assert (await soon(second)).link is started[1]


@pytest.mark.parametrize("waits_for_one_to_start", [False, True])
async def test_a_job_that_is_cancelled_while_it_waits_costs_no_runner(
    started: Runners, waits_for_one_to_start: bool
) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    started.slow = True
    waiting = taking(pool, A)
    await asyncio.sleep(0)
    if waits_for_one_to_start:
        await until_started(started, 2)
    waiting.cancel()
    await asyncio.wait({waiting})
    pool.give_back(busy)
    for runner in started:
        runner.ready.set()
    await asyncio.sleep(0.01)
    served = {(await soon(taking(pool, A))).name for _ in started}
    assert served == set(started.alive) == {runner.name for runner in started}


@pytest.mark.usefixtures("patient")
async def test_a_runner_goes_to_the_next_if_the_job_it_was_given_to_is_cancelled(started: Runners) -> None:
    pool = a_pool(started)
    busy = await pool.take((A,))
    first, second = taking(pool, A), taking(pool, A)
    await asyncio.sleep(0)
    pool.give_back(busy)
    first.cancel()
    assert await soon(second) is busy
    assert first.cancelled()
    assert len(started) == 1


async def test_many_jobs_at_once_all_get_a_runner(started: Runners) -> None:
    pool = a_pool(started, spares=1)
    used: list[str] = []

    async def job() -> None:
        slot = await pool.take((A,))
        await asyncio.sleep(0.001)
        used.append(slot.name)
        pool.give_back(slot)

    async with asyncio.timeout(20):
        await asyncio.gather(*(job() for _ in range(100)))
    assert len(used) == 100
    assert len(set(used)) < 50


async def _until_there_are(count: int, started: Runners) -> None:
    async with asyncio.timeout(20):
        while len(started) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [RunnerPool.give_back, RunnerPool.discard])
async def test_a_spare_runner_is_taken_and_replaced_once_its_job_is_over(started: Runners, end: Any) -> None:
    pool = a_pool(started, spares=2)
    pool.refill()
    assert len(started) == 2
    slot = await pool.take((A,))
    assert slot.link is started[0]
    await asyncio.sleep(0.05)
    assert len(started) == 2
    end(pool, slot)
    assert len(started) == 2
    await _until_there_are(3, started)


async def test_a_spare_runner_is_replaced_beside_a_job_that_takes_long(
    started: Runners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners_module, "LONG_JOB_S", 0.1)
    pool = a_pool(started, spares=1)
    pool.refill()
    await pool.take((A,))
    assert len(started) == 1
    await _until_there_are(2, started)


async def test_jobs_that_end_one_after_another_do_not_put_off_a_spare_runner(
    started: Runners, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners_module, "REFILL_DELAY_S", 0.1)
    pool = a_pool(started, spares=1)
    pool.refill()
    async with asyncio.timeout(20):
        while len(started) < 2:
            pool.give_back(await pool.take((A,)))
            await asyncio.sleep(0.01)


async def test_a_spare_runner_that_died_is_passed_over(started: Runners) -> None:
    pool = a_pool(started, spares=1)
    started.adopts = ActorGone("killed for memory")
    pool.refill()
    started.adopts = os.getpid()
    assert (await pool.take((A,))).link is started[1]
    assert started[0].killed


async def test_an_idle_runner_that_died_is_passed_over(started: Runners, mortal: subprocess.Popen[bytes]) -> None:
    pool = a_pool(started)
    started.adopts = mortal.pid
    pool.give_back(await pool.take((A,)))
    mortal.kill()
    mortal.wait()
    started.adopts = os.getpid()
    assert (await soon(taking(pool, A))).link is started[1]


@pytest.mark.usefixtures("patient")
async def test_a_runner_that_died_as_it_came_free_is_passed_over_and_waited_for_no_more(
    started: Runners, mortal: subprocess.Popen[bytes]
) -> None:
    pool = a_pool(started)
    started.adopts = mortal.pid
    busy = await pool.take((A,))
    waiting = taking(pool, A)
    await asyncio.sleep(0)
    mortal.kill()
    mortal.wait()
    started.adopts = os.getpid()
    pool.give_back(busy)
    assert (await soon(waiting)).link is started[1]


async def test_a_runner_that_ends_as_it_becomes_ready_is_gone(
    started: Runners, mortal: subprocess.Popen[bytes]
) -> None:
    mortal.kill()
    mortal.wait()
    started.adopts = mortal.pid
    with pytest.raises(ActorGone, match="ended as it became ready"):
        await a_pool(started).take((A,))


async def test_what_a_runner_raises_as_it_takes_on_a_binary_reaches_the_job_and_ends_the_runner(
    started: Runners,
) -> None:
    pool = a_pool(started)
    started.adopts = Failed(ErrorData("bad archive", "zipfile.BadZipFile", ""))
    for _ in range(2):
        with pytest.raises(UserError, match="bad archive"):
            await pool.take((A,))
    assert started.alive == []
    started.adopts = os.getpid()
    await pool.take((A,))


async def test_of_too_many_idle_runners_the_one_idle_longest_goes(started: Runners) -> None:
    pool = a_pool(started, idle_limit=2)
    slots = [await pool.take((binary,)) for binary in (A, B, C)]
    for slot in slots:
        pool.give_back(slot)
    assert started.alive == [slots[1].name, slots[2].name]


async def test_idle_runners_of_an_older_version_go_when_its_successor_first_runs(started: Runners) -> None:
    pool = a_pool(started)
    pool.give_back(old := await pool.take((A,)))
    pool.give_back(other := await pool.take((B,)))
    new = await pool.take((NEW_A,))
    assert old.link.killed
    assert started.alive == [other.name, new.name]


async def test_a_closed_pool_ends_its_runners_and_those_that_come_back(started: Runners) -> None:
    pool = a_pool(started, spares=1)
    pool.refill()
    busy, idle = await pool.take((A,)), await pool.take((B,))
    pool.give_back(idle)
    pool.close()
    assert started.alive == [busy.name]
    pool.give_back(busy)
    pool.refill()
    assert started.alive == []


async def test_a_closed_pool_ends_a_runner_that_becomes_ready_for_nobody(started: Runners) -> None:
    pool = a_pool(started)
    started.slow = True
    waiting = taking(pool, A)
    await until_started(started, 1)
    waiting.cancel()
    pool.close()
    started[0].ready.set()
    await asyncio.sleep(0.01)
    assert started.alive == []
