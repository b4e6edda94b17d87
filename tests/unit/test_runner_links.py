"""What a context hears from a runner, and about one that died; the runner's end of the line is the test's."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayjobs import runner_links
from rayjobs.errors import ActorGone
from rayjobs.line import Line, connect
from rayjobs.runner_links import RunnerLink, RunnerLinks

SETUP: Any = SimpleNamespace(session="the session")
RAYS_WORD = ActorGone("The actor died: SIGKILL")


class Spawned:
    """Stands for Ray: what was spawned, and the end of each, which the test brings about."""

    def __init__(self) -> None:
        self.ends: dict[str, asyncio.Future[None]] = {}
        self.keys: dict[str, str] = {}
        self.killed: list[str] = []
        self.path = Path()

    def spawn(self, actor_name: str, session: object) -> Any:
        assert session == SETUP.session
        return SimpleNamespace(name=actor_name, work=SimpleNamespace(remote=partial(self.work, actor_name)))

    def work(self, actor_name: str, key: str, setup: object, path: Path) -> asyncio.Future[None]:
        self.path = path
        self.keys[actor_name] = key
        end = self.ends[actor_name] = asyncio.get_running_loop().create_future()
        return end

    def kill(self, handle: Any) -> None:
        self.killed.append(handle.name)


class Host:
    """Lends one runner."""

    def __init__(self, ray: Spawned, answers: bool = True):
        self._ray = ray
        self._answers = answers
        self._ready = [ray.spawn("shared/runner-1", SETUP.session)]
        self.replaced = 0

    async def lend_runner(self, key: str, setup: Any, path: Path) -> Any:
        if not self._ready:
            return None
        runner = self._ready.pop()
        working = runner.work.remote(key, setup, path)
        return (runner, working) if self._answers else None

    async def replace_runners(self) -> None:
        self.replaced += 1


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Spawned:
    spawned = Spawned()

    async def call(reply: Any) -> Any:
        return await reply

    fake = SimpleNamespace(spawn_runner=spawned.spawn, kill=spawned.kill, call=call)
    monkeypatch.setattr(runner_links, "cluster", fake)
    return spawned


@pytest.fixture
async def passed() -> list[str]:
    return []


@pytest.fixture
async def links(temporary: None, ray: Spawned, passed: list[str]) -> AsyncIterator[RunnerLinks]:
    links = RunnerLinks("0" * 36, SETUP, job_passed=passed.append)
    yield links
    links.close()
    for end in ray.ends.values():
        end.cancel()


async def soon(awaited: Any) -> Any:
    async with asyncio.timeout(5):
        return await awaited


async def ready(ray: Spawned, name: str, answer: Any = None) -> Line:
    """The runner's end; it answers every call with `answer`, or never."""
    while name not in ray.ends:
        await asyncio.sleep(0)
    line = await connect(ray.path)

    async def answers(_: Line, verb: str, arguments: tuple[Any, ...]) -> Any:
        return answer if answer is not None else await asyncio.get_running_loop().create_future()

    line._answer = answers
    await line.call("runner_ready", ray.keys[name])
    return line


async def test_a_call_waits_until_the_runner_is_ready(links: RunnerLinks, ray: Spawned) -> None:
    link = links.spawn("etl/runner-1")
    adopted = asyncio.ensure_future(link.adopt((), None))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not adopted.done()
    line = await ready(ray, "etl/runner-1", answer=17)
    assert await soon(adopted) == 17
    line.close()


async def test_runners_are_told_apart_by_their_names(links: RunnerLinks, ray: Spawned) -> None:
    first, second = links.spawn("etl/runner-1"), links.spawn("etl/runner-2")
    lines = [await ready(ray, "etl/runner-2", answer=2), await ready(ray, "etl/runner-1", answer=1)]
    assert [await soon(link.adopt((), None)) for link in (first, second)] == [1, 2]  # type: ignore[arg-type]
    for line in lines:
        line.close()


async def test_jobs_that_passed_are_told(links: RunnerLinks, ray: Spawned, passed: list[str]) -> None:
    links.spawn("etl/runner-1")
    line = await ready(ray, "etl/runner-1")
    await soon(line.call("job_passed", "j1"))
    assert passed == ["j1"]
    line.close()


