"""HTTP served by several processes: one that dies is replaced, and none outlives its service."""

from __future__ import annotations

import psutil
import pytest

from rayjobs import local_ray
from tests.service import Api, Service, eventually, serving


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    yield from serving.__wrapped__(tmp_path_factory.mktemp("processes"), "http.processes = 2")


def _workers(server: psutil.Process) -> list[psutil.Process]:
    """The processes that serve HTTP: children that multiprocessing has spawned, without its resource tracker."""
    return [child for child in server.children() if _serves(child)]


def _serves(process: psutil.Process) -> bool:
    try:
        return "--multiprocessing-fork" in process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def test_a_process_that_dies_is_replaced_and_none_outlives_the_server(service):
    server = psutil.Process(service.process.pid)
    with service.client() as client:
        api = Api(client)
        assert client.post("/contexts/many?num-cpu-cores=1").status_code == 200
        assert api.run("jobs", "hello.Echo", "many", "value = 1") == 1
    before = eventually(lambda: len(found := _workers(server)) == 2 and found)
    before[0].kill()
    now = eventually(lambda: before[0] not in (found := _workers(server)) and len(found) == 2 and found)
    for _ in range(8):  # each on a connection of its own, which any of them may take
        with service.client() as client:
            assert Api(client).run("jobs", "hello.Echo", "many", "value = 2") == 2
    service.kill()
    eventually(lambda: not any(_serves(worker) for worker in now), why="HTTP processes outlived their server")
    service.start()
    with service.client() as client:
        assert Api(client).run("jobs", "hello.Echo", "many", "value = 3") == 3


def test_all_processes_start_anew_with_a_server_whose_ray_ends(service):
    before = eventually(lambda: len(found := _workers(psutil.Process(service.process.pid))) == 2 and found)
    ray = local_ray.find(service.data_dir)
    assert ray
    psutil.Process(ray.pid).kill()
    now = eventually(lambda: len(found := _new_workers(service, before)) == 2 and found)
    eventually(lambda: not any(_serves(worker) for worker in before), why="HTTP processes of the old server live on")
    with service.client() as client:
        assert client.get("/contexts").json() == []
    assert all(_serves(worker) for worker in now)


def _new_workers(service: Service, before: list[psutil.Process]) -> list[psutil.Process]:
    return [worker for worker in _workers(psutil.Process(service.process.pid)) if worker not in before]
