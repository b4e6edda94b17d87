"""Rows of one client with one warm context: the service's share of a job's time."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from rayjobs import cluster
from rayjobs.service import Submission
from scripts.benchmarks.measured import Measured
from scripts.benchmarks.rows import Goal, at_most, row
from scripts.benchmarks.stage import APP, Stage, in_turn, on_ray, repeated, run_job


def _percentiles(p50_ms: float, p99_ms: float) -> Goal:
    return Goal(
        f"p50 <= {p50_ms:g} ms, p99 <= {p99_ms:g} ms",
        lambda measured: measured.ours.median * 1000 <= p50_ms and measured.ours.percentile(99) * 1000 <= p99_ms,
    )


@row("noop-http", "a no-op sync job over HTTP, one client", _percentiles(5, 25))
def noop_http(stage: Stage) -> Measured:
    context = stage.context
    return Measured(repeated(lambda: run_job(stage.http, "bench_jobs.Noop", context), stage.runs(1000), warm_up=100))


@row("noop-ray", "the same over Ray's own transport", _percentiles(4, 25))
def noop_ray(stage: Stage) -> Measured:
    name = cluster.context_actor_name(stage.context)
    with on_ray(stage.service.ray_address):
        context = cluster.find_now(name)

        def submit() -> None:
            job = Submission(str(uuid4()), APP, "bench_jobs.Noop", stage.context, {}, wait_s=60)
            assert cluster.wait(context.submit.remote(job)).result_json == "null"

        return Measured(repeated(submit, stage.runs(1000), warm_up=100))


def _beside_direct_calls(stage: Stage, class_path: str, function: str, runs: int) -> Measured:
    """The job over HTTP and its function called in a runner of the same context, in turn."""
    context = stage.context
    ours, direct = in_turn(
        lambda: run_job(stage.http, class_path, context),
        _direct(stage, context, function),
        stage.runs(runs),
        warm_up=10,
    )
    return Measured(ours, {"the direct call": direct})


def _direct(stage: Stage, context: str, function: str) -> Callable[[], float]:
    def call() -> float:
        return run_job(stage.http, "bench_jobs.Direct", context, function=function, runs=1)["seconds"][0]

    return call


@row("small-sql", "a small SQL query on a warm context", at_most(1.10, "the direct call"))
def small_sql(stage: Stage) -> Measured:
    return _beside_direct_calls(stage, "bench_jobs.Sql", "small_sql", 50)


@row("word-count", "a word count with Python tasks on a warm context", at_most(1.10, "the direct call"))
def word_count(stage: Stage) -> Measured:
    return _beside_direct_calls(stage, "bench_jobs.WordCount", "word_count", 30)
