"""Gathering: what comes while a batch is under way goes together in the next one, and shares its price."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What one item of a batch came to: a value, or the error its caller gets."""

    value: T | None = None
    error: Exception | None = None


class Gathering(Generic[T]):
    """Hands all items that wait to `deliver`, in order, one batch at a time.

    `deliver` returns an outcome per item; what it raises is the outcome of all.
    """

    def __init__(self, deliver: Callable[[list[T]], Awaitable[list[Outcome[Any]]]]):
        self._deliver = deliver
        self._pending: list[tuple[T, asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, item: T) -> Any:
        """What the item came to, returned or raised."""
        future = asyncio.get_running_loop().create_future()
        self._pending.append((item, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="gathering")
        return await future

    async def drained(self) -> None:
        """Returns once nothing waits."""
        if self._task:
            await self._task

    async def _drain(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            try:
                outcomes = await self._deliver([item for item, _ in batch])
            except Exception as error:
                outcomes = [Outcome(error=error)] * len(batch)
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _settle(future, outcome)


def _settle(future: asyncio.Future[Any], outcome: Outcome[Any]) -> None:
    if future.done():  # its caller was cancelled; what was delivered stands all the same
        return
    if outcome.error:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
