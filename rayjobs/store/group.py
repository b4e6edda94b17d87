"""Group commit: concurrent writes share one transaction, so that they share the price of one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rayjobs.errors import StorageFailure

T = TypeVar("T")
Operation = Callable[[], T]


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What one operation came to: a value, or the error its caller gets."""

    value: T | None = None
    error: Exception | None = None


class GroupCommit:
    """Collects operations and hands all that wait to `commit`, in order, one batch at a time, in one thread.

    `commit` returns an outcome per operation once they are durable.
    """

    def __init__(self, commit: Callable[[list[Operation[Any]]], list[Outcome[Any]]]):
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._pending: list[tuple[Operation[Any], asyncio.Future[Any]]] = []
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    async def run(self, operation: Operation[T]) -> T:
        """What `operation` returned or raised, once its batch is durable; `StorageFailure` after `close`."""
        if self.closed:
            raise StorageFailure("the job store is closed")
        future = asyncio.get_running_loop().create_future()
        self._pending.append((operation, future))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="store-group-commit")
        return await future

    async def close(self, last: Operation[None]) -> None:
        """Commit what waits, then run `last` in the writer's thread; nothing is taken any more."""
        self.closed = True
        if self._task:
            await self._task
        await asyncio.get_running_loop().run_in_executor(self._thread, last)
        self._thread.shutdown()

    async def _drain(self) -> None:
        while self._pending:
            batch, self._pending = self._pending, []
            outcomes = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._commit, [operation for operation, _ in batch]
            )
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                _settle(future, outcome)


def _settle(future: asyncio.Future[T], outcome: Outcome[T]) -> None:
    if future.done():  # its caller was cancelled; the write stands all the same
        return
    if outcome.error:
        future.set_exception(outcome.error)
    else:
        future.set_result(outcome.value)
