"""The work that a peer and a job of ours do in turn: functions of `jobs/bench_jobs.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from scripts.benchmarks.measured import Measured
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.stage import Stage, in_turn, run_job


@dataclass(frozen=True)
class Work:
    """`function` and the job `class_path` are in bench_jobs, and do the same."""

    name: str
    what: str
    function: str
    class_path: str


NOOP = Work("noop", "a no-op", "noop", "bench_jobs.Noop")
RANGE = Work("range", "a count of 100 rows", "small_range", "bench_jobs.Range")
SQL = Work("sql", "a small SQL query", "small_sql", "bench_jobs.Sql")

Peer = Callable[[Stage], AbstractContextManager[Callable[[Work], float]]]
"""Makes a peer ready for work; what it gives does one piece of work, and returns the seconds that it took."""


def rows_beside(
    peer: str, title: str, opened: Peer, works: Sequence[Work], runs: int, warm_up: int = 0, note: str = ""
) -> None:
    """A row `peer-<peer>-<work>` for each work: a sync job of a warm context over HTTP beside the peer."""
    for work in works:
        row(f"peer-{peer}-{work.name}", f"{work.what}, beside {title}", at_most(1.0, title))(
            _measure(title, opened, work, runs, warm_up, note)
        )


def _measure(title: str, opened: Peer, work: Work, runs: int, warm_up: int, note: str) -> Callable[[Stage], Measured]:
    def measure(stage: Stage) -> Measured:
        context = stage.context
        with opened(stage) as run:
            ours, peers = in_turn(
                lambda: run_job(stage.http, work.class_path, context), lambda: run(work), stage.runs(runs), warm_up
            )
        return Measured(ours, {title: peers}, note)

    return measure
