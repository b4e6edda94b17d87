"""The service as Ray sees it: named actors and tasks, usable from any Python process on the cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import psutil

from tests.service import await_gone, eventually

CALLER = """
import json, sys
import ray
from rayjobs.service import Submission

ray.init(address=sys.argv[1], namespace="another", log_to_driver=False, logging_level="ERROR")
supervisor = ray.get_actor("supervisor", namespace="rayjobs")
contexts = ray.get(supervisor.list_contexts.remote())
context = ray.get_actor("context:shared", namespace="rayjobs")
replies = [
    ray.get(actor.submit.remote(Submission(f"from-python-{n}", "actors", "hello.Echo", "shared", {"value": n}, 60)))
    for n, actor in enumerate((supervisor, context))
]
print(json.dumps([contexts, [[reply.job.state, reply.result] for reply in replies]]))
"""


def test_another_python_process_lists_contexts_and_runs_jobs(api, context, service):
    api.upload_jobs("actors", "hello")
    called = subprocess.run(
        [sys.executable, "-c", CALLER, service.ray_address],
        env=os.environ | {"RAY_AUTH_MODE": "token"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert called.returncode == 0, called.stderr
    contexts, results = json.loads(called.stdout)
    assert "shared" in contexts and results == [["FINISHED", 0], ["FINISHED", 1]]
    assert api.job("from-python-1")["result"] == 1


def test_actors_and_jobs_have_readable_names(api, context, on_ray):
    from ray.util.state import list_actors, list_tasks

    api.upload_jobs("named", "hello")
    job_id = api.start("named", "hello.Sleep", context, "seconds = 20").json()["jobId"]
    api.await_log(job_id, "sleeping")

    def by_name() -> dict[str, Any]:
        return {a.name: a for a in list_actors(filters=[("state", "=", "ALIVE")], limit=1000, detail=True)}

    eventually(lambda: {"supervisor", "job-store", "context:shared", "raydp-executor-0"} <= by_name().keys())
    alive = by_name()
    assert [name for name in alive if name.startswith("shared/runner-")]
    assert all(alive[name].is_detached for name in ("supervisor", "job-store", "context:shared"))
    of_the_job = [("name", "=", f"hello.Sleep {job_id}")]
    eventually(lambda: [task.state for task in list_tasks(filters=of_the_job, limit=10)] == ["RUNNING"])
    api.http.delete(f"/jobs/{job_id}")


def test_sigkill_of_a_context_takes_its_jvms_and_ends_its_jobs(api, service, on_ray):
    import ray

    api.upload_jobs("mortal", "hello")
    assert api.http.post("/contexts/mortal?num-cpu-cores=1").status_code == 200
    context_id = api.http.get("/contexts/mortal").json()["id"]
    job_id = api.start("mortal", "hello.Spin", "mortal").json()["jobId"]
    actor = next(a for a in ray.util.state.list_actors(filters=[("name", "=", "context:mortal")]) if a.state == "ALIVE")
    psutil.Process(actor.pid).kill()
    report = api.ended(job_id)
    assert report["status"] == "ERROR" and "Unexpected termination of context" in report["result"]["message"]
    await_gone(context_id)
    eventually(lambda: api.http.get("/contexts/mortal").status_code == 404)
    assert api.http.post("/contexts/mortal?num-cpu-cores=1").status_code == 200
    assert api.http.delete("/contexts/mortal").status_code == 200


def test_killing_the_http_server_loses_nothing(api, context, service):
    api.upload_jobs("survivor", "hello")
    running = api.start("survivor", "hello.Sleep", context, "seconds = 5").json()["jobId"]
    finished = api.start("survivor", "hello.Echo", context, "value = kept", sync="true").json()["jobId"]
    service.kill()
    service.start()
    with service.client() as client:
        from tests.service import Api

        again = Api(client)
        assert context in client.get("/contexts").json()
        assert again.ended(running)["result"] == "slept"
        assert again.job(finished)["result"] == "kept"
        assert again.run("survivor", "hello.Echo", context, "value = 5") == 5


def test_a_second_server_on_the_cluster_serves_the_same_contexts_and_leaves_them_up(api, context, service, tmp_path):
    from tests.service import Service

    second = Service(tmp_path / "data", ["--address", service.ray_address])
    second.start()
    with second.client() as client:
        assert context in client.get("/contexts").json()
    assert second.stop() == 0
    assert context in api.http.get("/contexts").json()
