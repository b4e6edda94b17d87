"""Calls between processes by a line: real sockets, real processes at the other end where that matters."""

from __future__ import annotations

import asyncio
import os
import pickle
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from rayjobs import line
from rayjobs.errors import ActorGone, BadConfig, ErrorData, NoSuchJob
from rayjobs.line import Line, WorkerLine

LARGE = 20 * 2**20


@pytest.fixture
def path() -> Iterator[Path]:
    """Short, as paths of sockets must be."""
    with tempfile.TemporaryDirectory(prefix="line-") as folder:
        yield Path(folder) / "socket"


class Callee:
    """What answers at the other end."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.told: list[Any] = []

    async def echo(self, value: Any) -> Any:
        return value

    async def wait(self, value: Any) -> Any:
        await self.go.wait()
        return value

    async def tell(self, value: Any) -> None:
        self.told.append(value)

    async def fail(self, error: Exception) -> None:
        raise error

    async def unpicklable(self) -> Any:
        return threading.Lock()


@pytest.fixture
async def callee(path: Path) -> AsyncIterator[Callee]:
    callee = Callee()
    server = line.Listener(path, lambda _, verb, arguments: getattr(callee, verb)(*arguments))
    yield callee
    server.close()


@pytest.fixture
async def caller(path: Path, callee: Callee) -> AsyncIterator[Line]:
    caller = await line.connect(path)
    yield caller
    caller.close()
    await soon(caller.gone)


async def soon(awaited: Any) -> Any:
    async with asyncio.timeout(10):
        return await awaited


async def test_an_answer_comes_back_however_large(caller: Line) -> None:
    for value in (None, {"a": [1, (2, 3)]}, b"x" * LARGE, ErrorData("m", "c", "s")):
        assert await soon(caller.call("echo", value)) == value


async def test_calls_are_served_side_by_side(caller: Line, callee: Callee) -> None:
    slow = asyncio.ensure_future(caller.call("wait", 1))
    assert await soon(caller.call("echo", 2)) == 2
    assert not slow.done()
    callee.go.set()
    assert await soon(slow) == 1


async def test_many_large_answers_at_once_are_not_mixed_up(caller: Line) -> None:
    values = [bytes([n]) * 2**20 for n in range(20)]
    assert await soon(asyncio.gather(*(caller.call("echo", value) for value in values))) == values


async def test_an_answer_that_nobody_waits_for_any_more_is_dropped(caller: Line, callee: Callee) -> None:
    unwanted = asyncio.ensure_future(caller.call("wait", 1))
    await soon(caller.call("echo", 0))
    unwanted.cancel()
    callee.go.set()
    assert await soon(caller.call("wait", 2)) == 2


async def test_an_error_of_ours_is_raised_as_itself(caller: Line) -> None:
    error = BadConfig("no such thing", ErrorData("m", "c", "s"))
    with pytest.raises(BadConfig) as raised:
        await soon(caller.call("fail", error))
    assert (raised.value.message, raised.value.detail) == (error.message, error.detail)


async def test_any_other_error_comes_as_its_text(caller: Line) -> None:
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: by zero"):
        await soon(caller.call("fail", ZeroDivisionError("by zero")))
    with pytest.raises(RuntimeError, match=r"AttributeError.*no_such_verb"):
        await soon(caller.call("no_such_verb"))


async def test_what_cannot_be_sent_is_an_error_of_that_call_alone(caller: Line) -> None:
    with pytest.raises(TypeError, match="pickle"):
        await soon(caller.call("echo", threading.Lock()))
    with pytest.raises(RuntimeError, match="pickle"):
        await soon(caller.call("unpicklable"))
    assert await soon(caller.call("echo", 1)) == 1


async def test_both_ends_may_call(path: Path) -> None:
    other_end: list[Line] = []

    async def answer(caller: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        other_end.append(caller)

    server = line.Listener(path, answer)
    mine = await line.connect(path)
    await soon(mine.call("hello"))
    with pytest.raises(RuntimeError, match="nothing here answers boo"):
        await soon(other_end[0].call("boo"))
    mine.close()
    server.close()


async def test_the_end_of_the_connection_ends_the_calls(caller: Line, callee: Callee) -> None:
    under_way = asyncio.ensure_future(caller.call("wait", 1))
    await soon(caller.call("echo", 0))
    caller.close()
    with pytest.raises(ActorGone):
        await soon(under_way)
    with pytest.raises(ActorGone):
        await soon(caller.call("echo", 1))


async def test_nobody_there_is_an_os_error(path: Path) -> None:
    with pytest.raises(OSError):
        await line.connect(path)


async def test_a_successor_takes_the_place_of_one_that_is_gone(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    callee = Callee()
    server = line.Listener(path, lambda _, verb, arguments: getattr(callee, verb)(*arguments))
    caller = await line.connect(path)
    assert await soon(caller.call("echo", 1)) == 1
    caller.close()
    server.close()


# A process that does one thing after another

WORKER = """
import os, sys, time
from pathlib import Path
from rayjobs.errors import NoSuchJob
from rayjobs.line import WorkerLine

def answer(verb, arguments):
    match verb:
        case "echo": return arguments[0]
        case "pid": return os.getpid()
        case "refuse": raise NoSuchJob("no")
        case "die": os._exit(3)
        case "told": return worker.tell("note", *arguments)
        case "watch": worker.when_gone(lambda: os._exit(5))
        case "spin":
            while True: pass

