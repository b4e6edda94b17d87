"""Apache Livy's server, which runs each batch that is posted with a spark-submit of its own.

Its interactive sessions are left out: they need livy-repl, which the Maven repository did not have.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx

from rayjobs.spark import jvm
from scripts.benchmarks.peers import downloads
from scripts.benchmarks.peers.program import TIMEOUT_S
from scripts.benchmarks.peers.spark_processes import PROGRAM, spark_environment
from scripts.benchmarks.peers.work import NOOP, RANGE, SQL, Work, rows_beside
from scripts.benchmarks.stage import Stage, timed

POLL_S = 0.02
"""Finer than most users poll, to the peer's favour."""

NOTE = "Livy 0.7.1 says that it is not verified with Spark 3.5; its batches run"
STARTED = "Starting server on "

_CONFIG = f"""
livy.server.host = 127.0.0.1
livy.server.port = 0
livy.spark.master = local[2]
livy.file.local-dir-whitelist = {PROGRAM.parent}
"""

_LOGGING = """
log4j.rootLogger=INFO, console
log4j.appender.console=org.apache.log4j.ConsoleAppender
log4j.appender.console.layout=org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern=%m%n
"""


@contextlib.contextmanager
def _batches(stage: Stage) -> Iterator[Callable[[Work], float]]:
    with _server() as url, httpx.Client(base_url=url, timeout=TIMEOUT_S) as http:
        yield lambda work: timed(lambda: _batch(http, work))


def _batch(http: httpx.Client, work: Work) -> None:
    """Posted, and ended in success."""
    reply = http.post("/batches", json={"file": f"file:{PROGRAM}", "args": [work.function]}).raise_for_status()
    batch = f"/batches/{reply.json()['id']}"
    while (state := http.get(f"{batch}/state").raise_for_status().json()["state"]) in ("starting", "running"):
        time.sleep(POLL_S)
    if state != "success":
        raise RuntimeError(f"Livy's batch ended {state}: {http.get(f'{batch}/log').text}")


@contextlib.contextmanager
def _server() -> Iterator[str]:
    """The URL of a server that ends with the block."""
    jars = downloads.jars(downloads.LIVY, with_dependencies=True)
    home = Path(tempfile.mkdtemp(prefix="rayjobs-bench-livy-"))
    (home / "logs").mkdir()
    (home / "livy.conf").write_text(_CONFIG)
    (home / "log4j.properties").write_text(_LOGGING)
    environment = spark_environment() | {
        "LIVY_HOME": str(home),
        "LIVY_CONF_DIR": str(home),
        "SPARK_HOME": str(jvm.package_dir("pyspark")),
    }
    command = [str(jvm.java_home() / "bin" / "java"), "-cp", f"{home}:{jars}/*", "org.apache.livy.server.LivyServer"]
    output = home / "server.log"
    with output.open("w") as log:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield _said_url(process, output)
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)
        shutil.rmtree(home)


def _said_url(process: subprocess.Popen[bytes], output: Path) -> str:
    deadline = time.monotonic() + TIMEOUT_S
    while STARTED not in (said := output.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Livy did not start:\n{said[-2000:]}")
        time.sleep(0.1)
    return said.split(STARTED)[1].split()[0]


rows_beside("livy-batch", "a batch of Apache Livy", _batches, [NOOP, RANGE, SQL], runs=5, warm_up=1, note=NOTE)
