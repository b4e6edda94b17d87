"""DELETE /jobs/<id>: a kill that is real, and disturbs nobody else."""

from __future__ import annotations

import pytest

from tests.service import Api, eventually


@pytest.fixture(scope="module", autouse=True)
def hello(service) -> None:
    with service.client() as client:
        Api(client).upload_jobs("killing", "hello")


@pytest.mark.parametrize(("job", "word"), [("Spin", "spinning"), ("SpinInStage", "in a stage")])
def test_a_stuck_job_is_killed_and_another_one_finishes(api, context, job, word):
    stuck = api.start("killing", f"hello.{job}", context).json()["jobId"]
    other = api.start("killing", "hello.Sleep", context, "seconds = 4").json()["jobId"]
    api.await_log(stuck, word)
    api.await_log(other, "sleeping")
    reply = api.http.delete(f"/jobs/{stuck}")
    assert reply.status_code == 200 and reply.json() == {"status": "KILLED"}
    report = api.job(stuck)
    assert report["status"] == "KILLED" and report["result"]["message"] == f"Job {stuck} killed"
    assert word in api.http.get(f"/jobs/{stuck}/log").text
    assert api.ended(other)["result"] == "slept"
    eventually(lambda: api.run("killing", "hello.Echo", context, "value = 1") == 1)


@pytest.mark.parametrize("job", ["SpinInStage", "SpinInThread"])
def test_a_kill_reaches_the_spark_work_of_a_job_and_of_its_own_threads(api, context, job):
    stuck = api.start("killing", f"hello.{job}", context).json()["jobId"]
    api.await_log(stuck, "in a stage")
    ui = api.http.get(f"/contexts/{context}").json()
    stages = f"{ui['url']}/api/v1/applications/{ui['applicationId']}/stages?status=active"
    eventually(lambda: api.http.get(stages).json())
    api.http.delete(f"/jobs/{stuck}")
    eventually(lambda: api.http.get(stages).json() == [], why="tasks run on after the kill")


def test_spark_work_that_a_killed_job_had_not_begun_yet_ends_as_it_begins(api, context):
    stuck = api.start("killing", "hello.SpinAfterPlanning", context).json()["jobId"]
    api.await_log(stuck, "planning")
    assert api.http.delete(f"/jobs/{stuck}").json() == {"status": "KILLED"}
    ui = api.http.get(f"/contexts/{context}").json()
    jobs = f"{ui['url']}/api/v1/applications/{ui['applicationId']}/jobs"
    begun = eventually(lambda: [job for job in api.http.get(jobs).json() if stuck in job["jobTags"]])
    assert len(begun) == 1
    eventually(lambda: api.http.get(f"{jobs}/{begun[0]['jobId']}").json()["status"] == "FAILED", why="it runs on")


def test_a_waiter_of_a_killed_sync_job_is_told(api, context, service):
    import threading

    heard = []

    def wait() -> None:
        with service.client() as client:
            heard.append(Api(client).start("killing", "hello.Spin", context, sync="true", timeout=60).json())

    waiter = threading.Thread(target=wait)
    waiter.start()
    running = eventually(lambda: [j for j in api.http.get("/jobs?status=running").json() if "Spin" in j["classPath"]])
    api.http.delete(f"/jobs/{running[0]['jobId']}")
    waiter.join(30)
    assert heard and heard[0]["status"] == "KILLED"


def test_what_is_not_running_cannot_be_killed(api, context):
    done = api.start("killing", "hello.Echo", context, sync="true").json()["jobId"]
    failed = api.start("killing", "hello.Raise", context, sync="true").json()["jobId"]
    assert api.http.delete(f"/jobs/{done}").status_code == 404
    assert api.http.delete(f"/jobs/{done}").json()["result"] == f"No running job with ID {done}"
    assert api.http.delete(f"/jobs/{failed}").json()["status"] == "ERROR"
    assert api.http.delete("/jobs/no-such-id").json()["result"] == "No such job ID no-such-id"
