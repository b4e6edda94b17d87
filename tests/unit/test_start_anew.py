"""A server whose Ray ends: the same process, the same socket, a new program. A `sleep` stands for Ray."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from rayjobs import local_ray, start_anew

SERVER = """
import socket, subprocess, sys, time
import psutil
from rayjobs import local_ray
from rayjobs.local_ray import LocalRay, RayNotStarted
from rayjobs.start_anew import RayWatch, handed_over

mode = sys.argv[1]
try:
    before = handed_over()
except RayNotStarted as failure:
    sys.exit(f"gave up: {failure}")
listener = socket.socket(fileno=before.socket_fd) if before else socket.create_server(("127.0.0.1", 0))
process = subprocess.Popen(["sleep", "60"])
ray = LocalRay("", process.pid, local_ray._start_of(psutil.Process(process.pid)), "")
watch = RayWatch(ray, listener, lambda text: None, before.tries if before else 0)
with watch.watching():
    if mode != "starting":
        watch.serves(lambda: mode == "stopping")
    print(before.tries if before else 0, listener.getsockname()[1], process.pid, flush=True)
    if mode == "failing":
        process.wait()
        raise OSError("the connection to Ray broke")
    time.sleep(60)
"""


@pytest.fixture
def servers() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for server in started:
        for child in psutil.Process(server.pid).children() if server.poll() is None else []:
            child.kill()
        server.kill()
        server.communicate()


def start(servers: list[subprocess.Popen[str]], mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SERVER, mode]
    servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    return servers[-1]


def said(server: subprocess.Popen[str]) -> tuple[int, int, int]:
    """Tries before, port, the process that stands for Ray."""
    assert server.stdout
    tries, port, ray = map(int, server.stdout.readline().split())
    return tries, port, ray


@pytest.mark.parametrize("mode", ["starting", "serving", "failing"])
def test_it_starts_anew_in_its_place_and_gives_up_after_three_tries(
    servers: list[subprocess.Popen[str]], mode: str
) -> None:
    server = start(servers, mode)
    tries, port, ray = said(server)
    for expected in (1, 2, 3):
        os.kill(ray, signal.SIGKILL)
        tries, same_port, ray = said(server)
        assert (tries, same_port) == (expected, port)
    os.kill(ray, signal.SIGKILL)
    _, errors = server.communicate(timeout=20)
    assert server.returncode == 1 and "gave up: Ray ended as it started, 4 times" in errors


def test_a_server_that_is_asked_to_stop_wants_no_new_ray(servers: list[subprocess.Popen[str]]) -> None:
    server = start(servers, "stopping")
    _, _, ray = said(server)
    os.kill(ray, signal.SIGKILL)
    with pytest.raises(subprocess.TimeoutExpired):
        server.wait(2)
    assert start_anew.VARIABLE not in psutil.Process(server.pid).environ()
    assert psutil.Process(server.pid).children() in ([], [psutil.Process(ray)] if psutil.pid_exists(ray) else [])


def test_a_step_of_the_clock_is_no_end_of_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    process = psutil.Process()
    ray = local_ray.LocalRay("", process.pid, local_ray._start_of(process), "")
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: 12.0)
    assert local_ray.lives(ray)
    assert not local_ray.lives(local_ray.LocalRay("", process.pid, "another", ""))
