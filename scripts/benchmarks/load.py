"""Many clients at once, in a process of their own: each posts the same sync job again and again on a connection."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass

from aiohttp import ClientSession, TCPConnector

WINDOW_S = 1.0


@dataclass(frozen=True)
class Load:
    """Jobs of `class_path` in `context`, posted to the service at `url` by so many clients.

    They are counted in `windows` of a second each, after every client has had an answer and `warm_up_s` more.
    """

    url: str
    app: str
    class_path: str
    context: str
    clients: int
    windows: int
    warm_up_s: float = 3.0


@dataclass(frozen=True)
class Answers:
    """Finished jobs per second in each window, and how many requests were refused (503) in all of them."""

    rates: list[float]
    refused: int


def put_on(load: Load) -> Answers:
    """Blocks until it is over; raises `RuntimeError` if any job did not finish well."""
    command = [sys.executable, "-m", "scripts.benchmarks.load", json.dumps(asdict(load))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the clients failed: {done.stderr.strip().splitlines()[-1]}")
    return Answers(**json.loads(done.stdout))


async def _clients(load: Load) -> Answers:
    """The clients' process."""
    finished: list[float] = []
    refused: list[float] = []
    over = asyncio.Event()

    async def post() -> None:
        async with session.post("/jobs", params=query, json={}) as reply:
            if reply.status == 503:
                refused.append(time.perf_counter())
            elif reply.status == 200 and (await reply.json())["status"] == "FINISHED":
                finished.append(time.perf_counter())
            else:
                raise RuntimeError(f"{reply.status} {await reply.text()}")

    async def post_until_over() -> None:
        while not over.is_set():
            await post()

    query = {"appName": load.app, "classPath": load.class_path, "context": load.context, "sync": "true"}
    async with ClientSession(load.url, connector=TCPConnector(limit=0)) as session:
        await asyncio.gather(*(post() for _ in range(load.clients)))
        async with asyncio.TaskGroup() as group:
            for _ in range(load.clients):
                group.create_task(post_until_over())
            await asyncio.sleep(load.warm_up_s)
            begun = time.perf_counter()
            await asyncio.sleep(load.windows * WINDOW_S)
            over.set()
    return answers_in(finished, refused, begun, load.windows)


def answers_in(finished: list[float], refused: list[float], begun: float, windows: int) -> Answers:
    """What came within the windows from `begun` on; all times are seconds of one clock."""
    counts = [0] * windows
    for moment in finished:
        if 0 <= (window := int((moment - begun) // WINDOW_S)) < windows:
            counts[window] += 1
    return Answers([count / WINDOW_S for count in counts], sum(moment >= begun for moment in refused))


if __name__ == "__main__":
    answers = asyncio.run(_clients(Load(**json.loads(sys.argv[1]))))
    print(json.dumps(asdict(answers)))
