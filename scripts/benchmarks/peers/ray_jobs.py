"""Ray's Jobs API on the Ray of the shared service: an entrypoint in a new process for each job."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import ray
from ray.job_submission import JobStatus, JobSubmissionClient

from rayjobs import cluster
from scripts.benchmarks.peers.program import finish
from scripts.benchmarks.peers.work import NOOP, RANGE, Work, rows_beside
from scripts.benchmarks.stage import JOBS, Stage, timed

ENTRYPOINTS = {
    NOOP: [sys.executable, "-c", "pass"],
    RANGE: [sys.executable, str(JOBS.with_name("peer_raydp.py")), RANGE.function],
}
POLL_S = 0.02
"""Finer than most users poll, to the peer's favour."""


@contextlib.contextmanager
def _sdk(stage: Stage) -> Iterator[Callable[[Work], float]]:
    client = JobSubmissionClient(_dashboard(stage))
    yield lambda work: timed(lambda: _submit(client, shlex.join(ENTRYPOINTS[work])))


def _submit(client: JobSubmissionClient, entrypoint: str) -> None:
    """Submitted, and SUCCEEDED."""
    job = client.submit_job(entrypoint=entrypoint)
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(POLL_S)
    if status != JobStatus.SUCCEEDED:
        raise RuntimeError(f"Ray's job ended {status}: {client.get_job_logs(job)[-2000:]}")


@contextlib.contextmanager
def _command(stage: Stage) -> Iterator[Callable[[Work], float]]:
    submit = [str(Path(sys.executable).with_name("ray")), "job", "submit", "--address", _dashboard(stage), "--"]
    environment = os.environ | {"RAY_AUTH_MODE": "token"}

    yield lambda work: timed(lambda: finish([*submit, *ENTRYPOINTS[work]], environment))


def _dashboard(stage: Stage) -> str:
    """Its address; raises `RuntimeError` where the Ray of the service has none."""
    cluster.join(stage.service.ray_address)
    try:
        url = cluster.dashboard_url()
    finally:
        ray.shutdown()
    if url is None:
        raise RuntimeError("this Ray has no dashboard, and so no Jobs API")
    return url


rows_beside("ray-sdk", "Ray's job SDK", _sdk, [NOOP], runs=10, warm_up=1)
rows_beside("ray-cli", "ray job submit", _command, [NOOP], runs=5, warm_up=1)
rows_beside(
    "ray-sdk", "a Ray job with raydp.init_spark", _sdk, [RANGE], runs=3, note="the peer starts Spark for each job"
)
