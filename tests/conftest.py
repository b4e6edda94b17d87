"""What all tests share: one service on one Ray cluster, and one context, started when first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service import Api, Service, eventually, is_alive


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A running service; at the end it must stop cleanly and leave no process behind."""
    data_dir: Path = tmp_path_factory.mktemp("service") / "data"
    running = Service(data_dir)
    running.start()
    yield running
    ours = psutil.Process().children(recursive=True) + _ray_processes(data_dir)
    assert running.stop() == 0
    eventually(lambda: not _alive(ours), why=lambda: f"left behind: {_alive(ours)}")


@pytest.fixture
def api(service: Service) -> Iterator[Api]:
    with service.client() as client:
        yield Api(client)


@pytest.fixture(scope="session")
def context(service: Service) -> str:
    """A context that tests may run jobs in, and must leave running."""
    with service.client() as client:
        reply = client.post("/contexts/shared?num-cpu-cores=2&memory-per-node=512m")
        assert reply.status_code == 200, reply.text
    return "shared"


def _ray_processes(data_dir: Path) -> list[psutil.Process]:
    """The Ray of a data directory runs in a session of its own, so is not among our children."""
    from rayjobs import local_ray

    found = local_ray.find(data_dir)
    if found is None:
        return []
    head = psutil.Process(found.pid)
    return [head, *head.children(recursive=True)]


def _alive(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if is_alive(process)]
