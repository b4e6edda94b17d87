"""The runners of a Spark host: attached to its application ahead of the contexts that they are lent to."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Awaitable
from pathlib import Path

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.spark.jvm import SessionAddress
from rayjobs.tasks import RunnerSetup

END_TIMEOUT_S = 2.0


class LentRunners:
    """`wanted` of them are kept ready from `begin` on. Each is lent once, for good; a host's death ends them all."""

    def __init__(self, host_id: str, wanted: int):
        self._host_id = host_id
        self._wanted = wanted
        self._session: SessionAddress | None = None
        self._numbers = itertools.count(1)
        self._ready: list[ActorHandle] = []
        self._lent: dict[str, dict[ActorHandle, asyncio.Task[None]]] = {}

    def begin(self, session: SessionAddress) -> None:
        """Start those that are wanted: they attach to the application that has this session."""
        self._session = session
        self.replace()

    def lend(self, key: str, setup: RunnerSetup, line_path: Path) -> cluster.AtWork | None:
        """One at work for the context of `setup`, which may have died meanwhile; None if none is ready."""
        if not self._ready:
            return None
        runner = self._ready.pop(0)
        working = runner.work.remote(key, setup, line_path)
        watch = self._watch(runner, working, setup.context_id)
        self._lent.setdefault(setup.context_id, {})[runner] = asyncio.create_task(watch, name=f"watch-{key}")
        return runner, working

    def replace(self) -> None:
        """Start those that are wanted and not there; returns at once, they attach by themselves."""
        while self._session and len(self._ready) < self._wanted:
            self._ready.append(cluster.spawn_runner(f"{self._host_id}/runner-{next(self._numbers)}", self._session))

    async def end(self, context_id: str) -> None:
        """End those that this context has, whatever they do; returns when they have ended."""
        if watches := self._lent.pop(context_id, {}):
            for runner in watches:
                cluster.kill(runner)
            await asyncio.wait(watches.values(), timeout=END_TIMEOUT_S)

    def close(self) -> None:
        """End those that no context has, and start no more."""
        self._wanted = 0
        for runner in self._ready:
            cluster.kill(runner)
        self._ready.clear()

    async def _watch(self, runner: ActorHandle, working: Awaitable[None], context_id: str) -> None:
        """Forget one that died; end one that could not begin."""
        with contextlib.suppress(Exception):  # its context hears why
            await cluster.call(working)
        cluster.kill(runner)
        runners = self._lent.get(context_id, {})
        runners.pop(runner, None)
        if not runners:
            self._lent.pop(context_id, None)
