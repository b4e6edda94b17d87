"""The message flows that clients of spark-jobserver know, one test each and named after it, every branch."""

from __future__ import annotations

import re

import pytest

from tests.service import eventually, zip_of


@pytest.fixture(autouse=True)
def app(api) -> None:
    api.upload_jobs("flows", "hello", "broken")


# LocalClusterSupervisor: context routes


def test_get_a_list_of_all_known_context_names(api, context):
    reply = api.http.get("/contexts")
    assert reply.status_code == 200 and context in reply.json()


def test_create_a_context_with_given_name_and_configuration_parameters(api, context):
    """Created, exists, fails: AkkaClusterSupervisor's `POST /contexts` too, STARTED and ERROR in the history."""
    created = api.http.post("/contexts/flow?numCores=1&memPerNode=512m")
    assert (created.status_code, created.json()) == (200, {"status": "SUCCESS", "result": "Context initialized"})
    again = api.http.post("/contexts/flow")
    assert (again.status_code, again.json()["result"]) == (400, "context flow exists")
    failed = api.http.post("/contexts/failing?spark.driver.memory=none")
    assert (failed.status_code, failed.json()["status"]) == (500, "CONTEXT INIT ERROR")
    assert "-Xmxnone" in failed.json()["result"]["message"]
    assert api.http.get("/contexts/failing").status_code == 404
    assert api.http.post("/contexts/failing?num-cpu-cores=1").status_code == 200
    assert api.http.delete("/contexts/failing").status_code == 200


def test_delete_a_context_with_given_name(api, context):
    """AkkaClusterSupervisor's normal flow; the one that times out stands in `test_lifecycle.py`, with its settings."""
    api.http.post("/contexts/flow?num-cpu-cores=1")
    deleted = api.http.delete("/contexts/flow")
    assert (deleted.status_code, deleted.json()) == (200, {"status": "SUCCESS", "result": "Context stopped"})
    assert api.http.get("/contexts/flow").status_code == 404
    missing = api.http.delete("/contexts/flow")
    assert (missing.status_code, missing.json()["result"]) == (404, "context flow not found")


# LocalClusterSupervisor: job routes


def test_get_a_list_of_job_info_of_all_known_jobs(api, context):
    ran = api.start("flows", "hello.Echo", context, "value = 1", sync="true").json()["jobId"]
    failed = api.start("flows", "hello.Raise", context, sync="true").json()["jobId"]
    reply = api.http.get("/jobs?limit=2")
    assert [job["jobId"] for job in reply.json()] == [failed, ran]
    assert [job["status"] for job in reply.json()] == ["ERROR", "FINISHED"]
    assert {"context": context, "classPath": "hello.Echo"}.items() <= reply.json()[1].items()
    assert re.fullmatch(r"\d+\.\d+ secs", reply.json()[1]["duration"])


def test_get_job_result_with_job_id(api, context):
    """Unknown, running, in error, finished; and finished in a context that is gone, there not handled."""
    unknown = api.http.get("/jobs/none")
    assert (unknown.status_code, unknown.json()["result"]) == (404, "No such job ID none")
    running = api.start("flows", "hello.Sleep", context, "seconds = 60").json()["jobId"]
    assert api.job(running)["status"] == "RUNNING" and "result" not in api.job(running)
    api.http.delete(f"/jobs/{running}")
    failed = api.start("flows", "hello.Raise", context, sync="true").json()["jobId"]
    assert api.job(failed)["result"]["message"] == "nothing there"
    adhoc = api.start("flows", "hello.Echo", None, "value = 8", sync="true", timeout=60).json()["jobId"]
    name = api.job(adhoc)["context"]
    eventually(lambda: name not in api.http.get("/contexts").json())
    assert (api.job(adhoc)["status"], api.job(adhoc)["result"]) == ("FINISHED", 8)


def test_submit_a_job(api, context):
    """No such context, application, class; no slot; refused by its validation; async, sync, failing."""
    assert api.start("flows", "hello.Echo", "none").json()["result"] == "context none not found"
    assert api.start("none", "hello.Echo", context).json()["result"] == "appName none not found"
    assert api.start("flows", "hello.None", context).json()["result"] == "classPath hello.None not found"
    refused = api.start("flows", "hello.Greet", context)
    assert (refused.status_code, refused.json()["status"]) == (400, "VALIDATION FAILED")
    started = api.start("flows", "hello.Echo", context, "value = 2")
    assert (started.status_code, started.json()["status"]) == (202, "STARTED")
    assert api.ended(started.json()["jobId"])["result"] == 2
    ran = api.start("flows", "hello.Echo", context, "value = 3", sync="true")
    assert (ran.status_code, ran.json()["result"]) == (200, 3)
    failed = api.start("flows", "hello.Raise", context, sync="true")
    assert (failed.status_code, failed.json()["status"]) == (200, "ERROR")
    holders = [api.start("flows", "hello.Sleep", context, "seconds = 600").json()["jobId"] for _ in range(8)]
    full = api.start("flows", "hello.Echo", context)
    for job_id in holders:
        api.http.delete(f"/jobs/{job_id}")
    assert (full.status_code, full.json()["status"]) == (503, "NO SLOTS AVAILABLE")


def test_kill_a_job_with_job_id(api, context):
    assert api.http.delete("/jobs/none").json()["result"] == "No such job ID none"
    running = api.start("flows", "hello.Sleep", context, "seconds = 60").json()["jobId"]
    killed = api.http.delete(f"/jobs/{running}")
    assert (killed.status_code, killed.json()) == (200, {"status": "KILLED"})
    failed = api.start("flows", "hello.Raise", context, sync="true").json()["jobId"]
    error = api.http.delete(f"/jobs/{failed}")
    assert (error.status_code, error.json()["status"]) == (200, "ERROR")
    assert error.json()["ERROR"]["message"] == "nothing there"


# AkkaClusterSupervisor


@pytest.mark.parametrize(
    ("class_path", "status"), [("hello.Echo", 200), ("hello.Raise", 200), ("hello.Greet", 400), ("broken.Job", 400)]
)
def test_adhoc_contexts_stop(api, class_path, status):
    """Whatever becomes of its job: it returns, raises, is refused by its validation, cannot be loaded."""
    assert api.start("flows", class_path, None, sync="true", timeout=60).status_code == status
    eventually(lambda: not [name for name in api.http.get("/contexts").json() if name.endswith(f"-{class_path}")])


def test_a_binary_goes_up_is_listed_and_goes(api):
    """Jar routes: the flows name them without drawing them."""
    assert api.upload("passing", zip_of({"a.py": "x = 1"})).status_code == 201
    assert "passing" in api.http.get("/binaries").json()
    assert api.http.delete("/binaries/passing").status_code == 200
    assert "passing" not in api.http.get("/binaries").json()
