"""A Spark session as RayDP's users make it: `raydp.init_spark` in a Python process of its own, on a Ray of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from rayjobs.spark import jvm

RAYDP = "raydp.init_spark"
"""What rows call it."""
APP_NAME = "benchmark"
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class RaydpSession:
    """It is up, and has run `session.range(100).count()`. Both times are from the first import on, without Ray's start.

    `pids` are those of its own processes, without Ray's.
    """

    session_s: float
    first_job_s: float
    pids: list[int]


@contextlib.contextmanager
def raydp_session() -> Iterator[RaydpSession]:
    """One with an executor of one core and 1 GiB and Spark's own JVM flags; ended when the block is left."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scripts.benchmarks.raydp_session"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | jvm.java_environment(),
    )
    assert process.stdin and process.stdout
    try:
        said = next((line for line in process.stdout if line.startswith("{")), None)
        if said is None:
            raise RuntimeError("raydp.init_spark failed")
        yield RaydpSession(**json.loads(said))
    finally:
        process.stdin.close()
        process.wait(STOP_TIMEOUT_S)
        process.stdout.close()


def main() -> None:
    """The process: says what it saw, then waits for the end of its input."""
    begun = time.perf_counter()
    import ray
    import raydp

    imports_s = time.perf_counter() - begun
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    begun = time.perf_counter() - imports_s
    session = raydp.init_spark(APP_NAME, num_executors=1, executor_cores=1, executor_memory="1g")
    session_s = time.perf_counter() - begun
    session.range(100).count()
    seen = RaydpSession(session_s, time.perf_counter() - begun, _own_pids())
    print(json.dumps(vars(seen)), flush=True)
    sys.stdin.read()
    raydp.stop_spark()
    ray.shutdown()


def _own_pids() -> list[int]:
    import ray

    actors = [actor["Pid"] for actor in ray._private.state.actors().values() if actor["State"] == "ALIVE"]
    drivers = [child.pid for child in psutil.Process().children() if child.name() == "java"]
    return [os.getpid(), *drivers, *actors]


if __name__ == "__main__":
    main()
