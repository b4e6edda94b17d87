"""Rows of memory: the proportional set size (PSS) of processes, in which what several share counts once."""

from __future__ import annotations

import time

import psutil
import ray

from rayjobs import local_ray
from scripts.benchmarks.amounts import readable
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.progress import counted
from scripts.benchmarks.raydp_session import RAYDP, raydp_session
from scripts.benchmarks.rows import at_most, row
from scripts.benchmarks.stage import (
    APP,
    JOBS,
    Service,
    Stage,
    create_context,
    delete_context,
    on_ray,
    run_job,
    serving,
    upload,
    zip_of,
)

CONTEXT = "weighed"
SETTLE_S = 5.0
"""Until a spare runner is up, and what started beside it is quiet."""

Processes = set[psutil.Process]


@row("memory-service", "memory (PSS) of an idle service: server, supervisor, store")
def memory_service(stage: Stage) -> Measured:
    with serving("") as service, on_ray(service.ray_address):
        time.sleep(SETTLE_S)
        ray_and_actors = _with_children({_ray_head(service)})
        server = _with_children({psutil.Process(service.process.pid)}) - ray_and_actors
        ours = server | _actors()
        beside = readable(_pss(ray_and_actors - ours), "bytes")
        return Measured(_bytes(_pss(ours)), note=f"Ray's own processes take {beside} beside it")


@row("memory-context", "memory (PSS) of a warm context with one executor of 1 GiB", at_most(0.7, RAYDP))
def memory_context(stage: Stage) -> Measured:
    ours, raydp = [], []
    with serving("") as service, on_ray(service.ray_address):
        for _ in counted(stage.runs(3)):
            ours.append(_context_pss(service))
            raydp.append(_raydp_pss())
    return Measured(_bytes(*ours), {RAYDP: _bytes(*raydp)}, "each after a small Spark job; ours with a spare runner")


def _context_pss(service: Service) -> int:
    before = _actors()
    _warm_context(service)
    size = _pss(_with_children(_actors() - before))
    delete_context(service.http, CONTEXT)
    time.sleep(SETTLE_S)
    return size


def _raydp_pss() -> int:
    with raydp_session() as session:
        time.sleep(SETTLE_S)
        return _pss({psutil.Process(pid) for pid in session.pids})


@row("memory-runner", "memory (PSS) of one more runner in a context")
def memory_runner(stage: Stage) -> Measured:
    sizes = []
    with serving("") as service, on_ray(service.ray_address):
        before = _actors()
        _warm_context(service)
        for number in counted(stage.runs(5)):
            without = _pss(_with_children(_actors() - before))
            # Another binary takes the spare runner, and a new spare one starts.
            upload(service.http, f"{APP}-{number}", zip_of(JOBS))
            run_job(service.http, "bench_jobs.Range", CONTEXT, app=f"{APP}-{number}")
            time.sleep(SETTLE_S)
            sizes.append(_pss(_with_children(_actors() - before)) - without)
    return Measured(_bytes(*sizes))


def _warm_context(service: Service) -> None:
    create_context(service.http, CONTEXT)
    run_job(service.http, "bench_jobs.Range", CONTEXT)
    time.sleep(SETTLE_S)


def _ray_head(service: Service) -> psutil.Process:
    """What the processes of the service's own Ray descend from."""
    found = local_ray.find(service.data_dir)
    if found is None:
        raise RuntimeError("the service has no Ray of its own")
    return psutil.Process(found.pid)


def _actors() -> Processes:
    """The processes of the living actors of this process's Ray, in all namespaces."""
    actors = ray._private.state.actors().values()
    return {psutil.Process(actor["Pid"]) for actor in actors if actor["State"] == "ALIVE"}


def _with_children(processes: Processes) -> Processes:
    return processes.union(*(process.children(recursive=True) for process in processes))


def _pss(processes: Processes) -> int:
    return sum(process.memory_full_info().pss for process in processes)


def _bytes(*sizes: int) -> Series:
    return Series(list(sizes), "bytes")
