"""A context's runners: who is ready for which binary, who is spare, who is busy."""

from __future__ import annotations

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


@dataclass(eq=False)
class RunnerSlot:
    """One runner: its actor, the binary it took on (None while spare), the job classes it has loaded."""

    name: str
    handle: ActorHandle
    binary: BinaryInfo | None = None
    pid: int | None = None
    loaded: set[str] = field(default_factory=set)
    idle_since: float = 0.0

    def is_alive(self) -> bool:
        """Whether its process, which is on this node, runs: asked of the system, where a call costs half a job."""
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class RunnerPool:
    """Runners come from `spawn` (by name), and their binaries from `files`.

    A runner serves one binary for good: its interpreter is never shared with another one's modules. Idle runners
    of a version that has a successor go when the successor first runs.
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

    async def take(self, binary: BinaryInfo) -> RunnerSlot:
        """A runner that holds `binary`, the caller's until `give_back` or `discard`; those that died are left out."""
        while slot := self._take_idle(binary):
            if slot.is_alive():
                return slot
        self._drop_older(binary)
        spare = self._spares.pop(0) if self._spares else None
        try:
            with contextlib.suppress(ActorGone):
                if spare:
                    return await self._adopted(spare, binary)
            return await self._adopted(self._new(), binary)
        finally:
            self.refill()

    def give_back(self, slot: RunnerSlot) -> None:
        """The runner waits for the next job of its binary; the one idle longest goes beyond the limit."""
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

    def _take_idle(self, binary: BinaryInfo) -> RunnerSlot | None:
        for slot in reversed(self._idle):
            if _key(slot.binary) == _key(binary):
                self._idle.remove(slot)
                return slot
        return None

    async def _adopted(self, slot: RunnerSlot, binary: BinaryInfo) -> RunnerSlot:
        try:
            slot.pid = await cluster.call(slot.handle.adopt.remote(binary, self._files))
        except BaseException:
            self.discard(slot)
            raise
        slot.binary = binary
        return slot

    def _drop_older(self, binary: BinaryInfo) -> None:
        for slot in [s for s in self._idle if s.binary and s.binary.app_name == binary.app_name]:
            if slot.binary and slot.binary.upload_time < binary.upload_time:
                self._idle.remove(slot)
                self.discard(slot)


def _key(binary: BinaryInfo | None) -> tuple[str, datetime] | None:
    return (binary.app_name, binary.upload_time) if binary else None