worker = WorkerLine(Path(sys.argv[1]))
worker.tell("ready", os.getpid())
worker.answer_calls(answer)
print("the other end is gone")
"""


@pytest.fixture
async def worker(path: Path) -> AsyncIterator[tuple[Line, list[Any], subprocess.Popen[str]]]:
    """The line to a worker, what it has told, its process."""
    ready: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
    told: list[Any] = []

    async def answer(caller: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        if verb == "ready":
            ready.set_result(caller)
        told.append((verb, arguments))

    server = line.Listener(path, answer)
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(path)], stdout=subprocess.PIPE, text=True)
    yield await soon(ready), told, process
    process.kill()
    process.communicate()
    server.close()


async def test_a_worker_answers_in_turn(worker: tuple[Line, list[Any], subprocess.Popen[str]]) -> None:
    caller, told, process = worker
    assert told == [("ready", (process.pid,))]
    assert await soon(asyncio.gather(*(caller.call("echo", n) for n in range(50)))) == list(range(50))
    assert await soon(caller.call("echo", "x" * LARGE)) == "x" * LARGE
    with pytest.raises(NoSuchJob, match="no"):
        await soon(caller.call("refuse"))
    await soon(caller.call("told", 7))
    assert told[-1] == ("note", (7,))


async def test_a_worker_that_dies_ends_its_calls(worker: tuple[Line, list[Any], subprocess.Popen[str]]) -> None:
    caller, _, process = worker
    calls = [asyncio.ensure_future(caller.call(verb)) for verb in ("die", "pid")]
    for call in calls:
        with pytest.raises(ActorGone):
            await soon(call)
    assert process.wait() == 3


async def test_a_worker_whose_other_end_is_gone_stops(worker: tuple[Line, list[Any], subprocess.Popen[str]]) -> None:
    caller, _, process = worker
    caller.close()
    said, _ = await asyncio.to_thread(process.communicate, timeout=10)
    assert said == "the other end is gone\n" and process.returncode == 0


async def test_a_worker_that_is_busy_notices_that_the_other_end_is_gone(
    worker: tuple[Line, list[Any], subprocess.Popen[str]],
) -> None:
    caller, _, process = worker
    await soon(caller.call("watch"))
    spinning = asyncio.ensure_future(caller.call("spin"))
    await asyncio.sleep(0.1)
    caller.close()
    assert await asyncio.to_thread(process.wait, 10) == 5
    with pytest.raises(ActorGone):
        await soon(spinning)


def test_a_worker_tells_from_any_thread_whole_messages(path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    worker = WorkerLine(path)
    other, _ = listener.accept()
    threads = [threading.Thread(target=worker.tell, args=("note", bytes([n]) * 2**20)) for n in range(8)]
    for thread in threads:
        thread.start()
    incoming = other.makefile("rb")
    seen = {pickle.loads(incoming.read(int.from_bytes(incoming.read(8))))[2][0][:1] for _ in threads}
    for thread in threads:
        thread.join()
    assert seen == {bytes([n]) for n in range(8)}
    for closing in (incoming, other, listener):
        closing.close()
    worker.close()


# The folder


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)


def test_the_folder_is_the_users_alone(temporary: Path) -> None:
    folder = line.lines_folder()
    assert folder.parent == temporary and folder.stat().st_mode & 0o777 == 0o700
    assert line.lines_folder() == folder


def test_a_folder_that_others_may_enter_is_refused(temporary: Path) -> None:
    line.lines_folder().chmod(0o755)
    with pytest.raises(PermissionError, match=str(temporary)):
        line.lines_folder()


def test_a_link_in_the_folders_place_is_refused(temporary: Path) -> None:
    (temporary / "elsewhere").mkdir(mode=0o700)
    (temporary / f"rayjobs-lines-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with pytest.raises(PermissionError):
        line.lines_folder()


def test_a_temporary_folder_with_a_long_path_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/" + "x" * 100)
    assert line.lines_folder().parent == Path("/tmp")


async def test_the_longest_path_of_a_socket_can_be_bound(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parent = temporary / ("x" * (line.LONGEST_FOLDER - len(str(temporary)) - 1))
    parent.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(parent))
    monkeypatch.setattr(line.os, "getuid", lambda: 4294967294)
    path = parent / f"rayjobs-lines-{os.getuid()}" / f"actor-{'f' * 32}"
    path.parent.mkdir()
    line.Listener(path, line._refuse).close()


async def test_a_call_that_was_cancelled_where_it_ran_does_not_wait_for_ever(path: Path) -> None:
    async def answer(_: Line, verb: str, arguments: tuple[Any, ...]) -> None:
        raise asyncio.CancelledError

    listener = line.Listener(path, answer)
    caller = await line.connect(path)
    with pytest.raises(ActorGone, match="cancelled"):
        await soon(caller.call("anything"))
    caller.close()
    listener.close()


def test_sockets_at_which_nobody_listens_go(temporary: Path) -> None:
    folder = line.lines_folder()
    old = time.time() - 2 * line.YOUNG_S
    sockets = {name: socket.socket(socket.AF_UNIX) for name in ("stale", "served", "young")}
    for name, bound in sockets.items():
        bound.bind(str(folder / name))
        if name != "young":
            os.utime(folder / name, (old, old))
    sockets["served"].listen()
    line.remove_stale()
    assert {path.name for path in folder.iterdir()} == {"served", "young"}
    for bound in sockets.values():
        bound.close()
