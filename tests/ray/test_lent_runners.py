"""Runners that the shared Spark application has attached ahead of the contexts that they are lent to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.service import Api, command_of, eventually, is_alive, kill

SHARED = "context-per-jvm=false"
HOST = "shared-"


@pytest.fixture(scope="module", autouse=True)
def shared_application(service) -> Iterator[None]:
    """It is up, and has the binary `lent`."""
    with service.client() as client:
        Api(client).upload_jobs("lent", "hello")
        assert client.post(f"/contexts/opener?{SHARED}").status_code == 200
        yield
        assert client.delete("/contexts/opener").status_code == 200


@pytest.fixture
def borrower(api: Api, on_ray) -> Iterator[str]:
    """A context of that application, made when a runner was ready for it."""
    eventually(_ready)
    assert api.http.post(f"/contexts/borrower?{SHARED}").status_code == 200
    yield "borrower"
    api.http.delete("/contexts/borrower?force=true")


def _runners() -> dict[str, Any]:
    """The host's runners that are alive, as Ray knows them, by their names."""
    from ray.util.state import list_actors

    alive = list_actors(filters=[("state", "=", "ALIVE"), ("class_name", "=", "Runner")], limit=1000)
    return {actor.name: actor for actor in alive if actor.name.startswith(HOST)}


def _ready() -> dict[str, psutil.Process]:
    """Those that no context has, as their processes' titles say."""
    pids = {actor.pid: name for name, actor in _runners().items()}
    processes = {pids[process.pid]: process for process in psutil.process_iter() if process.pid in pids}
    return {name: process for name, process in processes.items() if command_of(process).strip() == "ray::Runner"}


def test_the_first_job_of_a_context_has_a_runner_of_the_host_and_another_one_takes_its_place(api, borrower):
    lent = api.run("lent", "hello.RunnerName", borrower)
    assert lent.startswith(HOST)
    assert api.run("lent", "hello.RunnerName", borrower) == lent
    eventually(_ready)
    assert lent not in _ready()


def test_a_lent_runner_that_dies_costs_its_job_alone_and_rays_word_on_it_is_told(api, borrower):
    pid = _runners()[api.run("lent", "hello.RunnerName", borrower)].pid
    job_id = api.start("lent", "hello.Spin", borrower).json()["jobId"]
    api.await_log(job_id, "spinning")
    psutil.Process(pid).kill()
    result = api.ended(job_id)["result"]
    assert result["errorClass"] == "RunnerDied" and "The actor died" in result["stack"]
    assert api.run("lent", "hello.Echo", borrower, "value = 4") == 4


@pytest.mark.parametrize("job", ["Echo", "Spin"])
def test_a_lent_runner_ends_with_its_context(api, borrower, job):
    from ray.util.state import list_actors

    lent = api.run("lent", "hello.RunnerName", borrower)
    runner = psutil.Process(_runners()[lent].pid)
    job_id = api.start("lent", f"hello.{job}", borrower).json()["jobId"]
    if job == "Spin":
        api.await_log(job_id, "spinning")
    [context] = list_actors(filters=[("name", "=", f"context:{borrower}"), ("state", "=", "ALIVE")])
    psutil.Process(context.pid).kill()
    eventually(lambda: not is_alive(runner), why="it outlived its context")
    eventually(lambda: api.http.get(f"/contexts/{borrower}").status_code == 404)


def test_one_that_died_before_it_was_lent_is_passed_over(api, borrower):
    [ready] = eventually(_ready).values()
    kill(ready)
    assert api.http.post(f"/contexts/passes-over?{SHARED}").status_code == 200
    assert api.run("lent", "hello.RunnerName", "passes-over").startswith("passes-over/")
    assert api.http.delete("/contexts/passes-over").status_code == 200
