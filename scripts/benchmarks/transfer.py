"""Rows of what is large: a binary on its way in, a result on its way out."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from rayjobs import cluster
from rayjobs.service import Submission
from scripts.benchmarks.amounts import readable
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.progress import counted
from scripts.benchmarks.rows import row
from scripts.benchmarks.stage import APP, Stage, in_turn, on_ray, run_job, timed, upload

UPLOAD_BYTES = 100 * 10**6
RESULT_BYTES = 10 * 2**20
FILE = "a write and fsync of the same bytes"
RAY = "the same job over Ray's own transport"


@row("upload", "an upload of a binary of 100 MB")
def upload_large(stage: Stage) -> Measured:
    ours, file = [], []
    for _ in counted(stage.runs(5)):
        binary = _new_binary()
        ours.append(_rate(lambda binary=binary: upload(stage.http, "large", binary)))
        file.append(_rate(lambda binary=binary: _write(binary, stage.service.data_dir / "beside")))
    return Measured(Series(ours, "MB/s"), {FILE: Series(file, "MB/s")})


def _new_binary() -> bytes:
    """An archive of random bytes, so of a content that the store does not have yet."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("random.bin", os.urandom(UPLOAD_BYTES))
    return content.getvalue()


def _write(content: bytes, path: Path) -> None:
    with path.open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    path.unlink()


def _rate(step: Callable[[], None]) -> float:
    """MB a second of what moves such a binary."""
    return UPLOAD_BYTES / 10**6 / timed(step)


@row("result", "a job's result of 10 MiB of text over HTTP")
def result_large(stage: Stage) -> Measured:
    context = stage.context
    with on_ray(stage.service.ray_address):
        actor = cluster.find_now(cluster.context_actor_name(context))

        def over_ray() -> None:
            config = {"bytes": RESULT_BYTES}
            job = Submission(str(uuid4()), APP, "bench_jobs.Text", context, config, wait_s=60)
            _check(cluster.wait(actor.submit.remote(job)).result)

        ours, ray = in_turn(
            lambda: _check(run_job(stage.http, "bench_jobs.Text", context, bytes=RESULT_BYTES)),
            lambda: timed(over_ray),
            stage.runs(20),
            warm_up=2,
        )
    direct = run_job(stage.http, "bench_jobs.Direct", context, function="text", bytes=RESULT_BYTES, runs=3)
    note = f"the direct call, which moves nothing, takes {readable(min(direct['seconds']), 's')}"
    return Measured(ours, {RAY: ray}, note)


def _check(text: str) -> None:
    if len(text) != RESULT_BYTES:
        raise RuntimeError(f"a result of {len(text)} characters")
