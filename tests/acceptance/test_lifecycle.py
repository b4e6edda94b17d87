"""What needs settings of its own: a service with few CPUs that supervises contexts and has some of them configured."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.service import Api, Service, await_gone, driver_of, eventually, ray_process, serving, unable_to_write

SETTINGS = """
ray.num-cpus = 4
contexts {
  supervise = true
  restart-attempts = 2
  deletion-timeout-s = 0.1
  kill-after-s = 5
  context-settings.num-cpu-cores = 2
  predefined { kept { num-cpu-cores = 1 } }
}
job-defaults { value = { default = 1, other = 2 } }
"""


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("tuned"), SETTINGS) as service:
        yield service


@pytest.fixture
def on(tuned: Service) -> Iterator[Api]:
    with tuned.client() as client:
        api = Api(client)
        eventually(lambda: "kept" in client.get("/contexts").json())
        yield api
        for name in set(client.get("/contexts").json()) - {"kept"}:
            client.delete(f"/contexts/{name}?force=true")
        eventually(lambda: client.get("/contexts").json() == ["kept"])


def _actor_process(context_id: str) -> psutil.Process:
    """The context's actor is the parent of its driver JVM, which names the context's folder."""
    driver = driver_of(context_id)
    parent = driver and driver.parent()
    assert parent
    return parent


def test_configured_contexts_and_binaries_are_there_from_the_start(on):
    assert "jobs" in on.http.get("/binaries").json()
    assert on.run("jobs", "hello.Echo", "kept", "value = 1") == 1


def test_a_job_gets_its_config_over_the_jobs_defaults_of_the_server_and_nothing_else_of_it(on):
    assert on.run("jobs", "hello.Echo", "kept", "value.other = 3") == {"default": 1, "other": 3}
    assert on.run("jobs", "hello.Keys", "kept", "mine = 1") == ["mine", "value"]


def test_reset_stops_all_contexts_and_makes_the_configured_ones_again(on):
    first = on.http.get("/contexts/kept").json()["id"]
    assert on.http.post("/contexts/extra?num-cpu-cores=1").status_code == 200
    reply = on.http.put("/contexts?reset=reboot")
    assert (reply.status_code, reply.json()["result"]) == (200, "Context reset")
    assert on.http.get("/contexts/extra").status_code == 404
    second = eventually(lambda: _running_other_than(on, first))
    assert on.http.put("/contexts?reset=reboot&sync=false").json()["result"] == "Context reset requested"
    eventually(lambda: _running_other_than(on, second))
    assert on.http.get("/contexts").json() == ["kept"]


def _running_other_than(api: Api, id: str) -> str | None:
    """The id of the `kept` that runs, if that is another one."""
    found = api.http.get("/contexts/kept").json()
    return found["id"] if found.get("state") == "RUNNING" and found["id"] != id else None


def test_more_than_the_cluster_has_is_refused_with_the_numbers(on):
    reply = on.http.post("/contexts/huge?num-cpu-cores=10000")
    assert (reply.status_code, reply.json()["code"]) == (500, "not-enough-resources")
    said = reply.json()["result"]["message"]
    assert "10000 core(s)" in said and "the largest node has 4 core(s)" in said and "kept (1 x 1 core(s)" in said
    assert on.http.get("/contexts/huge").status_code == 404


def test_a_context_without_room_waits_says_for_what_and_starts_when_there_is_some(on, tuned):
    _await_room_behind_a_holder(on, tuned, {"num-cpu-cores": "2"})


def _await_room_behind_a_holder(on: Api, tuned: Service, parameters: dict[str, str]) -> None:
    assert on.http.post("/contexts/holder?num-cpu-cores=2").status_code == 200
    on.run("jobs", "hello.CountRange", "holder")
    made: list[httpx.Response] = []

    def create() -> None:
        with tuned.client() as http:
            made.append(http.post("/contexts/patient", params=parameters))

    creating = threading.Thread(target=create)
    creating.start()
    waiting = eventually(lambda: on.http.get("/contexts/patient").json().get("waitsFor"))
    assert "holder (1 x 2 core(s)" in waiting
    assert on.http.post("/contexts/patient").json()["code"] == "context-exists"
    on.http.delete("/contexts/holder")
    creating.join(60)
    assert made[0].status_code == 200, made[0].text
    assert "waitsFor" not in on.http.get("/contexts/patient").json()


def test_delete_contexts_stop_context_timed_out(on):
    """The flow of that name: 202 and where to look, another DELETE joins the same stop, 404 after the end."""
    assert on.http.post("/contexts/late?num-cpu-cores=1").status_code == 200
    job_id = on.start("jobs", "hello.Sleep", "late", "seconds = 600").json()["jobId"]
    driver_of(on.http.get("/contexts/late").json()["id"]).suspend()  # so that the stop takes until it is forced
    for _ in range(2):
        reply = on.http.delete("/contexts/late")
        assert (reply.status_code, reply.headers["location"], reply.content) == (202, "/contexts/late", b"")
    assert on.http.get("/contexts/late").json()["state"] == "STOPPING"
    refused = on.start("jobs", "hello.Echo", "late")
    assert (refused.status_code, refused.json()["result"]) == (409, "Context stop in progress")
    eventually(lambda: on.http.get("/contexts/late").status_code == 404)
    assert on.http.delete("/contexts/late").status_code == 404
    assert on.job(job_id)["result"]["message"] == "Context (late) for this job was terminated"


def test_force_ends_a_context_that_would_take_its_time(on):
    assert on.http.post("/contexts/stubborn?num-cpu-cores=1").status_code == 200
    context_id = on.http.get("/contexts/stubborn").json()["id"]
    job_id = on.start("jobs", "hello.Sleep", "stubborn", "seconds = 600").json()["jobId"]
    on.http.delete("/contexts/stubborn?force=true")
    eventually(lambda: on.http.get("/contexts/stubborn").status_code == 404)
    await_gone(context_id)
    assert on.job(job_id)["result"]["message"] == "Context (stubborn) for this job was terminated"


def test_a_stop_that_cannot_be_stored_yet_is_seen_through_once_it_can(on, tuned):
    assert on.http.post("/contexts/unwritten?num-cpu-cores=1").status_code == 200
    with unable_to_write(ray_process(tuned, "ray::Store")):
        for _ in range(2):
            assert on.http.delete("/contexts/unwritten").status_code == 202
        assert on.http.get("/contexts/unwritten").json()["state"] == "RUNNING"
    eventually(lambda: on.http.get("/contexts/unwritten").status_code == 404)


def test_what_cannot_be_stored_does_not_begin(on, tuned):
    """Neither a context nor a job; who asked for it is told why."""
    log = tuned.data_dir / "contexts" / on.http.get("/contexts/kept").json()["id"] / "logs" / "unwritten.log"
    with unable_to_write(ray_process(tuned, "ray::Store")):
        context = on.http.post("/contexts/unwritten")
        job = on.start("jobs", "hello.Sleep", "kept", "seconds = 0", jobId="unwritten")
    for refused in (context, job):
        assert (refused.status_code, refused.json()["status"]) == (500, "Storage Failure")
        assert "File too large" in refused.json()["result"]["message"]
    assert on.http.get("/contexts").json() == ["kept"]
    assert on.http.get("/jobs/unwritten").status_code == 404
    assert on.run("jobs", "hello.Echo", "kept", "value = 1") == 1
    assert not log.exists(), "the job ran"


def test_contexts_are_told_without_the_store(on, tuned):
    store = ray_process(tuned, "ray::Store")
    store.suspend()
    try:
        assert on.http.get("/contexts").json() == ["kept"]
        assert on.http.get("/contexts/kept").json()["state"] == "RUNNING"
    finally:
        store.resume()


def test_a_context_that_is_not_up_in_time_is_ended_and_its_name_is_free(tmp_path):
    """Its driver JVM waits, as it starts, for a file to go that stays."""
    hangs = f"-XX:+UnlockDiagnosticVMOptions -XX:+PauseAtStartup -XX:PauseAtStartupFile={tmp_path}/paused"
    with serving(tmp_path, "contexts.creation-timeout-s = 20") as service, service.client() as client:
        made = client.post("/contexts/slow?num-cpu-cores=1", params={"spark.driver.extraJavaOptions": hangs})
        assert (made.status_code, made.json()["status"]) == (500, "CONTEXT INIT ERROR")
        assert made.json()["result"]["message"] == "context slow was not up within 20 s"
        assert client.get("/contexts/slow").status_code == 404
        assert (tmp_path / "paused").exists()
        await_gone(hangs)


def test_a_stop_that_hangs_is_ended_by_force(on):
    assert on.http.post("/contexts/hung?num-cpu-cores=1").status_code == 200
    context_id = on.http.get("/contexts/hung").json()["id"]
    driver_of(context_id).suspend()
    assert on.http.delete("/contexts/hung").status_code == 202
    eventually(lambda: on.http.get("/contexts/hung").status_code == 404)
    await_gone(context_id)


def test_a_job_that_waits_for_its_context_can_be_killed(on):
    assert on.http.post("/contexts/limbo?num-cpu-cores=1").status_code == 200
    job_id = on.start("jobs", "hello.Sleep", "limbo", "seconds = 600").json()["jobId"]
    _actor_process(on.http.get("/contexts/limbo").json()["id"]).kill()
    eventually(lambda: on.job(job_id)["status"] == "RESTARTING")
    assert on.http.delete(f"/jobs/{job_id}").json() == {"status": "KILLED"}
    eventually(lambda: on.http.get("/contexts/limbo").json()["state"] == "RUNNING")
    assert on.job(job_id)["status"] == "KILLED"
    assert on.run("jobs", "hello.Echo", "limbo", "value = 1") == 1


def test_an_idle_context_is_stopped_and_one_with_a_job_is_not(on):
    assert on.http.post("/contexts/idle?num-cpu-cores=1&idle-timeout-s=5").status_code == 200
    assert on.run("jobs", "hello.Sleep", "idle", "seconds = 9") == "slept"
    eventually(lambda: on.http.get("/contexts/idle").status_code == 404)
    assert on.http.post("/contexts/idle?idle-timeout-s=soon").status_code == 400


def test_a_supervised_context_that_dies_comes_back_and_runs_its_async_jobs_again(on, tuned, tmp_path):
    assert on.http.post("/contexts/phoenix?num-cpu-cores=1").status_code == 200
    before = on.http.get("/contexts/phoenix").json()
    go = tmp_path / "go"
    job_id = on.start("jobs", "hello.AwaitFile", "phoenix", f'file = "{go}"').json()["jobId"]
    heard: list[httpx.Response] = []

    def wait() -> None:
        with tuned.client() as http:
            heard.append(Api(http).start("jobs", "hello.Sleep", "phoenix", "seconds = 600", sync="true", timeout=700))

    waiter = threading.Thread(target=wait)
    waiter.start()
    eventually(lambda: len(on.http.get("/jobs?status=running").json()) == 2)
    _actor_process(before["id"]).kill()
    refused: list[str | None] = []

    def job_that_waits_to_run_again() -> dict[str, Any] | None:
        job = on.job(job_id)
        refused.append(on.start("jobs", "hello.Echo", "phoenix").json().get("code"))
        return job if job["status"] == "RESTARTING" else None

    restarting = eventually(job_that_waits_to_run_again)
    assert set(refused) == {"context-restarting"}
    assert f"Unexpected termination of context {before['id']}" in restarting["result"]["message"]
    assert "phoenix" in on.http.get("/contexts").json()
    waiter.join(100)
    assert heard[0].json()["status"] == "ERROR" and "Unexpected termination" in heard[0].text
    go.touch()
    assert on.ended(job_id)["result"] == job_id
    eventually(lambda: on.http.get("/contexts/phoenix").json()["state"] == "RUNNING")
    assert on.http.get("/contexts/phoenix").json()["id"] == before["id"]
    assert on.run("jobs", "hello.Echo", "phoenix", "value = 2") == 2


def test_a_supervised_context_none_of_whose_jobs_can_run_again_is_over(on, tmp_path):
    assert on.http.post("/contexts/ashes?num-cpu-cores=1").status_code == 200
    job_id = on.start("jobs", "hello.Once", "ashes", f'folder = "{tmp_path}"').json()["jobId"]
    on.await_log(job_id, "sleeping")
    _actor_process(on.http.get("/contexts/ashes").json()["id"]).kill()
    report = on.ended(job_id)
    assert (report["status"], report["result"]["message"]) == ("ERROR", "once was enough")
    eventually(lambda: on.http.get("/contexts/ashes").status_code == 404)


def test_a_context_can_refuse_supervision(on):
    assert on.http.post("/contexts/mortal?num-cpu-cores=1&launcher.spark.driver.supervise=false").status_code == 200
    job_id = on.start("jobs", "hello.Sleep", "mortal", "seconds = 600").json()["jobId"]
    _actor_process(on.http.get("/contexts/mortal").json()["id"]).kill()
    assert on.ended(job_id)["status"] == "ERROR"
    eventually(lambda: on.http.get("/contexts/mortal").status_code == 404)


def test_a_kill_of_a_job_whose_context_has_just_died_is_answered_with_its_end(on):
    assert on.http.post("/contexts/gone?num-cpu-cores=1&launcher.spark.driver.supervise=false").status_code == 200
    job_id = on.start("jobs", "hello.Sleep", "gone", "seconds = 600").json()["jobId"]
    _actor_process(on.http.get("/contexts/gone").json()["id"]).kill()
    reply = on.http.delete(f"/jobs/{job_id}")
    assert (reply.status_code, reply.json()["status"]) == (200, "ERROR")
    assert "Unexpected termination of context" in reply.json()["ERROR"]["message"]
    assert on.job(job_id)["result"] == reply.json()["ERROR"]


def test_the_shared_application_waits_for_room_as_well(on, tuned):
    """Last: it keeps its two cores until the service ends."""
    _await_room_behind_a_holder(on, tuned, {"context-per-jvm": "false"})
    assert on.run("jobs", "hello.CountRange", "patient") == 100
    refused = on.http.post("/contexts/huge?num-cpu-cores=10000").json()["result"]["message"]
    assert "shared-" in refused and "patient" not in refused
