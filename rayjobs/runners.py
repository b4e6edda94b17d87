"""A context's runners: who is ready for which binaries, who is spare, who is busy."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import psutil

from rayjobs.errors import ActorGone
from rayjobs.node_files import NodeFiles
from rayjobs.records import BinaryInfo
from rayjobs.runner_links import RunnerLink
from rayjobs.tasks import Failed, UserError

END_TIMEOUT_S = 2.0
REFILL_DELAY_S = 0.5
"""Spares are replaced so long after a job is over: who waits for it, or ends the context then, is served first."""
LONG_JOB_S = 10.0
"""Spares are replaced so long after they were taken if no job is over by then."""
SHARE_S = 0.05
"""How long a job waits, for each runner there is for it, until one of them is free, before one more is started.

Most jobs are short: many at once need few processes, and a process for each would take the machine down.
"""

QUICK_S = 0.02
"""Where a runner took its job so lately, jobs are quick: more runners than processors would only slow them down."""
CORES = os.cpu_count() or 1
AT_ONCE = max(1, CORES // 4)
"""How many runners with the same binaries may be on their way at once."""


@dataclass(eq=False)
class RunnerSlot:
    """One runner: its link, the binaries it took on (none while spare), the job classes it has loaded."""

    name: str
    link: RunnerLink
    binaries: tuple[BinaryInfo, ...] = ()
    process: psutil.Process | None = None
    loaded: set[str] = field(default_factory=set)
    idle_since: float = 0.0
    taken: float = 0.0

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
            return self.process is not None and self.process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


class RunnerPool:
    """Runners come from `spawn` (by name), and their binaries from `files`.

    `refill_elsewhere` has who lends them be ready for more, when it is time to replace spares.

    A runner serves one binary, with its dependencies, for good: its interpreter is never shared with another one's
    modules. Idle runners of a version that has a successor go when the successor first runs.
    """

    def __init__(
        self,
        context_name: str,
        spares_wanted: int,
        idle_limit: int,
        spawn: Callable[[str], RunnerLink],
        files: NodeFiles,
        refill_elsewhere: Callable[[], None] = lambda: None,
    ):
        self._context_name = context_name
        self._spares_wanted = spares_wanted
        self._idle_limit = idle_limit
        self._spawn = spawn
        self._files = files
        self._refill_elsewhere = refill_elsewhere
        self._numbers = itertools.count(1)
        self._spares: list[RunnerSlot] = []
        self._idle: list[RunnerSlot] = []
        self._busy: set[RunnerSlot] = set()
        self._making: list[tuple[BinaryInfo, ...]] = []
        self._waiters: list[tuple[tuple[BinaryInfo, ...], asyncio.Future[RunnerSlot]]] = []
        self._closed = False
        self._refilling: asyncio.TimerHandle | None = None

    async def take(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        """A runner that holds `binaries`, the main one first; the caller's until `give_back` or `discard`.

        Those that died are left out. While others with these binaries are busy, whichever is free or ready first.
        """
        while True:
            slot = self._take_idle(binaries) or await self._first_free_or_made(binaries)
            if slot.is_alive():
                self._busy.add(slot)
                slot.taken = time.monotonic()
                return slot
            self._busy.discard(slot)

    async def _is_free_soon(self, free: asyncio.Future[RunnerSlot], binaries: tuple[BinaryInfo, ...]) -> bool:
        """Wait for `free`, the longer the more runners with these binaries there are; False if that takes too long.

        One at a time is made: its start takes a processor for a second, from the jobs that others wait for.
        """
        begun = time.monotonic()
        while not free.done():
            busy = [slot for slot in self._busy if slot.holds(binaries)]
            now = time.monotonic()
            left_s = begun + len(busy) * SHARE_S - now
            are_enough = len(busy) >= CORES and any(now - slot.taken < QUICK_S for slot in busy)
            if left_s <= 0 and not are_enough and self._making.count(binaries) < AT_ONCE:
                return False
            await asyncio.wait({free}, timeout=max(left_s, SHARE_S))
        return True

    async def _made_ready(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        self._drop_older(binaries)
        spare = self._spares.pop(0) if self._spares else None
        try:
            with contextlib.suppress(ActorGone):
                if spare:
                    return await self._adopted(spare, binaries)
            return await self._adopted(self._new(), binaries)
        finally:
            self._making.remove(binaries)
            self.refill_within(LONG_JOB_S)

    def give_back(self, slot: RunnerSlot) -> None:
        """The runner serves the next job of its binaries, which may wait; of too many, the one idle longest goes."""
        for binaries, waiter in self._waiters:
            if not waiter.done() and slot.holds(binaries):
                waiter.set_result(slot)
                return
        self._busy.discard(slot)
        slot.idle_since = time.monotonic()
        self._idle.append(slot)
        while len(self._idle) > (0 if self._closed else self._idle_limit):
            self.discard(self._idle.pop(0))
        self.refill_within(REFILL_DELAY_S)

    def end_idle(self, before: float) -> None:
        """End the runners that have had no job since `before` (monotonic seconds); spare ones stay."""
        for slot in [slot for slot in self._idle if slot.idle_since < before]:
            self._idle.remove(slot)
            self.discard(slot)

    def discard(self, slot: RunnerSlot) -> None:
        """End the runner's process at once, whatever it does."""
        self._busy.discard(slot)
        slot.link.kill()
        self.refill_within(REFILL_DELAY_S)

    async def end(self, slot: RunnerSlot) -> None:
        """`discard`, and wait until the process is gone: what it does in the JVM is not begun after that."""
        self.discard(slot)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                while slot.is_alive():
                    await asyncio.sleep(0.01)

    def refill(self) -> None:
        """Start the spares that are wanted; returns at once, they attach by themselves.

        Happens by itself after a job, or some time after a long one began: its runner has the processors until then.
        """
        self._refilling = None
        if self._closed:
            return
        self._refill_elsewhere()
        while len(self._spares) < self._spares_wanted:
            self.add_spare()

    def refill_within(self, seconds: float) -> None:
        """`refill` then, unless it is due before."""
        loop = asyncio.get_running_loop()
        if self._refilling is None or self._refilling.when() > loop.time() + seconds:
            if self._refilling:
                self._refilling.cancel()
            self._refilling = loop.call_later(seconds, self.refill)

    def add_spare(self) -> None:
        """Start one more, that nobody replaces."""
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

    async def _first_free_or_made(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        free: asyncio.Future[RunnerSlot] = asyncio.get_running_loop().create_future()
        made: asyncio.Task[RunnerSlot] | None = None
        taken: asyncio.Future[RunnerSlot] | None = None
        self._waiters.append((binaries, free))
        try:
            if not await self._is_free_soon(free, binaries):
                self._making.append(binaries)
                made = asyncio.create_task(self._made_ready(binaries), name="runner")
                await asyncio.wait({free, made}, return_when=asyncio.FIRST_COMPLETED)
            taken = free if free.done() else made
            return taken.result()
        finally:
            self._waiters.remove((binaries, free))
            for other in (free, made):
                if other and other is not taken:
                    other.add_done_callback(self._keep)
            free.cancel()

    def _keep(self, unneeded: asyncio.Future[RunnerSlot]) -> None:
        """A runner that came free, or was made, for a job that has another one by now, or is over."""
        if not unneeded.cancelled() and unneeded.exception() is None:
            self.give_back(unneeded.result())

    async def _adopted(self, slot: RunnerSlot, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        try:
            adopted = await slot.link.adopt(binaries, self._files)
            if isinstance(adopted, Failed):
                raise UserError(adopted.error)
            slot.process = psutil.Process(adopted)
        except BaseException as error:
            self.discard(slot)
            if isinstance(error, psutil.NoSuchProcess):
                raise ActorGone(f"runner {slot.name} ended as it became ready") from None
            raise
        slot.binaries = binaries
        return slot

    def _drop_older(self, binaries: tuple[BinaryInfo, ...]) -> None:
        for slot in [slot for slot in self._idle if slot.is_outdated_by(binaries)]:
            self._idle.remove(slot)
            self.discard(slot)


def _versions(binaries: tuple[BinaryInfo, ...]) -> list[tuple[str, datetime]]:
    return [(binary.app_name, binary.upload_time) for binary in binaries]