async def test_a_runner_that_dies_before_it_is_ready_is_rays_word(links: RunnerLinks, ray: Spawned) -> None:
    loading = asyncio.ensure_future(links.spawn("etl/runner-1").load("a.B"))
    await asyncio.sleep(0)
    ray.ends["etl/runner-1"].set_exception(RAYS_WORD)
    with pytest.raises(ActorGone, match="SIGKILL"):
        await soon(loading)


async def test_a_runner_that_dies_under_a_call_is_rays_word(links: RunnerLinks, ray: Spawned) -> None:
    link = links.spawn("etl/runner-1")
    line = await ready(ray, "etl/runner-1")
    loading = asyncio.ensure_future(link.load("a.B"))
    await asyncio.sleep(0.01)
    line.close()
    await asyncio.sleep(0.01)
    assert not loading.done()
    ray.ends["etl/runner-1"].set_exception(RAYS_WORD)
    with pytest.raises(ActorGone, match="SIGKILL"):
        await soon(loading)


async def test_a_runner_that_dies_is_gone_though_what_it_forked_holds_its_line(
    links: RunnerLinks, ray: Spawned
) -> None:
    link = links.spawn("etl/runner-1")
    line = await ready(ray, "etl/runner-1")
    loading = asyncio.ensure_future(link.load("a.B"))
    await asyncio.sleep(0.01)
    ray.ends["etl/runner-1"].set_exception(RAYS_WORD)
    with pytest.raises(ActorGone, match="SIGKILL"):
        await soon(loading)
    line.close()


async def test_if_ray_says_nothing_the_broken_line_does(
    links: RunnerLinks, ray: Spawned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_links, "LAST_WORD_S", 0.01)
    link: RunnerLink = links.spawn("etl/runner-1")
    line = await ready(ray, "etl/runner-1")
    loading = asyncio.ensure_future(link.load("a.B"))
    await asyncio.sleep(0.01)
    line.close()
    with pytest.raises(ActorGone, match="line"):
        await soon(loading)


async def test_a_kill_is_the_actors(links: RunnerLinks, ray: Spawned) -> None:
    link = links.spawn("etl/runner-1")
    await asyncio.sleep(0)
    link.kill()
    assert ray.killed == ["etl/runner-1"]


async def test_a_runner_that_is_killed_before_it_is_there_ends_as_it_comes(links: RunnerLinks, ray: Spawned) -> None:
    links.spawn("etl/runner-1").kill()
    assert ray.killed == []
    await asyncio.sleep(0)
    assert ray.killed == ["etl/runner-1"]


async def test_a_runner_is_lent_before_one_is_made(temporary: None, ray: Spawned) -> None:
    host = Host(ray)
    links = RunnerLinks("0" * 36, SETUP, job_passed=lambda _: None, lender=host)
    one, other = links.spawn("etl/runner-1"), links.spawn("etl/runner-2")
    lines = [await ready(ray, "shared/runner-1", answer=1), await ready(ray, "etl/runner-2", answer=2)]
    assert [await soon(link.adopt((), None)) for link in (one, other)] == [1, 2]  # type: ignore[arg-type]
    one.kill()
    other.kill()
    assert ray.killed == ["shared/runner-1", "etl/runner-2"]
    links.replace_borrowed()
    links.replace_borrowed()
    await asyncio.sleep(0)
    assert host.replaced == 1
    links.close()
    for line in lines:
        line.close()


async def test_a_runner_whose_loan_was_not_heard_of_does_not_pass_for_another(temporary: None, ray: Spawned) -> None:
    links = RunnerLinks("0" * 36, SETUP, job_passed=lambda _: None, lender=Host(ray, answers=False))
    link = links.spawn("etl/runner-1")
    adopted = asyncio.ensure_future(link.adopt((), None))  # type: ignore[arg-type]
    with pytest.raises(ActorGone):
        await ready(ray, "shared/runner-1", answer=1)
    line = await ready(ray, "etl/runner-1", answer=2)
    assert await soon(adopted) == 2
    links.close()
    line.close()


async def test_a_runner_that_cannot_begin_is_gone(links: RunnerLinks, ray: Spawned) -> None:
    loading = asyncio.ensure_future(links.spawn("etl/runner-1").load("a.B"))
    await asyncio.sleep(0)
    ray.ends["etl/runner-1"].set_exception(RuntimeError("the JVM is out of memory"))
    with pytest.raises(ActorGone, match="out of memory"):
        await soon(loading)
