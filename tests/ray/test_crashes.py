"""What a crash costs: the process that died, and nothing that was acknowledged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.receiver import receiving
from tests.service import Api, Service, await_gone, driver_of, eventually, kill, zip_of


@pytest.fixture(autouse=True)
def crashing(api: Api, on_ray) -> None:
    api.upload_jobs("crashing", "hello")


def _pid_of(actor_name: str) -> int:
    from ray.util.state import list_actors

    return next(a.pid for a in list_actors(filters=[("name", "=", actor_name)], limit=1000) if a.state == "ALIVE")


def _kill(actor_name: str) -> None:
    psutil.Process(_pid_of(actor_name)).kill()


def _submit_and_wait(url: str, go: Path, replies: list[httpx.Response]) -> threading.Thread:
    """A sync job that runs until `go` is there, waited for in a thread."""

    def wait() -> None:
        with httpx.Client(base_url=url, timeout=120) as http:
            job = {"appName": "crashing", "classPath": "hello.AwaitFile", "context": "shared", "sync": "true"}
            replies.append(http.post("/jobs", params={**job, "timeout": 100}, content=f'file = "{go}"'))

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


@pytest.mark.parametrize("victims", [["job-store"], ["supervisor"], ["supervisor", "job-store"]])
def test_sigkill_of_the_services_actors_loses_no_job(api, context, service, victims, tmp_path):
    replies: list[httpx.Response] = []
    go = tmp_path / "go"
    running = api.start("crashing", "hello.AwaitFile", context, f'file = "{go}"').json()["jobId"]
    waiting = _submit_and_wait(service.url, go, replies)
    finished = api.start("crashing", "hello.Echo", context, "value = kept", sync="true").json()["jobId"]

    def that_run() -> list[dict[str, Any]]:
        return [job for job in api.http.get("/jobs?status=running").json() if job["classPath"] == "hello.AwaitFile"]

    eventually(lambda: len(that_run()) == 2)
    for victim in victims:
        _kill(victim)
    go.touch()
    assert api.ended(running)["result"] == running
    waiting.join(100)
    assert replies[0].json()["result"] == replies[0].json()["jobId"] != running, replies[0].text
    assert api.job(finished)["result"] == "kept"
    assert context in api.http.get("/contexts").json()
    assert api.run("crashing", "hello.Echo", context, "value = 9") == 9


def test_a_callback_that_was_being_sent_survives_the_http_server_and_the_supervisor(api, context, service):
    with receiving() as receiver:
        receiver.gate.clear()
        submitted = api.start("crashing", "hello.Echo", context, "value = kept", callbackUrl=receiver.url)
        job_id = submitted.json()["jobId"]
        eventually(lambda: receiver.of(job_id))
        service.kill()
        _kill("supervisor")
        receiver.gate.set()
        service.start()
        with service.client() as client:
            sent = eventually(
                lambda: (found := client.get(f"/jobs/{job_id}/callback").json())["state"] == "SENT" and found, 60
            )
        assert sent["attempts"] == 1
        assert [received.json["result"] for received in receiver.of(job_id)] == ["kept", "kept"]


def test_a_job_whose_idle_runner_died_gets_another_one(api, context):
    from ray.util.state import list_actors

    assert api.run("crashing", "hello.Echo", context, "value = 1") == 1
    alive = list_actors(filters=[("state", "=", "ALIVE")], limit=1000)
    pids = {actor.pid for actor in alive if actor.name and actor.name.startswith(f"{context}/runner-")}
    runners = [process for process in psutil.process_iter() if process.pid in pids]
    for runner in runners:
        kill(runner)
    psutil.wait_procs(runners)
    assert api.run("crashing", "hello.Echo", context, "value = 2") == 2


def test_a_context_made_again_under_its_name_takes_jobs_at_once(api):
    for value in (1, 2):
        assert api.http.post("/contexts/again?num-cpu-cores=1").status_code == 200
        assert api.run("crashing", "hello.Echo", "again", f"value = {value}") == value
        assert api.http.delete("/contexts/again").status_code == 200


def test_an_ad_hoc_context_whose_job_is_refused_goes_as_well(api):
    jar = {"Content-Type": "application/java-archive"}
    assert api.http.post("/binaries/ajar", content=zip_of({"a.class": "x"}), headers=jar).status_code == 201
    assert api.start("ajar", "a.Main", None, sync="true").status_code == 404
    eventually(lambda: not [name for name in api.http.get("/contexts").json() if name.endswith("-a.Main")])


def test_a_delete_while_a_context_starts_stops_it(api, service):
    made: list[httpx.Response] = []

    def create() -> None:
        with service.client() as http:
            made.append(http.post("/contexts/hasty?num-cpu-cores=1"))

    creating = threading.Thread(target=create)
    creating.start()
    eventually(lambda: api.http.get("/contexts/hasty").status_code == 200)
    assert api.http.get("/contexts/hasty").json()["state"] == "STARTED"
    assert api.http.delete("/contexts/hasty").status_code == 200
    creating.join(60)
    assert made[0].status_code == 500 and "was stopped while it started" in made[0].text
    assert api.http.get("/contexts/hasty").status_code == 404


def test_a_second_server_of_a_data_directory_joins_and_leaves_its_ray_up(api, context, service):
    second = Service(service.data_dir)
    second.start()
    with second.client() as http:
        assert context in http.get("/contexts").json()
    assert second.stop() == 0
    assert api.run("crashing", "hello.Echo", context, "value = 3") == 3


@pytest.fixture
def victim(api: Api) -> Iterator[str]:
    """A context with an executor that is up, and its id."""
    assert api.http.post("/contexts/victim?num-cpu-cores=1").status_code == 200
    assert api.run("crashing", "hello.CountRange", "victim") == 100
    yield api.http.get("/contexts/victim").json()["id"]
    api.http.delete("/contexts/victim?force=true")


def _executor_of(context_id: str) -> psutil.Process:
    """Its process: a context's executors are in a Ray namespace that carries its id."""
    from ray.util.state import list_actors

    alive = list_actors(filters=[("state", "=", "ALIVE")], limit=1000, detail=True)
    [pid] = [a.pid for a in alive if a.class_name.endswith("RayDPExecutor") and a.ray_namespace.endswith(context_id)]
    return psutil.Process(pid)


