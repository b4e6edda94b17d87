"""Rows of how long it takes until a context is there: cold, shared, from standby."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.progress import counted
from scripts.benchmarks.raydp_session import RAYDP, raydp_session
from scripts.benchmarks.rows import at_most, median_within, p95_within, row
from scripts.benchmarks.stage import (
    PAUSE_S,
    Service,
    Stage,
    create_context,
    delete_context,
    on_ray,
    run_job,
    serving,
    timed,
)
from scripts.benchmarks.standby import await_gone, await_ready

SMALL = "num-cpu-cores = 1, memory-per-node = 1g"
STANDBY_SETTINGS = f"contexts {{ standby = 1, context-settings {{ {SMALL} }} }}"
SETTLE_S = 3.0
APPLICATION_SETTLE_S = 8.0
"""From when a Spark application is up until its executor is, too, and the machine is quiet."""
COLD_NOTE = (
    "executors of one core and 1 GiB, Ray is up for both; ours from the request on, RayDP's from the first import of "
    "its new Python process on"
)


@dataclass(frozen=True)
class ColdStarts:
    """Seconds from the request, or the call, to the session, and to the end of a first small job."""

    session: tuple[Series, Series]
    first_job: tuple[Series, Series]


@row("cold-session", "a cold `POST /contexts` until it answers 200", at_most(0.25, RAYDP))
def cold_session(stage: Stage) -> Measured:
    ours, raydp = stage.once("cold", lambda: _cold_starts(stage)).session
    return Measured(ours, {RAYDP: raydp}, COLD_NOTE)


@row("cold-first-job", "the same through a first small Spark job", at_most(0.30, RAYDP))
def cold_first_job(stage: Stage) -> Measured:
    ours, raydp = stage.once("cold", lambda: _cold_starts(stage)).first_job
    return Measured(ours, {RAYDP: raydp})


def _cold_starts(stage: Stage) -> ColdStarts:
    ours, raydp = [], []
    for _ in counted(stage.runs(3)):
        ours.append(_cold_start(stage.service))
        time.sleep(SETTLE_S)
        with raydp_session() as session:
            raydp.append((session.session_s, session.first_job_s))
        time.sleep(SETTLE_S)
    (our_sessions, our_jobs), (sessions, jobs) = zip(*ours, strict=True), zip(*raydp, strict=True)
    return ColdStarts(
        (Series(list(our_sessions)), Series(list(sessions))), (Series(list(our_jobs)), Series(list(jobs)))
    )


def _cold_start(service: Service) -> tuple[float, float]:
    begun = time.perf_counter()
    create_context(service.http, "cold")
    session_s = time.perf_counter() - begun
    run_job(service.http, "bench_jobs.Range", "cold")
    first_job_s = time.perf_counter() - begun
    delete_context(service.http, "cold")
    return session_s, first_job_s


@row("shared-context", "a context on the shared Spark application, one each second", median_within(0.3))
def shared_context(stage: Stage) -> Measured:
    with serving(f"contexts.context-settings {{ {SMALL} }}") as service:

        def create() -> None:
            create_context(service.http, "shared", "context-per-jvm=false")

        create()
        time.sleep(APPLICATION_SETTLE_S)
        values = []
        for _ in counted(stage.runs(10)):
            delete_context(service.http, "shared")
            time.sleep(PAUSE_S)
            values.append(timed(create))
        note = f"from {APPLICATION_SETTLE_S:g} s after the first one, which started the application"
        return Measured(Series(values, warm_up=1), note=note)


@row("standby-context", "a context that takes a Spark application from standby")
def standby_context(stage: Stage) -> Measured:
    return _from_standby(
        stage,
        lambda service: create_context(service.http, "taker", ""),
        lambda service: delete_context(service.http, "taker"),
    )


@row("adhoc", "an ad-hoc no-op sync job, its context from standby", p95_within(1.0))
def adhoc(stage: Stage) -> Measured:
    return _from_standby(stage, lambda service: run_job(service.http, "bench_jobs.Noop", None))


@row("adhoc-spark", "an ad-hoc small Spark job, its context from standby")
def adhoc_spark(stage: Stage) -> Measured:
    return _from_standby(stage, lambda service: run_job(service.http, "bench_jobs.Range", None))


def _from_standby(
    stage: Stage, take: Callable[[Service], None], end: Callable[[Service], None] = lambda service: None
) -> Measured:
    """`take` timed while an application stands by, which it must take; `end` ends what took it."""
    values = []
    with serving(STANDBY_SETTINGS) as service, on_ray(service.ray_address):
        for _ in counted(stage.runs(10)):
            host_id = await_ready()
            time.sleep(APPLICATION_SETTLE_S)
            values.append(timed(lambda: take(service)))
            end(service)
            await_gone(host_id)
    return Measured(Series(values), note=f"each {APPLICATION_SETTLE_S:g} s after the one that stands by was up")
