"""Group commit: concurrent writes share one transaction, so that they share the price of one fsync."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rayjobs.errors import StorageFailure
from rayjobs.gathering import Gathering, Outcome

T = TypeVar("T")
Operation = Callable[[], T]


class GroupCommit:
    """Collects operations and hands all that wait to `commit`, in order, one batch at a time, in one thread.

    `commit` returns an outcome per operation once they are durable.
    """

    def __init__(self, commit: Callable[[list[Operation[Any]]], list[Outcome[Any]]]):
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._waiting: Gathering[Operation[Any]] = Gathering(self._in_thread)
        self.closed = False

    async def run(self, operation: Operation[T]) -> T:
        """What `operation` returned or raised, once its batch is durable; `StorageFailure` after `close`."""
        if self.closed:
            raise StorageFailure("the job store is closed")
        return await self._waiting.add(operation)

    async def close(self, last: Operation[None]) -> None:
        """Commit what waits, then run `last` in the writer's thread; nothing is taken any more."""
        self.closed = True
        await self._waiting.drained()
        await asyncio.get_running_loop().run_in_executor(self._thread, last)
        self._thread.shutdown()

    async def _in_thread(self, operations: list[Operation[Any]]) -> list[Outcome[Any]]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, operations)
