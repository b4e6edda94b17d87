"""A context's runners: who is ready for which binaries, who is spare, who is busy."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import psutil
from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone
from rayjobs.node_files import NodeFiles
from rayjobs.records import BinaryInfo

END_TIMEOUT_S = 2.0


@dataclass(eq=False)
class RunnerSlot:
    """One runner: its actor, the binaries it took on (none while spare), the job classes it has loaded."""

    name: str
    handle: ActorHandle
    binaries: tuple[BinaryInfo, ...] = ()
    pid: int | None = None
    loaded: set[str] = field(default_factory=set)
    idle_since: float = 0.0

    def holds(self, binaries: tuple[BinaryInfo, ...]) -> bool:
        """Whether it took on these versions, in that order."""
        return _versions(self.binaries) == _versions(binaries)

    def is_outdated_by(self, binaries: tuple[BinaryInfo, ...]) -> bool:
        """Whether it holds an older version of one of these."""
        return any(
            held.app_name == new.app_name and held.upload_time < new.upload_time
            for held in self.binaries
            for new in binaries
        )

    def is_alive(self) -> bool:
        """Whether its process, which is on this node, runs: asked of the system, where a call costs half a job."""
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class RunnerPool:
    """Runners come from `spawn` (by name), and their binaries from `files`.

    A runner serves one binary, with its dependencies, for good: its interpreter is never shared with another one's
    modules. Idle runners of a version that has a successor go when the successor first runs.
    """

    def __init__(
        self,
        context_name: str,
        spares_wanted: int,
        idle_limit: int,
        spawn: Callable[[str], ActorHandle],
        files: NodeFiles,
    ):
        self._context_name = context_name
        self._spares_wanted = spares_wanted
        self._idle_limit = idle_limit
        self._spawn = spawn
        self._files = files
        self._numbers = itertools.count(1)
        self._spares: list[RunnerSlot] = []
        self._idle: list[RunnerSlot] = []
        self._closed = False

    async def take(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        """A runner that holds `binaries`, the main one first; the caller's until `give_back` or `discard`.

        Those that died are left out.
        """
        while slot := self._take_idle(binaries):
            if slot.is_alive():
                return slot
        self._drop_older(binaries)
        spare = self._spares.pop(0) if self._spares else None
        try:
            with contextlib.suppress(ActorGone):
                if spare:
                    return await self._adopted(spare, binaries)
            return await self._adopted(self._new(), binaries)
        finally:
            self.refill()

    def give_back(self, slot: RunnerSlot) -> None:
        """The runner waits for the next job of its binaries; the one idle longest goes beyond the limit."""
        slot.idle_since = time.monotonic()
        self._idle.append(slot)
        while len(self._idle) > (0 if self._closed else self._idle_limit):
            self.discard(self._idle.pop(0))

    def end_idle(self, before: float) -> None:
        """End the runners that have had no job since `before` (monotonic seconds); spare ones stay."""
        for slot in [slot for slot in self._idle if slot.idle_since < before]:
            self._idle.remove(slot)
            self.discard(slot)

    def discard(self, slot: RunnerSlot) -> None:
        """End the runner's process at once, whatever it does."""
        cluster.kill(slot.handle)

    async def end(self, slot: RunnerSlot) -> None:
        """`discard`, and wait until the process is gone: what it does in the JVM is not begun after that."""
        self.discard(slot)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                while slot.pid is not None and slot.is_alive():
                    await asyncio.sleep(0.01)

    def refill(self) -> None:
        """Start the spares that are wanted; returns at once, they attach by themselves."""
        while len(self._spares) < self._spares_wanted and not self._closed:
            self._spares.append(self._new())

    def close(self) -> None:
        """End all runners that have no job, and start no more."""
        self._closed = True
        for slot in self._spares + self._idle:
            self.discard(slot)
        self._spares.clear()
        self._idle.clear()

    def _new(self) -> RunnerSlot:
        name = f"{self._context_name}/runner-{next(self._numbers)}"
        return RunnerSlot(name, self._spawn(name))

    def _take_idle(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot | None:
        for slot in reversed(self._idle):
            if slot.holds(binaries):
                self._idle.remove(slot)
                return slot
        return None

    async def _adopted(self, slot: RunnerSlot, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        try:
            slot.pid = await cluster.call(slot.handle.adopt.remote(binaries, self._files))
        except BaseException:
            self.discard(slot)
            raise
        slot.binaries = binaries
        return slot

    def _drop_older(self, binaries: tuple[BinaryInfo, ...]) -> None:
        for slot in [slot for slot in self._idle if slot.is_outdated_by(binaries)]:
            self._idle.remove(slot)
            self.discard(slot)


def _versions(binaries: tuple[BinaryInfo, ...]) -> list[tuple[str, datetime]]:
    return [(binary.app_name, binary.upload_time) for binary in binaries]
