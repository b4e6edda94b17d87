"""Rows of work that executors do: what our choice of JVM flags costs or saves."""

from __future__ import annotations

from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.progress import counted
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.stage import Service, Stage, create_context, run_job, serving

CONTEXT = "cpu"
ROWS_HASHED = 24_000_000
SPARKS_OWN = "Spark's default JVM flags"
SPARKS_FLAGS = 'contexts { jvm-options = "", executor-jvm-options = "" }'


@row("cpu-heavy", "CPU-heavy SQL on two cores of an executor", at_most(1 / 0.97, SPARKS_OWN))
def cpu_heavy(stage: Stage) -> Measured:
    with serving("") as ours, serving(SPARKS_FLAGS) as sparks:
        for service in (ours, sparks):
            create_context(service.http, CONTEXT, "num-cpu-cores=2&memory-per-node=1g")
            _seconds(service)
        pairs = [(_seconds(ours), _seconds(sparks)) for _ in counted(stage.runs(7))]
    return Measured(
        Series([pair[0] for pair in pairs], warm_up=1),
        {SPARKS_OWN: Series([pair[1] for pair in pairs], warm_up=1)},
        "the job's own time, on contexts of two services, in turn",
    )


def _seconds(service: Service) -> float:
    """What the work takes, without the way to it."""
    config = {"function": "cpu_heavy", "rows": ROWS_HASHED, "runs": 1}
    return run_job(service.http, "bench_jobs.Direct", CONTEXT, **config)["seconds"][0]
