"""What a context has in hand of each runner: the actor, and a line on which it calls it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Protocol

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone, RayJobsError
from rayjobs.line import Line, Listener, lines_folder
from rayjobs.node_files import NodeFiles
from rayjobs.records import BinaryInfo
from rayjobs.tasks import Done, Failed, Refused, RunnerSetup, Task

LAST_ANSWER_S = 0.1
"""For an answer that a runner gave before it ended."""
LAST_WORD_S = 10.0
"""How long Ray may take to say why a process ended whose line broke."""


class Lender(Protocol):
    """Who has runners ahead: the host of a context's application."""

    async def lend_runner(self, key: str, setup: RunnerSetup, line_path: Path) -> cluster.AtWork | None:
        """One at work for the line at that path, where it says `key` when it is ready; None if there is none."""

    async def replace_runners(self) -> None:
        """Start others for those that were lent."""


class RunnerLink(Protocol):
    """`Runner` as its context calls it; each call raises `ActorGone` for a runner that died."""

    async def adopt(self, taken: tuple[BinaryInfo, ...], files: NodeFiles) -> int | Failed: ...

    async def load(self, class_path: str) -> None: ...

    async def perform(self, task: Task, is_awaited: bool) -> Done | Refused | Failed: ...

    def kill(self) -> None:
        """End its process at once, whatever it does."""


class ActorRunnerLink:
    """`line` is there once the runner is ready, `working` is over when it has died, and raises why."""

    def __init__(self, work: Callable[[ActorRunnerLink], Coroutine[Any, Any, None]]):
        """`work` gets a runner, tells of it by `met`, and is over with it."""
        self.line: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self._handle: ActorHandle | None = None
        self._is_killed = False
        self._working = asyncio.create_task(work(self))
        self._working.add_done_callback(lambda done: done.cancelled() or done.exception())

    def met(self, handle: ActorHandle) -> None:
        """That is its runner."""
        self._handle = handle
        if self._is_killed:
            self.kill()

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
        self, context_id: str, setup: RunnerSetup, job_passed: Callable[[str], None], lender: Lender | None = None
    ):
        """`job_passed` is told the ids of jobs that have passed their validation; `lender` is asked before one is made.

        Raises `OSError`.
        """
        self._path = lines_folder() / f"runners-{context_id[-12:]}"
        self._setup = setup
        self._job_passed = job_passed
        self._lender = lender
        self._has_borrowed = False
        self._replacing: asyncio.Task[None] | None = None
        self._expected: dict[str, ActorRunnerLink] = {}
        self._listener = Listener(self._path, self._answer)

    def close(self) -> None:
        """Runners that are not ready by now never will be."""
        self._listener.close()

    def spawn(self, name: str) -> RunnerLink:
        """That of a runner without a binary; what is called waits until it is up. `name` is for one that is made."""
        return ActorRunnerLink(lambda link: self._have_one_at_work(name, link))

    def replace_borrowed(self) -> None:
        """Have the lender start others for those that it has lent, if it has."""
        if self._lender and self._has_borrowed:
            self._has_borrowed = False
            self._replacing = asyncio.create_task(self._lender.replace_runners(), name="replace-borrowed")

    async def _have_one_at_work(self, name: str, link: ActorRunnerLink) -> None:
        try:
            handle, working = await self._lent(link) or self._made(name, link)
            link.met(handle)
            await cluster.call(working)
        except RayJobsError:
            raise
        except Exception as error:
            raise ActorGone(f"the runner failed: {error}") from None
        finally:
            self._expected = {key: other for key, other in self._expected.items() if other is not link}

    async def _lent(self, link: ActorRunnerLink) -> cluster.AtWork | None:
        if self._lender is None:
            return None
        self._has_borrowed = True
        key = self._expect(link)
        lent = await self._lender.lend_runner(key, self._setup, self._path)
        if lent is None:
            del self._expected[key]
        return lent

    def _made(self, name: str, link: ActorRunnerLink) -> cluster.AtWork:
        handle = cluster.spawn_runner(name, self._setup.session)
        return handle, handle.work.remote(self._expect(link), self._setup, self._path)

    def _expect(self, link: ActorRunnerLink) -> str:
        """A new key by which its runner says that it is ready: one that comes after it was given up has an old one."""
        key = uuid.uuid4().hex
        self._expected[key] = link
        return key

    async def _answer(self, runner: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        match verb, arguments:
            case "runner_ready", (str(key),):
                if link := self._expected.pop(key, None):
                    link.line.set_result(runner)
                else:
                    runner.close()
            case "job_passed", (str(job_id),):
                self._job_passed(job_id)
