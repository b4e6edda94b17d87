"""A context asks the store for binaries once, and again after each change of one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from rayjobs.change_count import ChangeCount
from rayjobs.errors import NoSuchBinary
from rayjobs.known_binaries import KnownBinaries
from rayjobs.records import BinaryInfo, BinaryType

START = datetime(2026, 1, 2, tzinfo=UTC)
A = BinaryInfo("a", BinaryType.JAR, START, "a" * 64, 1)
B = BinaryInfo("b", BinaryType.JAR, START, "b" * 64, 1)
NEW_A = replace(A, upload_time=START + timedelta(milliseconds=1))


class FakeStore:
    """Answers as the store's actor would, from `latest`."""

    def __init__(self, *binaries: BinaryInfo):
        self.latest = {binary.app_name: binary for binary in binaries}
        self.asked: list[list[str]] = []
        self.get_binaries = SimpleNamespace(remote=self._answer)

    async def _answer(self, app_names: list[str]) -> list[BinaryInfo]:
        self.asked.append(app_names)
        missing = [name for name in app_names if name not in self.latest]
        if missing:
            raise NoSuchBinary(f"appName {missing[0]} not found")
        return [self.latest[name] for name in app_names]

    def upload(self, binary: BinaryInfo, changes: ChangeCount) -> None:
        self.latest[binary.app_name] = binary
        changes.grow()


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[ChangeCount]:
    count = ChangeCount(tmp_path / "changes")
    yield count
    count.close()


async def test_the_store_is_asked_once_for_each_list_of_apps(changes: ChangeCount) -> None:
    store = FakeStore(A, B)
    known = KnownBinaries(store, changes)  # type: ignore[arg-type]
    for _ in range(3):
        assert await known.latest(["a"]) == [A]
        assert await known.latest(["b", "a"]) == [B, A]
    assert store.asked == [["a"], ["b", "a"]]


async def test_a_change_is_seen_by_the_next_question(changes: ChangeCount) -> None:
    store = FakeStore(A, B)
    known = KnownBinaries(store, changes)  # type: ignore[arg-type]
    await known.latest(["a"])
    await known.latest(["b"])
    store.upload(NEW_A, changes)
    assert await known.latest(["a"]) == [NEW_A]
    assert await known.latest(["b"]) == [B]
    assert store.asked == [["a"], ["b"], ["a"], ["b"]]


async def test_what_is_missing_is_asked_for_each_time(changes: ChangeCount) -> None:
    store = FakeStore()
    known = KnownBinaries(store, changes)  # type: ignore[arg-type]
    for _ in range(2):
        with pytest.raises(NoSuchBinary):
            await known.latest(["a"])
    store.latest["a"] = A
    assert await known.latest(["a"]) == [A]


async def test_an_answer_from_before_a_change_is_not_kept_beyond_it_whatever_else_is_asked(
    changes: ChangeCount,
) -> None:
    store = FakeStore(A, B)
    gates = {"a": asyncio.Event(), "b": asyncio.Event()}
    answer = store.get_binaries.remote

    async def answer_late(app_names: list[str]) -> list[BinaryInfo]:
        found = await answer(app_names)
        await gates[app_names[0]].wait()
        return found

    store.get_binaries.remote = answer_late
    known = KnownBinaries(store, changes)  # type: ignore[arg-type]
    early = asyncio.create_task(known.latest(["a"]))
    await asyncio.sleep(0)
    store.upload(NEW_A, changes)
    other = asyncio.create_task(known.latest(["b"]))
    await asyncio.sleep(0)
    gates["a"].set()
    assert await early == [A]
    gates["b"].set()
    assert await other == [B]
    assert await known.latest(["a"]) == [NEW_A]


async def test_without_a_count_of_changes_each_question_goes_to_the_store() -> None:
    store = FakeStore(A)
    known = KnownBinaries(store, None)  # type: ignore[arg-type]
    answers: list[Awaitable[list[BinaryInfo]]] = [known.latest(["a"]) for _ in range(2)]
    assert await asyncio.gather(*answers) == [[A], [A]]
    store.latest["a"] = NEW_A
    assert await known.latest(["a"]) == [NEW_A]
    assert len(store.asked) == 3
