"""The life of contexts over HTTP, ad-hoc ones and every kind of them; none leaves a process behind."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.service import await_gone, eventually, processes_with

pytestmark = pytest.mark.usefixtures("two_minutes")


def _context_id(api, name: str) -> str:
    return api.http.get(f"/contexts/{name}").json()["id"]


def _gone(context_id: str) -> None:
    """Its actor's folder, its driver JVM and executors all carry the context's id in their command line."""
    await_gone(context_id)


def _unpacked_libraries() -> set[Path]:
    """Where Ray's Java drivers unpack their native library, unless it is loaded by then."""
    return set(Path("/tmp/ray").glob("*/libcore_worker*"))


def test_a_second_context_runs_beside_the_first_and_is_deleted_without_a_trace(api, context):
    api.upload_jobs("ctx", "hello")
    unpacked = _unpacked_libraries()
    made = api.http.post("/contexts/second?numCores=1&memPerNode=512m&rdd-ttl=86400")
    assert made.json()["result"] == "Context initialized"
    assert api.http.get("/contexts").json()[0] == "second" and context in api.http.get("/contexts/").json()
    about = api.http.get("/contexts/second").json()
    assert about["state"] == "RUNNING" and about["endTime"] == "Empty" and about["applicationId"] and about["url"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", about["startTime"])
    assert processes_with(about["id"])
    assert api.run("ctx", "hello.Echo", "second", "value = 2") == 2
    assert api.run("ctx", "hello.Echo", context, "value = 1") == 1
    running = api.start("ctx", "hello.Spin", "second").json()["jobId"]
    deleted = api.http.delete("/contexts/second")
    assert deleted.status_code == 200 and deleted.json() == {"status": "SUCCESS", "result": "Context stopped"}
    _gone(about["id"])
    assert _unpacked_libraries() == unpacked
    report = api.job(running)
    assert report["status"] == "ERROR"
    assert report["result"]["message"] == "Context (second) for this job was terminated"
    assert api.http.get("/contexts/second").json()["result"] == "can't find context with name second"
    assert api.http.delete("/contexts/second").json()["result"] == "context second not found"


def test_names_and_settings_that_cannot_be_are_refused(api, context):
    digit = api.http.post("/contexts/1st")
    assert digit.status_code == 400 and digit.json()["result"] == "context name must start with letters"
    taken = api.http.post(f"/contexts/{context}")
    assert taken.status_code == 400 and taken.json()["result"] == f"context {context} exists"
    assert api.http.post("/contexts/x?num-cpu-cores=many").status_code == 400
    factory = api.http.post("/contexts/x?context-factory=no.such.Factory")
    assert factory.status_code == 500 and factory.json()["status"] == "CONTEXT INIT ERROR"
    assert "SparkSession" in factory.json()["result"]["message"]
    assert api.http.get("/contexts/x").status_code == 404


def test_spark_that_cannot_start_is_a_context_init_error_with_the_cause_and_frees_the_name(api):
    for _ in range(2):
        failed = api.http.post("/contexts/doomed?spark.driver.memory=enough")
        assert failed.status_code == 500 and failed.json()["status"] == "CONTEXT INIT ERROR"
        assert "Invalid maximum heap size: -Xmxenough" in failed.json()["result"]["message"]
    assert api.http.get("/contexts/doomed").status_code == 404


@pytest.mark.parametrize("job", ["Echo", "Raise", "Nope"])
def test_an_ad_hoc_context_lives_for_one_job_whatever_its_outcome(api, job):
    api.upload_jobs("adhoc", "hello")
    reply = api.start("adhoc", f"hello.{job}", None, "value = 3", sync="true", timeout=60)
    body = reply.json()
    eventually(lambda: not [n for n in api.http.get("/contexts").json() if n.endswith(f"-hello.{job}")])
    if job == "Nope":
        assert reply.status_code == 404
    else:
        assert body["status"] == {"Echo": "FINISHED", "Raise": "ERROR"}[job]
        kept = api.job(body["jobId"])
        assert kept["result"] == body["result"] and kept["context"].endswith(f"-hello.{job}")
        _gone(kept["contextId"])


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("spark.jobserver.python.PythonSessionContextFactory", "SparkSession"),
        ("spark.jobserver.context.DefaultSparkContextFactory", "SparkContext"),
        ("spark.jobserver.python.PythonSQLContextFactory", "SQLContext"),
        ("spark.jobserver.python.PythonHiveContextFactory", "HiveContext"),
    ],
)
def test_a_context_factory_decides_what_jobs_get(api, factory, kind):
    api.upload_jobs("kinds", "hello")
    """All but Hive's on the shared application, which is there in a moment."""
    parameters = {"context-factory": factory, "context-per-jvm": str(kind == "HiveContext").lower()}
    assert api.http.post(f"/contexts/kind-{kind}", params=parameters).status_code == 200
    try:
        assert api.run("kinds", "hello.KindOfContext", f"kind-{kind}") == [kind, 42]
    finally:
        assert api.http.delete(f"/contexts/kind-{kind}").status_code == 200


