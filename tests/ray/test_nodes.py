"""A cluster of two nodes: contexts use both, and the loss of one ends what needed it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rayjobs import cluster, local_ray
from rayjobs.settings import Settings
from tests.service import Api, Service, eventually, processes_with

ON_SECOND_NODE = "spark.ray.raydp_spark_executor.actor.resource.second=1"


@pytest.fixture
def two_nodes() -> Iterator[subprocess.Popen[str]]:
    local_ray.ensure_token()
    running = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("two_nodes.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | cluster.worker_environment(Settings()),
    )
    with running:
        yield running
        assert running.stdin
        running.stdin.close()
        assert running.wait(60) == 0


@pytest.fixture
def joined(two_nodes: subprocess.Popen[str], tmp_path: Path) -> Iterator[Service]:
    """A service that joined the cluster of two nodes; what it made there is ended at the end, the cluster lives on."""
    assert two_nodes.stdout
    address = two_nodes.stdout.readline().strip()
    config = tmp_path / "rayjobs.conf"
    config.write_text("contexts.executor-timeout-s = 5")
    service = Service(tmp_path / "data", ["--address", address, "--config", str(config)])
    service.start()
    yield service
    stop = [sys.executable, "-m", "rayjobs", "stop", "--address", address, "--data-dir", str(service.data_dir)]
    assert subprocess.run(stop, capture_output=True, timeout=120).returncode == 0
    assert service.stop() == 0


def test_sigkill_of_a_second_nodes_raylet_ends_the_jobs_that_needed_it_and_nothing_else(joined, two_nodes):
    with joined.client() as client:
        api = Api(client)
        api.upload_jobs("nodes", "hello")
        assert client.post(f"/contexts/far?num-cpu-cores=1&{ON_SECOND_NODE}").status_code == 200
        assert api.run("nodes", "hello.CountRange", "far") == 100
        context_id = client.get("/contexts/far").json()["id"]
        finished = api.start("nodes", "hello.Echo", "far", "value = 1", sync="true").json()["jobId"]
        needy = api.start("nodes", "hello.SlowTasks", "far", "seconds = 60").json()["jobId"]
        api.await_log(needy, "in a stage")
        two_nodes.stdin.write("kill\n")
        two_nodes.stdin.flush()
        report = api.ended(needy, 60)
        assert report["status"] == "ERROR" and "Unexpected termination" in report["result"]["message"]
        assert api.job(finished)["result"] == 1
        eventually(lambda: not processes_with(context_id), 20, f"left behind: {processes_with(context_id)}")
        refused = eventually(lambda: _refusal(client), 60, "Ray has not noticed that the node is gone")
        assert "1 second" in refused["message"] and "and 0 second" in refused["message"]
        assert client.post("/contexts/near?num-cpu-cores=1").status_code == 200
        assert api.run("nodes", "hello.CountRange", "near") == 100


def _refusal(client: httpx.Client) -> dict[str, str] | None:
    """Why a context cannot have the second node, once Ray has noticed that it is gone."""
    reply = client.post(f"/contexts/far?num-cpu-cores=1&{ON_SECOND_NODE}")
    if reply.status_code == 200:
        client.delete("/contexts/far?force=true")
    return reply.json()["result"] if reply.json().get("code") == "not-enough-resources" else None
