"""The service as a whole: everything killed at once under load, and contexts that come and go in numbers."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from rayjobs import local_ray
from tests.service import Api, Service, command_of, eventually, kill, ray_process, ray_processes, serving, title_of

SETTINGS = """
contexts { max-jobs-per-context = 20, context-settings { num-cpu-cores = 1 } }
"""
GROWTH_LIMIT_BYTES = 40 * 2**20


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("sturdy"), SETTINGS) as service:
        yield service


def test_twenty_jobs_survive_the_http_server_supervisor_and_store(sturdy):
    with sturdy.client() as client:
        api = Api(client)
        assert client.post("/contexts/busy").status_code == 200
        # Runners start one after another: each job sleeps until all are there, and then some.
        go = sturdy.data_dir / "go"
        wait_for = f'file = "{go}"'
        jobs = [api.start("jobs", "hello.AwaitFile", "busy", wait_for).json()["jobId"] for _ in range(20)]
        assert len(client.get("/jobs?status=running").json()) == 20
        supervisor, store = ray_process(sturdy, "ray::Supervisor"), ray_process(sturdy, "ray::Store")
    sturdy.kill()
    store.kill()
    supervisor.kill()
    go.touch()
    sturdy.start()
    with sturdy.client() as client:
        api = Api(client)
        assert [api.ended(job_id)["result"] for job_id in jobs] == jobs
        assert {job["jobId"] for job in client.get("/jobs?limit=100").json()} == set(jobs)
        assert api.run("jobs", "hello.Echo", "busy", "value = 1") == 1
        assert client.delete("/contexts/busy").status_code == 200


@pytest.mark.timeout(900)
def test_thirty_contexts_come_and_go_and_leave_nothing(sturdy):
    """Every third has a Spark application of its own, the others share one; half of them are killed, whenever."""
    dice = random.Random(4)
    sizes: list[int] = []
    with sturdy.client() as client:
        for n in range(30):
            name = f"fleeting-{n}"
            parameters = {} if n % 3 == 0 else {"context-per-jvm": "false"}
            if n % 2:
                _create_and_kill(sturdy, name, parameters, dice.uniform(0, 1.5 if parameters else 6))
            else:
                assert client.post(f"/contexts/{name}", params=parameters).status_code == 200
                assert Api(client).run("jobs", "hello.Echo", name, "value = 1") == 1
                assert client.delete(f"/contexts/{name}").status_code == 200
            sizes.append(_memory_of_the_service(sturdy))
        eventually(lambda: client.get("/contexts").json() == [])
        eventually(lambda: list((sturdy.data_dir / "contexts").iterdir()) == [], why="folders of contexts are left")
        ours = ("ray::Context", "ray::Runner of")
        eventually(
            lambda: not [p for p in ray_processes(sturdy) if title_of(p).startswith(ours)], why="actors are left"
        )
        ready = [p for p in ray_processes(sturdy) if command_of(p).strip() == "ray::Runner"]
        assert len(ready) <= 1, "the shared application has more than one runner to lend"
        [driver] = [p for p in ray_processes(sturdy) if "PythonGatewayServer" in command_of(p)]
        assert "rayjobs-spark-shared-" in command_of(driver), "the shared application has the only driver JVM"
        assert client.get("/jobs?status=running").json() == []
    first, last = sum(sizes[5:10]) / 5, sum(sizes[25:]) / 5
    assert last - first < GROWTH_LIMIT_BYTES, f"memory of supervisor and store: {[s >> 20 for s in sizes]} MiB"


def _create_and_kill(service: Service, name: str, parameters: dict[str, str], after_s: float) -> None:
    """Ask for a context, and kill its process `after_s` later, wherever it is then; or it was never there."""
    heard: list[httpx.Response] = []

    def create() -> None:
        with service.client() as client:
            heard.append(client.post(f"/contexts/{name}", params=parameters))

    creating = threading.Thread(target=create)
    creating.start()
    creating.join(after_s)
    for process in ray_processes(service):
        if title_of(process) == "ray::Context":
            kill(process)
    creating.join(60)
    assert heard, f"the request for {name} was never answered"
    with service.client() as client:
        if heard[0].status_code == 200:
            eventually(lambda: client.delete(f"/contexts/{name}").status_code in (200, 404))
        eventually(lambda: client.get(f"/contexts/{name}").status_code == 404, why=f"{name} is still there")


def _memory_of_the_service(service: Service) -> int:
    return sum(ray_process(service, title).memory_info().rss for title in ("ray::Supervisor", "ray::Store"))


def test_the_loss_of_ray_itself_keeps_the_history_and_a_new_server_starts_anew(sturdy):
    with sturdy.client() as client:
        api = Api(client)
        assert client.post("/contexts/drowning").status_code == 200
        finished = api.start("jobs", "hello.Echo", "drowning", "value = 1", sync="true").json()["jobId"]
        running = api.start("jobs", "hello.Sleep", "drowning", "seconds = 60").json()["jobId"]
    head = local_ray.find(sturdy.data_dir)
    assert head
    before = ray_processes(sturdy)
    sturdy.kill()
    psutil.Process(head.pid).kill()
    sturdy.start()
    eventually(lambda: not [process for process in before if process.is_running()], why="the old Ray is still there")
    with sturdy.client() as client:
        api = Api(client)
        assert api.job(finished)["result"] == 1
        lost = api.ended(running)
        assert (lost["status"], lost["result"]["errorClass"]) == ("ERROR", "ContextLost")
        assert client.get("/contexts").json() == []
        assert client.post("/contexts/drowning").status_code == 200
        assert api.run("jobs", "hello.Echo", "drowning", "value = 2") == 2
        assert client.delete("/contexts/drowning").status_code == 200


def test_a_server_whose_ray_ends_starts_anew_in_its_place(sturdy):
    with sturdy.client() as client:
        api = Api(client)
        assert client.post("/contexts/sinking").status_code == 200
        finished = api.start("jobs", "hello.Echo", "sinking", "value = 1", sync="true").json()["jobId"]
    head = local_ray.find(sturdy.data_dir)
    assert head
    psutil.Process(head.pid).kill()
    eventually(lambda: (ray := local_ray.find(sturdy.data_dir)) and ray != head, why="no new Ray")
    with sturdy.client() as client:
        api = Api(client)
        eventually(lambda: _answers(client), why="the server does not serve again")
        assert api.job(finished)["result"] == 1
        assert client.get("/contexts").json() == []
        assert client.post("/contexts/sinking").status_code == 200
        assert api.run("jobs", "hello.Echo", "sinking", "value = 2") == 2
        assert client.delete("/contexts/sinking").status_code == 200


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_ray_that_dies_as_it_starts_is_started_again(tmp_path):
    assert any(_starts_anew_without_its_ray(tmp_path / f"{n}" / "data") for n in range(3))


def _starts_anew_without_its_ray(data_dir: Path) -> bool:
    """False if Ray was not killed before the start was over."""
    data_dir.parent.mkdir()
    service = Service(data_dir)
    killer = threading.Thread(target=_kill_the_first_raylet, args=(service,), daemon=True)
    killer.start()
    try:
        service.start()
        killer.join()
        said = list(service.said)
        with service.client() as client:
            eventually(lambda: _answers(client))
    finally:
        status = service.stop()
    assert status == 0
    return any("starting anew" in line for line in said)


def _kill_the_first_raylet(service: Service) -> None:
    """Once the server has joined it, which its first actor shows."""
    ray = eventually(lambda: local_ray.find(service.data_dir))
    raylet = next(process for process in psutil.Process(ray.pid).children() if process.name() == "raylet")
    eventually(lambda: any(title_of(worker) == "ray::Store" for worker in raylet.children()))
    raylet.kill()
