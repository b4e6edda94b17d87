"""A cluster of two nodes, each with folders of its own: contexts use both, and the loss of one ends what needed it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rayjobs import cluster, local_ray
from tests.service import Api, Service, await_gone, eventually

ON_SECOND_NODE = "spark.ray.raydp_spark_executor.actor.resource.second=1"


TRIES = 20


@pytest.fixture(scope="module")
def second_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the second node has for itself."""
    return tmp_path_factory.mktemp("second")


@pytest.fixture(scope="module")
def two_nodes(second_folder: Path) -> Iterator[subprocess.Popen[str]]:
    local_ray.ensure_token()
    running = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("two_nodes.py")), str(second_folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | cluster.worker_environment(),
    )
    with running:
        yield running
        assert running.stdin
        running.stdin.close()
        assert running.wait(60) == 0


@pytest.fixture(scope="module")
def joined(two_nodes: subprocess.Popen[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that joined the cluster of two nodes; what it made there is ended at the end, the cluster lives on."""
    assert two_nodes.stdout
    address = two_nodes.stdout.readline().strip()
    folder = tmp_path_factory.mktemp("joined")
    config = folder / "rayjobs.conf"
    config.write_text("contexts.executor-timeout-s = 15")
    service = Service(folder / "data", ["--address", address, "--config", str(config)])
    service.start()
    yield service
    stop = [sys.executable, "-m", "rayjobs", "stop", "--address", address, "--data-dir", str(service.data_dir)]
    assert subprocess.run(stop, capture_output=True, timeout=120).returncode == 0
    assert service.stop() == 0


def test_a_node_without_the_store_fetches_a_binary_once_for_all_its_contexts_and_reads_data_files(
    joined, second_folder
):
    with joined.client() as client:
        api = Api(client)
        api.upload_jobs("nodes", "hello")
        api.upload_jobs("taste", "versions", "flavour", FLAVOUR="salty")
        copies = []
        for name in ("there", "there-too"):
            _create_on_second_node(client, name, second_folder)
            both = [api.start("taste", "versions.Taste", name, "seconds = 1").json()["jobId"] for _ in range(2)]
            tasted = [api.ended(job_id)["result"] for job_id in both]
            assert tasted == [{"driver": "salty", "executors": ["salty"]}] * 2
            [copy] = [path for path in (second_folder / "fetched").iterdir() if not path.name.startswith(".")]
            copies.append((copy.name, copy.stat().st_ino, copy.stat().st_mtime_ns))
        assert copies[0] == copies[1], "the second context fetched it again"
        assert (joined.data_dir / "binaries" / copies[0][0]).exists()
        path = client.post("/data/words", content=b"of the store").json()["result"]["filename"]
        assert api.run("nodes", "hello.ReadData", "there", f'file = "{path}"') == "of the store"
        folder = _folder_of(client, "there", second_folder)
        assert (folder / "data" / Path(path).name).read_text() == "of the store"
        for name in ("there", "there-too"):
            assert client.delete(f"/contexts/{name}").status_code == 200
        assert list((second_folder / "contexts").iterdir()) == []


def _create_on_second_node(client: httpx.Client, name: str, second_folder: Path) -> None:
    """Ray places a context's process, which asks for nothing, on either node at random: made until it is there."""
    for _ in range(TRIES):
        assert client.post(f"/contexts/{name}?num-cpu-cores=1").status_code == 200
        if _folder_of(client, name, second_folder).exists():
            return
        assert client.delete(f"/contexts/{name}").status_code == 200
    pytest.fail(f"no context on the second node in {TRIES} tries")


def _folder_of(client: httpx.Client, context: str, node_folder: Path) -> Path:
    return node_folder / "contexts" / client.get(f"/contexts/{context}").json()["id"]


def test_sigkill_of_a_second_nodes_raylet_ends_the_jobs_that_needed_it_and_nothing_else(joined, two_nodes):
    """Last: the second node does not come back."""
    with joined.client() as client:
        api = Api(client)
        api.upload_jobs("nodes", "hello")
        assert client.post(f"/contexts/far?num-cpu-cores=1&{ON_SECOND_NODE}").status_code == 200
        assert api.run("nodes", "hello.CountRange", "far") == 100
        context_id = client.get("/contexts/far").json()["id"]
        finished = api.start("nodes", "hello.Echo", "far", "value = 1", sync="true").json()["jobId"]
        needy = api.start("nodes", "hello.SlowTasks", "far", "seconds = 600").json()["jobId"]
        api.await_log(needy, "in a stage")
        two_nodes.stdin.write("kill\n")
        two_nodes.stdin.flush()
        report = api.ended(needy)
        assert report["status"] == "ERROR" and "Unexpected termination" in report["result"]["message"]
        assert api.job(finished)["result"] == 1
        await_gone(context_id)
        refused = eventually(lambda: _refusal(client), why="Ray has not noticed that the node is gone")
        assert "1 second" in refused["message"] and "and 0 second" in refused["message"]
        assert client.post("/contexts/near?num-cpu-cores=1").status_code == 200
        assert api.run("nodes", "hello.CountRange", "near") == 100


def _refusal(client: httpx.Client) -> dict[str, str] | None:
    """Why a context cannot have the second node, once Ray has noticed that it is gone."""
    reply = client.post(f"/contexts/far?num-cpu-cores=1&{ON_SECOND_NODE}")
    if reply.status_code == 200:
        client.delete("/contexts/far?force=true")
    return reply.json()["result"] if reply.json().get("code") == "not-enough-resources" else None
