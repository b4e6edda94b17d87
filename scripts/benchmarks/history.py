"""Rows of long histories: what the service does when its store has had many jobs, beside an empty store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import duckdb
import httpx

from rayjobs.store.sql import SCHEMA
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.rows import Goal, at_most, median_within, row
from scripts.benchmarks.stage import Stage, create_context, in_turn, run_job, serving, timed

EMPTY = "an empty store"
SIZES = {"10k": 10_000, "1m": 1_000_000}
SHOWN = 50
CONTEXT = "history"
KEEP_ALL = "records.retention-s = 0"
OLD_JOBS = """
    INSERT INTO jobs BY NAME
    SELECT uuid()::VARCHAR AS job_id, 'old' AS context_id, 'old' AS context_name, 'bench' AS app_name,
        'Zip' AS binary_type, TIMESTAMP '2026-01-01' AS upload_time, repeat('0', 64) AS sha256, 1000 AS size_bytes,
        'bench_jobs.Noop' AS class_path, 'FINISHED' AS state, now()::TIMESTAMP - to_seconds($jobs - n) AS start_time,
        start_time + INTERVAL 10 MILLISECOND AS end_time, format('{{"day": {}}}', n) AS config, true AS is_async,
        'null' AS result
    FROM generate_series(1, $jobs) AS numbers(n)
"""
"""One each second, up to now."""


@dataclass(frozen=True)
class Beside:
    """Seconds of each thing done, with the history and on an empty store, in turn."""

    listing: tuple[Series, Series]
    submission: tuple[Series, Series]


def _register(size: str, listing_goal: Goal | None, submission_goal: Goal | None) -> None:
    def beside(stage: Stage) -> Beside:
        return stage.once(f"history-{size}", lambda: _beside_an_empty_store(stage, SIZES[size]))

    @row(f"list-{size}", f"`GET /jobs` of {SHOWN} jobs, {SIZES[size]:,} in the store", listing_goal)
    def listing(stage: Stage) -> Measured:
        ours, empty = beside(stage).listing
        return Measured(ours, {EMPTY: empty})

    @row(f"submit-{size}", f"a no-op sync job over HTTP, {SIZES[size]:,} jobs in the store", submission_goal)
    def submission(stage: Stage) -> Measured:
        ours, empty = beside(stage).submission
        return Measured(ours, {EMPTY: empty})


_register("10k", None, None)
_register("1m", median_within(0.010), at_most(1.2, EMPTY))


def _beside_an_empty_store(stage: Stage, jobs: int) -> Beside:
    """Two services at once. Those that list have both had the jobs that were submitted just before."""
    with serving(KEEP_ALL, lambda data_dir: _fill(data_dir, jobs)) as full, serving(KEEP_ALL) as empty:
        for service in (full, empty):
            create_context(service.http, CONTEXT)
        submission = _in_turn(stage.runs(300), _submit, full.http, empty.http, warm_up=SHOWN)
        listing = _in_turn(stage.runs(300), _list, full.http, empty.http, warm_up=5)
        return Beside(listing, submission)


def _in_turn(
    runs: int, step: Callable[[httpx.Client], None], full: httpx.Client, empty: httpx.Client, warm_up: int
) -> tuple[Series, Series]:
    return in_turn(lambda: step(full), lambda: timed(lambda: step(empty)), runs, warm_up)


def _submit(http: httpx.Client) -> None:
    run_job(http, "bench_jobs.Noop", CONTEXT)


def _list(http: httpx.Client) -> None:
    if len(http.get("/jobs", params={"limit": SHOWN}).json()) != SHOWN:
        raise RuntimeError(f"the list has not {SHOWN} jobs")


def _fill(data_dir: Path, jobs: int) -> None:
    """So many ended jobs, written as the store writes them."""
    with duckdb.connect(str(data_dir / "rayjobs.duckdb")) as database:
        database.execute(SCHEMA)
        database.execute(OLD_JOBS, {"jobs": jobs})