def test_a_job_in_a_custom_context_builds_its_own(api):
    api.upload_jobs("custom", "named")
    parameters = {"context-factory": "spark.jobserver.python.PythonContextFactory", "context-per-jvm": "false"}
    assert api.http.post("/contexts/custom", params=parameters).status_code == 200
    try:
        for _ in range(2):
            assert api.run("custom", "named.Custom", "custom") == ["hello from a context of its own", 6]
        lacking = api.start("custom", "named.NoContext", "custom", sync="true").json()
        assert lacking["status"] == "ERROR" and "build_context of NoContext" in lacking["result"]["message"]
    finally:
        assert api.http.delete("/contexts/custom").status_code == 200


def test_a_context_whose_spark_a_job_stops_is_killed_and_its_name_is_free(api):
    api.upload_jobs("stopper", "hello")
    assert api.http.post("/contexts/stopped?num-cpu-cores=1").status_code == 200
    context_id = _context_id(api, "stopped")
    other = api.start("stopper", "hello.SpinInStage", "stopped").json()["jobId"]
    api.await_log(other, "in a stage")
    api.start("stopper", "hello.StopSpark", "stopped")
    assert "was stopped from outside" in api.ended(other)["result"]["message"]
    eventually(lambda: "stopped" not in api.http.get("/contexts").json())
    _gone(context_id)


def test_an_ad_hoc_context_has_the_settings_and_the_user_that_its_job_asks_for(api, tmp_path):
    api.upload_jobs("settled", "hello")
    (tmp_path / "lesson.py").write_text("TEXT = 'learnt'")
    settings = f"""
        hadoop.my.key = h, launcher.spark.my.key = l, passthrough.spark.other.key = p, python.paths = ["{tmp_path}"]
    """
    config = f"spark.context-settings {{ {settings} }}, own = 1"
    params = {"sync": "true", "timeout": 90, "spark.proxy.user": "ann"}
    reply = api.start("settled", "hello.Surroundings", None, config, **params).json()
    assert reply["status"] == "FINISHED", reply
    assert reply["result"] == {
        "user": "ann",
        "hadoop": "h",
        "launcher": "l",
        "passthrough": "p",
        "driver": "learnt",
        "executors": "learnt",
        "runtime": ["JobEnvironment", reply["jobId"], "JobEnvironment"],
        "config": {"own": 1},
    }


def test_a_context_may_stop_at_its_first_job_that_fails(api):
    api.upload_jobs("strict", "hello")
    settings = {"context-per-jvm": "false", "stop-context-on-job-error": "true"}
    assert api.http.post("/contexts/strict", params=settings).status_code == 200
    assert api.run("strict", "hello.Echo", "strict", "value = 1") == 1
    assert api.start("strict", "hello.Raise", "strict", sync="true").json()["status"] == "ERROR"
    eventually(lambda: api.http.get("/contexts/strict").status_code == 404)


def test_a_user_of_its_own_needs_an_application_of_its_own(api):
    refused = api.http.post("/contexts/shy?context-per-jvm=false&spark.proxy.user=ann")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-config")
