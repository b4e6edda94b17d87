"""What a context has in hand of each runner: the actor, and a line on which it calls it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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


class RunnerLink(Protocol):
    """`Runner` as its context calls it; each call raises `ActorGone` for a runner that died."""

    async def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed: ...

    async def load(self, class_path: str) -> None: ...

    async def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed: ...

    def kill(self) -> None:
        """End its process at once, whatever it does."""


class ActorRunnerLink:
    """`working` is over when the runner has died, and raises why."""

    def __init__(self, handle: ActorHandle, working: asyncio.Future[None]):
        self.line: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._handle = handle
        self._working = working
        working.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed:
        return await self._call("adopt", taken, files)

    async def load(self, class_path: str) -> None:
        await self._call("load", class_path)

    async def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed:
        return await self._call("perform", task, is_awaited)

    def kill(self) -> None:
        cluster.kill(self._handle)

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
    """Starts runners, and is called by them: by each one once, as it is ready, and then on what its jobs do."""

    def __init__(self, context_id: str, setup: RunnerSetup, job_passed: Callable[[str], None]):
        """`job_passed` is told the ids of jobs that have passed their validation. Raises `OSError`."""
        self._path = lines_folder() / f"runners-{context_id[-12:]}"
        self._setup = setup
        self._job_passed = job_passed
        self._links: dict[str, ActorRunnerLink] = {}
        self._listener = Listener(self._path, self._answer)

    def close(self) -> None:
        """Runners that are not ready by now never will be."""
        self._listener.close()

    def spawn(self, name: str) -> RunnerLink:
        """A new runner's; what is called waits until it is up."""
        handle, working = cluster.spawn_runner(name, self._setup, self._path)
        over = asyncio.ensure_future(cluster.call(working))
        over.add_done_callback(lambda _: self._links.pop(name, None))
        link = self._links[name] = ActorRunnerLink(handle, over)
        return link

    async def _answer(self, runner: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        match verb, arguments:
            case "runner_ready", (str(name),):
                if link := self._links.pop(name, None):
                    link.line.set_result(runner)
            case "job_passed", (str(job_id),):
                self._job_passed(job_id)
