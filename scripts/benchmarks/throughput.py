"""Rows of many clients at once: jobs per second."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from statistics import mean

from scripts.benchmarks.load import Answers, Load, put_on
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.progress import counted
from scripts.benchmarks.rows import Goal, at_least, rate_of, row
from scripts.benchmarks.stage import APP, Service, Stage, create_context, run_job, serving

CLIENTS = (1, 8, 32, 128)
GOALS = {32: rate_of(600)}
DIRECT = "the direct call in as many threads"
THREADS = 8
JOBS_PER_THREAD = 40
WARM_UP_ROUNDS = 4


def _register(clients: int, goal: Goal | None) -> None:
    what = f"no-op sync jobs over HTTP, {clients} client{'s' if clients > 1 else ''}"

    @row(f"noop-clients-{clients}", what, goal)
    def noop_clients(stage: Stage) -> Measured:
        with _slots(clients) as service:
            answers = _answers(service, "bench_jobs.Noop", clients, stage.runs(8))
        note = f"{answers.refused} requests were refused (503) and do not count" if answers.refused else ""
        return Measured(Series(answers.rates, "jobs/s", warm_up=3), note=note)


for number in CLIENTS:
    _register(number, GOALS.get(number))


@row("spark-jobs", f"small Spark jobs over HTTP, {THREADS} clients", at_least(0.9, DIRECT))
def spark_jobs(stage: Stage) -> Measured:
    ours, direct = [], []
    with _slots(THREADS) as service:
        for _ in counted(WARM_UP_ROUNDS + stage.runs(5)):
            ours.append(mean(_answers(service, "bench_jobs.Range", THREADS, windows=4).rates))
            direct.append(_direct_rate(service))
    return Measured(_after_warm_up(ours), {DIRECT: _after_warm_up(direct)})


def _after_warm_up(rates: list[float]) -> Series:
    """Without the first rounds, in which the JVMs compile what both run."""
    return Series(rates[WARM_UP_ROUNDS:], "jobs/s", WARM_UP_ROUNDS)


@contextlib.contextmanager
def _slots(number: int) -> Iterator[Service]:
    """A service of its own, with the warm context `busy` of so many job slots."""
    with serving(f"contexts.max-jobs-per-context = {number}") as service:
        create_context(service.http, "busy", "num-cpu-cores=2&memory-per-node=1g")
        run_job(service.http, "bench_jobs.Range", "busy")
        yield service


def _answers(service: Service, class_path: str, clients: int, windows: int) -> Answers:
    return put_on(Load(service.url, APP, class_path, "busy", clients, windows))


def _direct_rate(service: Service) -> float:
    config = {"function": "small_range", "threads": THREADS, "runs": JOBS_PER_THREAD}
    done = run_job(service.http, "bench_jobs.Direct", "busy", **config)
    return THREADS * JOBS_PER_THREAD / done["wall_s"]
