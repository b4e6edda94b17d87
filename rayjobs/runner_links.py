"""What a context has in hand of each runner: the actor, and a line on which it calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone
from rayjobs.line import Line, Listener, lines_folder
from rayjobs.node_files import NodeFiles
from rayjobs.records import BinaryInfo
from rayjobs.tasks import Done, Failed, Refused, RunnerSetup, Task

LAST_ANSWER_S = 0.1
"""For an answer that a runner gave before it ended."""
LAST_WORD_S = 10.0
"""How long Ray may take to say why a process ended whose line broke."""


AtWork = tuple[ActorHandle, Awaitable[None]]
"""A runner's actor, and what is over when the runner has died, and raises why."""
Lender = Callable[[str, RunnerSetup, Path], Awaitable[AtWork | None]]
"""A runner that is attached already, at work for that line; None if there is none."""


class RunnerLink(Protocol):
    """`Runner` as its context calls it; each call raises `ActorGone` for a runner that died."""

    async def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed: ...

    async def load(self, class_path: str) -> None: ...

    async def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed: ...

    def kill(self) -> None:
        """End its process at once, whatever it does."""


class ActorRunnerLink:
    """`coming` is the runner's actor, and what is over when it has died, and raises why."""

    def __init__(self, coming: Awaitable[AtWork]):
        self.line: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._handle: ActorHandle | None = None
        self._is_killed = False
        self._working = asyncio.create_task(self._work(coming))
        self._working.add_done_callback(lambda done: done.cancelled() or done.exception())

    def when_over(self, do: Callable[[], Any]) -> None:
        self._working.add_done_callback(lambda _: do())

    async def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed:
        return await self._call("adopt", taken, files)

    async def load(self, class_path: str) -> None:
        await self._call("load", class_path)

    async def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed:
        return await self._call("perform", task, is_awaited)

    def kill(self) -> None:
        self._is_killed = True
        if self._handle:
            cluster.kill(self._handle)

    async def _work(self, coming: Awaitable[AtWork]) -> None:
        self._handle, working = await coming
        if self._is_killed:
            self.kill()
        await cluster.call(working)

    async def _call(self, verb: str, *arguments: Any) -> Any:
        if not self.line.done():
            await asyncio.wait({self.line, self._working}, return_when=asyncio.FIRST_COMPLETED)
        if not self.line.done():
            self._working.result()
            raise ActorGone("the runner ended before it was ready")
        call = asyncio.ensure_future(self.line.result().call(verb, *arguments))
        try:
            # Not the line alone: what a runner has forked holds its end open when it dies.
            await asyncio.wait({call, self._working}, return_when=asyncio.FIRST_COMPLETED)
            if not call.done():
                await asyncio.wait({call}, timeout=LAST_ANSWER_S)
            if call.done() and not isinstance(call.exception(), ActorGone):
                return call.result()
            await asyncio.wait({self._working}, timeout=LAST_WORD_S)
            if self._working.done():
                self._working.result()
            raise ActorGone("the runner's line broke, and Ray does not say why")
        finally:
            call.cancel()


class RunnerLinks:
    """Gets runners, and is called by them: by each one once, as it is ready, and then on what its jobs do."""

    def __init__(
        self, context_id: str, setup: RunnerSetup, job_passed: Callable[[str], None], lend: Lender | None = None
    ):
        """`job_passed` is told the ids of jobs that have passed their validation; `lend` is asked before one is made.

        Raises `OSError`.
        """
        self._path = lines_folder() / f"runners-{context_id[-12:]}"
        self._setup = setup
        self._job_passed = job_passed
        self._lend = lend
        self._links: dict[str, ActorRunnerLink] = {}
        self._listener = Listener(self._path, self._answer)

    def close(self) -> None:
        """Runners that are not ready by now never will be."""
        self._listener.close()

    def spawn(self, name: str) -> RunnerLink:
        """A runner's that had no job yet; what is called waits until it is up."""
        link = self._links[name] = ActorRunnerLink(self._found(name))
        link.when_over(lambda: self._links.pop(name, None))
        return link

    async def _found(self, name: str) -> AtWork:
        if self._lend and (lent := await self._lend(name, self._setup, self._path)):
            return lent
        handle = cluster.spawn_runner(name, self._setup.session)
        return handle, handle.work.remote(name, self._setup, self._path)

    async def _answer(self, runner: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        match verb, arguments:
            case "runner_ready", (str(name),):
                if link := self._links.pop(name, None):
                    link.line.set_result(runner)
            case "job_passed", (str(job_id),):
                self._job_passed(job_id)
