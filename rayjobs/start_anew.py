"""The server starts anew when the Ray that it started has ended: in the same process, on the same socket.

Ray's client in a process that has lost its Ray waits for a minute, then ends that process: a new program in its place
is the one sure way out. It does not help in the moment in which Ray's client joins: that client holds the interpreter,
and ends the process itself if Ray dies then.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import NoReturn

from rayjobs import local_ray
from rayjobs.local_ray import LocalRay, RayNotStarted

VARIABLE = "RAYJOBS_STARTED_ANEW"
MOST_TRIES = 3
STEADY_S = 60.0
"""A server that served for that long has its tries back."""
STOP_PATIENCE_S = 0.3
"""A stop of everything at once may reach Ray a moment before the server."""
LOOK_EVERY_S = 0.2
NOTICED_WITHIN_S = 3.0
"""`ray start` looks at its processes once a second, and ends when one of them has."""


@dataclass(frozen=True)
class Handover:
    """What the program before leaves to the next; `tries` counts the starts in a row that did not serve for long."""

    socket_fd: int
    tries: int


def handed_over() -> Handover | None:
    """What the program before us left, if we were started anew; raises `RayNotStarted` if that does not help.

    To be asked once: the processes that we start are not to know of it.
    """
    text = os.environ.pop(VARIABLE, "")
    if not text:
        return None
    handover = Handover(**json.loads(text))
    if handover.tries > MOST_TRIES:
        raise RayNotStarted(f"Ray ended as it started, {handover.tries} times; ray.log in the data directory says more")
    return handover


class RayWatch:
    """Starts this server anew when `ray` ends. `tries` starts before this one did not come to serve for long."""

    def __init__(self, ray: LocalRay, listener: socket.socket, say: Callable[[str], None], tries: int):
        self._ray = ray
        self._listener = listener
        self._say = say
        self._tries = tries
        self._serves_since: float | None = None
        self._is_stopping: Callable[[], bool] = lambda: False

    def serves(self, is_stopping: Callable[[], bool]) -> None:
        """The start has succeeded. Whoever ends Ray once `is_stopping` wants no new one."""
        self._serves_since = time.monotonic()
        self._is_stopping = is_stopping

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While inside; what fails inside because Ray has ended is no failure of ours."""
        done = threading.Event()
        threading.Thread(target=self._watch, args=(done,), name="ray-watch", daemon=True).start()
        try:
            yield
        except Exception:
            if not self._is_stopping() and self._has_ended():
                self._start_anew()
            raise
        finally:
            done.set()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(LOOK_EVERY_S):
            if not local_ray.lives(self._ray):
                time.sleep(STOP_PATIENCE_S)
                if self._is_stopping() or done.is_set():
                    return
                self._start_anew()

    def _has_ended(self) -> bool:
        deadline = time.monotonic() + NOTICED_WITHIN_S
        while local_ray.lives(self._ray):
            if time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY_S)
        return True

    def _start_anew(self) -> NoReturn:
        self._say("the Ray that rayjobs started has ended (see ray.log.1 in the data directory): starting anew")
        sys.stdout.flush()
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()
        self._listener.set_inheritable(True)
        was_steady = self._serves_since is not None and time.monotonic() - self._serves_since > STEADY_S
        handover = Handover(self._listener.fileno(), 1 if was_steady else self._tries + 1)
        os.environ[VARIABLE] = json.dumps(asdict(handover))
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