def test_a_context_whose_jvm_dies_is_killed_with_its_jobs_and_its_name_is_free(api, service, victim):
    """Also with the one that hears of it from Spark, whose call of the JVM breaks off."""
    job_id = api.start("crashing", "hello.Sleep", "victim", "seconds = 600").json()["jobId"]
    calling = api.start("crashing", "hello.SpinInStage", "victim").json()["jobId"]
    api.await_log(job_id, "sleeping")
    api.await_log(calling, "in a stage")
    driver_of(victim).kill()
    for report in (api.ended(job_id), api.ended(calling)):
        assert report["status"] == "ERROR" and "driver JVM" in report["result"]["message"]
    await_gone(victim)
    eventually(lambda: api.http.get("/contexts/victim").status_code == 404)
    api.await_log(job_id, "sleeping")
    eventually(lambda: not (service.data_dir / "contexts" / victim).exists())


def test_a_lost_executor_is_replaced_for_good_and_its_job_finishes(api, on_ray, victim):
    job_id = api.start("crashing", "hello.SlowTasks", "victim", "seconds = 4").json()["jobId"]
    api.await_log(job_id, "in a stage")
    executor = _executor_of(victim)
    executor.kill()
    assert api.ended(job_id)["result"] == 2
    second = _executor_of(victim)
    assert second.pid != executor.pid
    assert api.run("crashing", "hello.CountAfterGarbage", "victim") == 100
    assert second.is_running()


def test_a_runner_that_dies_mid_job_ends_that_job_alone(api, context):
    crashing = api.start("crashing", "hello.Segfault", context).json()["jobId"]
    other = api.start("crashing", "hello.Sleep", context, "seconds = 2").json()["jobId"]
    report = api.ended(crashing)
    assert (report["status"], report["result"]["errorClass"]) == ("ERROR", "RunnerDied")
    assert "about to crash" in api.http.get(f"/jobs/{crashing}/log").text
    assert api.ended(other)["result"] == "slept"


def test_a_job_that_takes_its_context_down_at_once_has_a_record_and_its_caller_the_cause(api, on_ray):
    assert api.http.post("/contexts/suicidal?num-cpu-cores=1").status_code == 200
    api.run("crashing", "hello.Echo", "suicidal", "value = 1")
    pid = _pid_of("context:suicidal")
    reply = api.start("crashing", "hello.KillProcess", "suicidal", f"pid = {pid}", sync="true").json()
    assert reply["status"] == "ERROR" and "Unexpected termination of context" in reply["result"]["message"]
    assert api.job(reply["jobId"])["classPath"] == "hello.KillProcess"
    eventually(lambda: api.http.get("/contexts/suicidal").status_code == 404)
