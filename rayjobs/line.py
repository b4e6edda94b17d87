"""Calls between two processes of one node and one user, past Ray: a call costs a tenth of an actor's.

A message is its length (8 bytes, network order) and a pickled tuple: a call `(number, verb, arguments)`, which has no
number if nobody waits for its answer, or an answer `(number, succeeded, value)`. Both ends may call.

Sockets lie in a folder that nobody but the user can enter, so whoever calls is trusted, as pickles must be.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import pickle
import select
import socket
import stat
import struct
import tempfile
import threading
import time
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

from rayjobs.errors import ActorGone, RayJobsError

LONGEST_FOLDER = 40
"""The system takes about 100 bytes as the path of a socket."""
YOUNG_S = 60.0
BACKLOG = 1024
_LENGTH = struct.Struct("!Q")

Answer = Callable[["Line", str, tuple[Any, ...]], Awaitable[Any]]
"""What a call from the other end gets: the line it came by, the verb, its arguments."""


class Line(asyncio.Protocol):
    """One end of a connection, in an event loop. Calls of the other end are served at once, side by side."""

    def __init__(self, answer: Answer):
        self._answer = answer
        self._numbers = itertools.count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._received = bytearray()
        self._transport: asyncio.WriteTransport | None = None
        self._writable = asyncio.Event()
        self.gone = asyncio.get_running_loop().create_future()
        """Done when the connection is over."""

    async def call(self, verb: str, *arguments: Any) -> Any:
        """What the other end answers; raises our own error as itself, `ActorGone` if no answer can come any more."""
        await self._writable.wait()
        if self.gone.done():
            raise ActorGone("the process at the other end of the line is gone")
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            self._send((number, verb, arguments))
            return await answer
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End the connection; calls under way raise `ActorGone`, at both ends."""
        if self._transport:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set_result(None)
        self._writable.set()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ActorGone("the process at the other end of the line ended"))

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        while len(received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(received)[0]
            if len(received) < end:
                return
            message = pickle.loads(memoryview(received)[_LENGTH.size : end])
            del received[:end]
            self._take(*message)

    def _take(self, number: int | None, verb_or_success: str | bool, content: Any) -> None:
        if isinstance(verb_or_success, str):
            task = asyncio.get_running_loop().create_task(self._serve(number, verb_or_success, content))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
            return
        answer = self._waiting.get(number) if number is not None else None
        if answer and not answer.done():
            if verb_or_success:
                answer.set_result(content)
            else:
                answer.set_exception(content)

    async def _serve(self, number: int | None, verb: str, arguments: tuple[Any, ...]) -> None:
        succeeded, value = True, None
        try:
            value = await self._answer(self, verb, arguments)
        except asyncio.CancelledError:
            succeeded, value = False, ActorGone(f"{verb} was cancelled")
        except Exception as error:
            succeeded, value = False, _portable(error)
        if number is not None:
            await self._writable.wait()
            self._send((number, succeeded, value))

    def _send(self, message: tuple[Any, ...]) -> None:
        if self._transport and not self._transport.is_closing():
            self._transport.write(_packed(message))


class WorkerLine:
    """The end of a process that does one thing after another, without an event loop; raises `OSError`."""

    def __init__(self, path: Path):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._incoming = self._socket.makefile("rb")
        self._sending = threading.Lock()

    def tell(self, verb: str, *arguments: Any) -> None:
        """Call without an answer; from any thread."""
        self._send((None, verb, arguments))

    def when_gone(self, do: Callable[[], None]) -> None:
        """Call it, from a thread of its own, when the other end is gone, also while a call of it is answered."""
        threading.Thread(target=self._watch, args=(do,), name="line-watch", daemon=True).start()

    def _watch(self, do: Callable[[], None]) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLRDHUP)
        poll.poll()
        do()

    def answer_calls(self, answer: Callable[[str, tuple[Any, ...]], Any]) -> None:
        """Answer what the other end asks, one call at a time, on this thread, until that end is gone."""
        with contextlib.suppress(ConnectionError):
            while header := self._incoming.read(_LENGTH.size):
                number, verb, arguments = pickle.loads(self._incoming.read(*_LENGTH.unpack(header)))
                succeeded, value = True, None
                try:
                    value = answer(verb, arguments)
                except Exception as error:
                    succeeded, value = False, _portable(error)
                self._send((number, succeeded, value))
                del arguments, value  # they would stay until the next call, however large

    def close(self) -> None:
        self._incoming.close()
        self._socket.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        with self._sending:
            self._socket.sendall(_packed(message))


class Listener:
    """Takes lines at `path` from now on, in the place of a predecessor that is gone; raises `OSError`."""

    def __init__(self, path: Path, answer: Answer):
        path.unlink(missing_ok=True)
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(path))
            self._socket.listen(BACKLOG)
            self._socket.setblocking(False)
        except OSError:
            self._socket.close()
            raise
        loop = asyncio.get_running_loop()
        serving = loop.create_unix_server(lambda: Line(answer), sock=self._socket)
        self._serving = loop.create_task(serving, name=f"line {path.name}")

    def close(self) -> None:
        """No new lines; those that there are go on."""
        self._path.unlink(missing_ok=True)
        if self._serving.done():
            self._serving.result().close()
        else:
            self._serving.cancel()
            self._socket.close()


async def connect(path: Path) -> Line:
    """A line to who listens at `path`; raises `OSError` if nobody does."""
    _, line = await asyncio.get_running_loop().create_unix_connection(lambda: Line(_refuse), str(path))
    return line


def lines_folder() -> Path:
    """Where this user's sockets are on this node; raises `OSError` for a folder that others could enter."""
    parent = tempfile.gettempdir()
    folder = Path(parent if len(parent) <= LONGEST_FOLDER else "/tmp") / f"rayjobs-lines-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    facts = folder.lstat()
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise PermissionError(f"{folder} must be this user's, and nobody else may enter it: remove it, or set TMPDIR")
    return folder


def remove_stale() -> None:
    """Remove the sockets of processes that were killed: those at which nobody listens. Blocks."""
    for path in lines_folder().iterdir():
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            if path.lstat().st_mtime < time.time() - YOUNG_S and probe.connect_ex(str(path)):
                path.unlink()


async def _refuse(line: Line, verb: str, arguments: tuple[Any, ...]) -> None:
    raise RuntimeError(f"nothing here answers {verb}")


def _portable(error: Exception) -> Exception:
    """Only what both ends are sure to know; of anything else its text."""
    if isinstance(error, (RayJobsError, TimeoutError)):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))


def _packed(message: tuple[Any, ...]) -> bytes:
    try:
        content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        number, verb_or_success, _ = message
        if isinstance(verb_or_success, str):
            raise
        content = pickle.dumps((number, False, _portable(error)), pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content
