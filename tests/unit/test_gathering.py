"""What waits goes together: in order, one batch at a time, each item with an outcome of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from rayjobs.errors import StorageFailure
from rayjobs.gathering import Gathering, Outcome


class Line:
    """Delivers a batch each time that `gate` opens, and keeps what it got."""

    def __init__(self, outcome_of: Callable[[int], Outcome[int]] = lambda item: Outcome(item * 10)):
        self.batches: list[list[int]] = []
        self.gate = asyncio.Semaphore(0)
        self.under_way = 0
        self._outcome_of = outcome_of

    async def deliver(self, items: list[int]) -> list[Outcome[int]]:
        self.batches.append(items)
        self.under_way += 1
        assert self.under_way == 1
        try:
            await self.gate.acquire()
        finally:
            self.under_way -= 1
        return [self._outcome_of(item) for item in items]


def open_for(line: Line, batches: int) -> None:
    for _ in range(batches):
        line.gate.release()


async def added(gathering: Gathering[int], *items: int) -> list[asyncio.Task[int]]:
    """A task per item, each as far as it comes before the batch that is under way is over."""
    tasks = [asyncio.create_task(gathering.add(item)) for item in items]
    for _ in range(3):
        await asyncio.sleep(0)
    return tasks


async def test_items_that_come_while_a_batch_is_under_way_are_the_next_batch_in_their_order() -> None:
    line = Line()
    gathering = Gathering(line.deliver)
    tasks = await added(gathering, 1)
    tasks += await added(gathering, 2, 3, 4)
    open_for(line, 2)
    assert await asyncio.gather(*tasks) == [10, 20, 30, 40]
    assert line.batches == [[1], [2, 3, 4]]


async def test_each_item_gets_its_own_outcome() -> None:
    refused = StorageFailure("not this one")
    line = Line(lambda item: Outcome(error=refused) if item == 2 else Outcome(item))
    open_for(line, 1)
    gathering = Gathering(line.deliver)
    found = await asyncio.gather(*(gathering.add(item) for item in (1, 2, 3)), return_exceptions=True)
    assert found == [1, refused, 3]


async def test_what_delivery_raises_is_the_outcome_of_its_batch_and_of_no_other() -> None:
    line = Line()
    gathering = Gathering(line.deliver)

    async def deliver_or_fail(items: list[int]) -> list[Outcome[int]]:
        outcomes = await line.deliver(items)
        if 1 in items:
            raise OSError("no space")
        return outcomes

    gathering = Gathering(deliver_or_fail)
    first, second = await added(gathering, 1, 2)
    (third,) = await added(gathering, 3)
    open_for(line, 2)
    for failed in (first, second):
        with pytest.raises(OSError, match="no space"):
            await failed
    assert await third == 30


async def test_a_cancelled_caller_costs_the_others_of_its_batch_nothing() -> None:
    line = Line()
    gathering = Gathering(line.deliver)
    first, second = await added(gathering, 1, 2)
    first.cancel()
    open_for(line, 1)
    assert await second == 20
    assert line.batches == [[1, 2]]
    assert first.cancelled()


async def test_it_goes_on_after_it_had_nothing_to_do() -> None:
    line = Line()
    gathering = Gathering(line.deliver)
    open_for(line, 2)
    assert await gathering.add(1) == 10
    await gathering.drained()
    assert await gathering.add(2) == 20


async def test_drained_waits_for_what_came_last() -> None:
    line = Line()
    gathering = Gathering(line.deliver)
    await gathering.drained()
    (first,) = await added(gathering, 1)
    (second,) = await added(gathering, 2)
    drained = asyncio.create_task(gathering.drained())
    open_for(line, 1)
    await first
    assert not drained.done()
    open_for(line, 1)
    await drained
    assert await second == 20
