"""Spark of one job: an application in a process of its own, by `spark-submit` or as a plain Python program."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

from rayjobs.spark import jvm
from scripts.benchmarks.peers.program import finish
from scripts.benchmarks.peers.work import NOOP, RANGE, SQL, Peer, Work, rows_beside
from scripts.benchmarks.stage import JOBS, Stage, timed

PROGRAM = JOBS.with_name("peer_spark.py")
SUBMIT = jvm.package_dir("pyspark") / "bin" / "spark-submit"


def spark_environment() -> dict[str, str]:
    """The same Java as rayjobs has, Spark's own JVM flags, ports on the loopback address alone."""
    return os.environ | jvm.java_environment() | {"SPARK_LOCAL_IP": "127.0.0.1"}


def _peer(command: list[str]) -> Peer:
    """Runs `command` with the program and the name of the function: whole processes are timed."""

    @contextlib.contextmanager
    def opened(stage: Stage) -> Iterator[Callable[[Work], float]]:
        yield lambda work: timed(lambda: finish([*command, str(PROGRAM), work.function], spark_environment()))

    return opened


rows_beside("spark-submit", "spark-submit", _peer([str(SUBMIT)]), [NOOP, RANGE, SQL], runs=5, warm_up=1)
rows_beside("spark-session", "a SparkSession for each job", _peer([sys.executable]), [RANGE, SQL], runs=5, warm_up=1)
