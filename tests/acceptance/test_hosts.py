"""Contexts on Spark applications that others started: the shared one, and those standing by."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from tests.service import Api, Service, await_gone, driver_of, eventually, is_alive, ray_processes, serving, title_of

SETTINGS = """
contexts { standby = 1, context-settings { num-cpu-cores = 1 } }
"""
SHARED = "context-per-jvm=false"


@pytest.fixture(scope="module")
def hosting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("hosting"), SETTINGS) as service:
        yield service


@pytest.fixture
def on(hosting: Service) -> Iterator[Api]:
    with hosting.client() as client:
        yield Api(client)
        for name in client.get("/contexts").json():
            client.delete(f"/contexts/{name}?force=true")
        eventually(lambda: client.get("/contexts").json() == [])


def _hosts(service: Service, kind: str) -> set[str]:
    """Ids of the hosts of that kind, by their folders."""
    folder = service.data_dir / "spark-hosts"
    return {path.name for path in folder.iterdir() if path.name.startswith(kind)} if folder.exists() else set()


def _application(api: Api, context: str) -> str:
    return api.http.get(f"/contexts/{context}").json()["applicationId"]


def test_contexts_share_one_application_and_nothing_else(on):
    names = [f"shared-{n}" for n in range(10)]
    for name in names:
        assert on.http.post(f"/contexts/{name}?{SHARED}&spark.sql.shuffle.partitions=3").status_code == 200
    assert len({_application(on, name) for name in names}) == 1
    with ThreadPoolExecutor(10) as clients:
        assert list(clients.map(lambda name: on.run("jobs", "hello.CountRange", name), names)) == [100] * 10
    on.run("jobs", "hello.MakeView", names[0], "rows = 7")
    assert on.run("jobs", "hello.CountView", names[0]) == 7
    other = on.start("jobs", "hello.CountView", names[1], sync="true", timeout=60).json()
    assert other["status"] == "ERROR" and "shared_view" in other["result"]["message"]
    assert on.run("jobs", "hello.SqlSetting", names[2], "key = spark.sql.shuffle.partitions") == "3"


def test_a_delete_and_a_kill_leave_the_others_of_the_application_alone(on):
    for name in ("stays", "goes"):
        assert on.http.post(f"/contexts/{name}?{SHARED}").status_code == 200
    application = _application(on, "stays")
    running = on.start("jobs", "hello.Sleep", "stays", "seconds = 4").json()["jobId"]
    stuck = on.start("jobs", "hello.SpinInStage", "goes").json()["jobId"]
    on.await_log(stuck, "in a stage")
    assert on.http.delete(f"/jobs/{stuck}").json() == {"status": "KILLED"}
    assert on.http.delete("/contexts/goes").status_code == 200
    assert on.ended(running)["result"] == "slept"
    assert on.run("jobs", "hello.CountRange", "stays") == 100
    assert on.http.post(f"/contexts/goes?{SHARED}").status_code == 200
    assert _application(on, "goes") == application


def test_the_spark_work_of_a_context_that_dies_ends_on_the_shared_application(on, hosting):
    assert on.http.post(f"/contexts/dying?{SHARED}").status_code == 200
    about = on.http.get("/contexts/dying").json()
    job_id = on.start("jobs", "hello.SpinInStage", "dying").json()["jobId"]
    on.await_log(job_id, "in a stage")
    stages = f"{about['url']}/api/v1/applications/{about['applicationId']}/stages?status=active"
    eventually(lambda: on.http.get(stages).json())
    on.http.delete("/contexts/dying?force=true")
    eventually(lambda: on.http.get(stages).json() == [], why="tasks run on without their context")


def test_a_shared_application_that_dies_takes_its_contexts_and_is_started_again(on, hosting):
    assert on.http.post(f"/contexts/before?{SHARED}").status_code == 200
    [host] = _hosts(hosting, "shared")
    job_id = on.start("jobs", "hello.Sleep", "before", "seconds = 600").json()["jobId"]
    on.await_log(job_id, "sleeping")
    driver_of(host).kill()
    report = on.ended(job_id)
    assert report["status"] == "ERROR" and "driver JVM" in report["result"]["message"]
    eventually(lambda: on.http.get("/contexts/before").status_code == 404)
    assert on.http.post(f"/contexts/after?{SHARED}").status_code == 200
    assert on.run("jobs", "hello.CountRange", "after") == 100
    await_gone(host)


def _context_process(service: Service) -> psutil.Process:
    """Of the only context there is, which has no job: Ray titles it by what it does."""
    [process] = [process for process in ray_processes(service) if title_of(process) == "ray::Context"]
    return process


def test_spark_work_of_a_context_that_died_does_not_pass_for_that_of_its_next_life(on, hosting):
    assert on.http.post(f"/contexts/twice?{SHARED}&launcher.spark.driver.supervise=true").status_code == 200
    about = on.http.get("/contexts/twice").json()
    process = _context_process(hosting)
    job_id = on.start("jobs", "hello.SpinAfterPlanning", "twice").json()["jobId"]
    on.await_log(job_id, "planning")
    process.kill()
    jobs = f"{about['url']}/api/v1/applications/{about['applicationId']}/jobs"

    def states() -> list[str]:
        """Of the Spark jobs of both lives."""
        return sorted(job["status"] for job in on.http.get(jobs).json() if job_id in job["jobTags"])

    eventually(lambda: states() == ["FAILED", "RUNNING"], why=lambda: f"{states()}")
    assert on.http.delete(f"/jobs/{job_id}").json() == {"status": "KILLED"}
    eventually(lambda: states() == ["FAILED", "FAILED"], why=lambda: f"{states()}")


def test_contexts_of_a_shared_application_whose_process_dies_are_as_if_they_had_died(on, hosting, tmp_path):
    assert on.http.post(f"/contexts/supervised?{SHARED}&launcher.spark.driver.supervise=true").status_code == 200
    [host] = _hosts(hosting, "shared")
    go = tmp_path / "go"
    job_id = on.start("jobs", "hello.AwaitFile", "supervised", f'file = "{go}"').json()["jobId"]
    driver = driver_of(host)
    driver.parent().kill()
    restarting = eventually(lambda: (job := on.job(job_id))["status"] != "RUNNING" and job)
    assert restarting["status"] == "RESTARTING" and "Spark application" in restarting["result"]["message"]
    go.touch()
    assert on.ended(job_id)["result"] == job_id
    eventually(lambda: not is_alive(driver), why="its JVM is left behind")
    await_gone(host)


def test_a_hive_context_cannot_share(on):
    refused = on.http.post(f"/contexts/hive?{SHARED}&context-factory=HiveContext")
    assert refused.status_code == 400 and "context-per-jvm = true" in refused.json()["result"]


@pytest.mark.timeout(900)
def test_a_context_of_the_default_settings_takes_one_that_stands_by_and_the_pool_is_back(on, hosting):
    for name in ("first", "second"):
        taken = eventually(lambda name=name: _host_of_new(on, name), 180)
        assert taken.startswith("standby-")
        assert on.run("jobs", "hello.CountRange", name) == 100
        eventually(lambda taken=taken: _hosts(hosting, "standby") - {taken})
        assert on.http.delete(f"/contexts/{name}").status_code == 200
        await_gone(taken)
    assert on.http.post("/contexts/special?memory-per-node=600m").status_code == 200
    assert "sparkHost" not in on.http.get("/contexts/special").json()


def _host_of_new(api: Api, name: str) -> str | None:
    """The host of a context made just now; None if it started its own Spark since none was ready: it is deleted."""
    assert api.http.post(f"/contexts/{name}").status_code == 200
    host = api.http.get(f"/contexts/{name}").json().get("sparkHost")
    if host is None:
        assert api.http.delete(f"/contexts/{name}").status_code == 200
    return host


def test_an_ad_hoc_job_takes_one_that_stands_by(on, hosting):
    def took_one() -> bool:
        before = _hosts(hosting, "standby")
        assert on.run("jobs", "hello.Echo", None, "value = 5") == 5
        eventually(lambda: not [name for name in on.http.get("/contexts").json() if name.endswith("-hello.Echo")])
        return bool(before - _hosts(hosting, "standby"))

    eventually(took_one, 180)


def test_one_that_stands_by_and_died_is_passed_over(on, hosting):
    [ready] = eventually(lambda: len(found := _hosts(hosting, "standby")) == 1 and found, 180)
    with_runners = 1 + len(_hosts(hosting, "shared"))
    eventually(lambda: _runners_to_lend(hosting) == with_runners, why="it has no runner to lend: it is not up")
    driver = driver_of(ready)
    driver.kill()
    psutil.wait_procs([driver])
    assert on.http.post("/contexts/lucky").status_code == 200
    assert on.http.get("/contexts/lucky").json().get("sparkHost") != ready
    assert on.run("jobs", "hello.CountRange", "lucky") == 100


def _runners_to_lend(service: Service) -> int:
    """Those that are attached and that no context has, as their titles say."""
    return [title_of(process) for process in ray_processes(service)].count("ray::Runner")
