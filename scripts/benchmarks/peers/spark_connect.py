"""Spark Connect: one server with a Spark of two cores, and its Python client in a process of its own."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.peers import downloads
from scripts.benchmarks.peers.program import Program, talking
from scripts.benchmarks.peers.spark_processes import spark_environment
from scripts.benchmarks.peers.work import RANGE, SQL, Work, rows_beside
from scripts.benchmarks.progress import counted
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.stage import PAUSE_S, Stage, create_context, delete_context, run_job, serving, timed

TITLE = "Spark Connect"
NEW_SESSION = "a new session of Spark Connect"
NOTE = (
    "one each second; a context has processes of its own, for itself and its jobs, a session is an object in the "
    "process of the server"
)


@dataclass(frozen=True)
class Client:
    """A process that has a session, does what a line of its input says, and answers with seconds."""

    program: Program

    def warm(self, work: Work) -> float:
        """In the session that it has."""
        return float(self.program.ask(f"warm {work.function}"))

    def new(self, work: Work) -> float:
        """In a session that it makes for it; that is timed too."""
        return float(self.program.ask(f"new {work.function}"))


@contextlib.contextmanager
def _connected() -> Iterator[Client]:
    [jar] = downloads.jars(downloads.SPARK_CONNECT, with_dependencies=False).glob("*.jar")
    package = downloads.python_package(downloads.GRPC_STATUS)
    with talking("peer_connect_server.py", str(jar), environment=spark_environment()) as server:
        environment = os.environ | {"PYTHONPATH": str(package)}
        with talking("peer_connect_client.py", server.said(), environment=environment) as client:
            yield Client(client)


@contextlib.contextmanager
def _warm_session(stage: Stage) -> Iterator[Callable[[Work], float]]:
    with _connected() as client:
        yield client.warm


rows_beside("connect", TITLE, _warm_session, [RANGE, SQL], runs=50, warm_up=10)


@row("peer-connect-session", "a new shared context and its first job, beside a new session", at_most(1.0, NEW_SESSION))
def session(stage: Stage) -> Measured:
    with serving("contexts.context-settings { num-cpu-cores = 2 }") as service, _connected() as client:

        def first_job() -> None:
            create_context(service.http, "shared", "context-per-jvm=false")
            run_job(service.http, RANGE.class_path, "shared")

        pairs = []
        for _ in counted(1 + stage.runs(10)):
            pairs.append((timed(first_job), client.new(RANGE)))
            delete_context(service.http, "shared")
            time.sleep(PAUSE_S)
    ours, others = zip(*pairs[1:], strict=True)
    return Measured(Series(list(ours), "s", 1), {NEW_SESSION: Series(list(others), "s", 1)}, NOTE)
