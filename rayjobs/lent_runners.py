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

REPLACED_WITHIN_S = 10.0
"""One that was lent is replaced so long after, if its context does not say before that it leaves the processors."""


class LentRunners:
    """`wanted` of them are kept ready from `begin` on. Each is lent once, for good; a host's death ends them all."""

    def __init__(self, host_id: str, wanted: int):
        self._host_id = host_id
        self._wanted = wanted
        self._session: SessionAddress | None = None
        self._numbers = itertools.count(1)
        self._ready: list[ActorHandle] = []
        self._lent: dict[str, set[ActorHandle]] = {}
        self._watches: set[asyncio.Task[None]] = set()
        self._replacing: asyncio.TimerHandle | None = None

    def begin(self, session: SessionAddress) -> None:
        """Start those that are wanted: they attach to the application that has this session."""
        self._session = session
        self.replace()

    def lend(self, name: str, setup: RunnerSetup, line_path: Path) -> tuple[ActorHandle, Awaitable[None]] | None:
        """One at work for the context of `setup`, and what is over when it is, and raises why; None if none is ready.

        It may have died meanwhile.
        """
        if not self._ready:
            return None
        runner = self._ready.pop(0)
        working = runner.work.remote(name, setup, line_path)
        self._lent.setdefault(setup.context_id, set()).add(runner)
        watch = asyncio.create_task(self._watch(runner, working, setup.context_id), name=f"lent {name}")
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)
        if self._replacing is None:
            self._replacing = asyncio.get_running_loop().call_later(REPLACED_WITHIN_S, self.replace)
        return runner, working

    def replace(self) -> None:
        """Start those that are wanted and not there; returns at once, they attach by themselves."""
        if self._replacing:
            self._replacing.cancel()
            self._replacing = None
        while self._session and len(self._ready) < self._wanted:
            self._ready.append(cluster.spawn_runner(f"{self._host_id}/runner-{next(self._numbers)}", self._session))

    def end(self, context_id: str) -> None:
        """End those that this context has, whatever they do."""
        for runner in self._lent.pop(context_id, ()):
            cluster.kill(runner)

    def close(self) -> None:
        """End all of them, and start no more."""
        self._wanted = 0
        for runner in self._ready:
            cluster.kill(runner)
        self._ready.clear()
        for context_id in list(self._lent):
            self.end(context_id)

    async def _watch(self, runner: ActorHandle, working: Awaitable[None], context_id: str) -> None:
        """Forget one that died; end one whose context is gone."""
        with contextlib.suppress(Exception):  # its context hears why
            await cluster.call(working)
        cluster.kill(runner)
        runners = self._lent.get(context_id, set())
        runners.discard(runner)
        if not runners:
            self._lent.pop(context_id, None)
