"""Jobs in jars: functions and mains, in the same contexts as Python's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.scala import jar_of
from tests.service import Api, eventually

JAR = "application/java-archive"


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The jar of `tests/jobs/jvm`, of two flavours."""
    return {flavour: jar_of(tmp_path_factory.mktemp(flavour), FLAVOUR=flavour) for flavour in ("apple", "cherry")}


@pytest.fixture(scope="module", autouse=True)
def uploaded(service, versions) -> None:
    with service.client() as client:
        assert Api(client).upload("jvm", versions["apple"], JAR).status_code == 201
        Api(client).upload_jobs("beside", "hello")


def test_a_function_gets_the_config_and_its_return_value_is_the_result(api, context):
    config = '{"n": 1, "deep": {"list": [1.5, null, true, "text"]}}'
    assert api.run("jvm", "jvm.Echo", context, config) == {"n": 1, "deep": {"list": [1.5, None, True, "text"]}}


def test_values_of_java_and_scala_are_json(api, context):
    assert api.run("jvm", "jvm.Types", context) == {
        "decimal": "1.50",
        "nan": None,
        "date": "2020-01-02",
        "some": "a",
        "none": None,
        "tuple": ["a", 1],
        "set": [1],
        "bytes": "AQI=",
        "case": {"name": "Ann", "age": 5},
        "rows": [{"n": 0}, {"n": 1}],
    }
    assert api.run("jvm", "jvm.Table", context) == [{"name": "t", "age": 0}, {"name": "t", "age": 1}]


def test_a_jar_collects_objects_of_its_own_classes(api, context):
    assert api.run("jvm", "jvm.People", context) == {
        "rdd": [{"name": f"p{n}", "age": n} for n in (1, 2, 3)],
        "dataset": [{"name": "q", "age": 0}, {"name": "q", "age": 1}],
    }


def test_a_main_gets_its_arguments_and_what_it_prints_is_its_log(api, context):
    reply = api.start("jvm", "jvm.Main", context, "args = [one, two]", sync="true", timeout=60).json()
    assert (reply["status"], reply["result"]) == ("FINISHED", None)
    log = api.http.get(f"/jobs/{reply['jobId']}/log").text
    assert "counted 7 for one and two" in log and "said by Java" in log


def test_jobs_of_python_and_of_jars_share_the_temp_views_of_a_context(api, context):
    api.run("beside", "hello.MakeView", context, "rows = 6")
    assert api.run("jvm", "jvm.CountView", context) == 6


@pytest.mark.parametrize(
    ("class_path", "status", "code"),
    [
        ("jvm.Nothing", 404, "no-such-class"),
        ("jvm.NoJob", 400, "invalid-job-type"),
        ("jvm", 404, "no-such-class"),
    ],
)
def test_a_class_that_is_no_job_is_refused(api, context, class_path, status, code):
    refused = api.start("jvm", class_path, context)
    assert (refused.status_code, refused.json()["code"]) == (status, code)
    assert class_path in refused.json()["result"]


def test_a_job_that_throws_shows_class_message_and_java_stack(api, context):
    reply = api.start("jvm", "jvm.Fails", context, sync="true").json()
    assert reply["status"] == "ERROR"
    result = reply["result"]
    assert (result["errorClass"], result["message"]) == ("java.lang.IllegalStateException", "as asked")
    assert "at jvm.Fails.apply(Jobs.scala" in result["stack"]
    assert "as asked" in api.http.get(f"/jobs/{reply['jobId']}/log").text


def test_a_value_without_a_json_form_is_an_error_that_names_its_class(api, context):
    reply = api.start("jvm", "jvm.Unfit", context, sync="true").json()
    assert reply["status"] == "ERROR" and "class java.lang.Object" in reply["result"]["message"]


def test_a_kill_ends_a_loop_in_the_jvm_and_disturbs_nobody(api, context):
    stuck = api.start("jvm", "jvm.Forever", context).json()["jobId"]
    other = api.start("beside", "hello.Sleep", context, "seconds = 4").json()["jobId"]
    api.await_log(stuck, "spinning")
    url = api.http.get(f"/contexts/{context}").json()["url"]
    assert _spinning(api, url)
    assert api.http.delete(f"/jobs/{stuck}").json() == {"status": "KILLED"}
    eventually(lambda: not _spinning(api, url), why="the thread runs on")
    assert api.ended(other)["result"] == "slept"
    assert api.run("jvm", "jvm.Echo", context) == {}


def _spinning(api: Api, spark_ui: str) -> bool:
    """Whether a thread of the driver JVM is in that job, by the thread dump of Spark's own pages."""
    return "jvm.Forever.apply" in api.http.get(f"{spark_ui}/executors/threadDump/?executorId=driver").text


def test_two_versions_of_a_jar_run_their_own_code_on_executors(api, context, versions):
    api.upload("sweet", versions["apple"], JAR)
    api.upload("sour", versions["cherry"], JAR)
    for _ in range(2):
        for app, flavour in (("sweet", "apple"), ("sour", "cherry")):
            assert api.run(app, "jvm.Taste", context) == {"driver": flavour, "executors": [flavour]}
    with ThreadPoolExecutor(4) as clients:
        found = list(clients.map(lambda app: api.run(app, "jvm.Taste", context)["executors"], ["sweet", "sour"] * 2))
        people = list(clients.map(lambda app: api.run(app, "jvm.People", context)["rdd"][0], ["sweet", "sour"] * 2))
    assert found == [["apple"], ["cherry"]] * 2
    assert people == [{"name": "p1", "age": 1}] * 4


def test_a_new_version_of_a_jar_is_used_by_the_next_job(api, context, versions):
    api.upload("fresh", versions["apple"], JAR)
    assert api.run("fresh", "jvm.People", context)["rdd"][0] == {"name": "p1", "age": 1}
    api.upload("fresh", versions["cherry"], JAR)
    assert api.run("fresh", "jvm.Taste", context) == {"driver": "cherry", "executors": ["cherry"]}
    assert api.run("fresh", "jvm.People", context)["rdd"][0] == {"name": "p1", "age": 1}


@pytest.fixture(scope="module")
def greeters(service, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Uploaded: `greeter`, whose job needs the class of `words`, and `formal`, another version of that."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("words", "formal", "greeter")}
    jars = {
        "words": jar_of(folders["words"], "Words.scala", GREETING="hello"),
        "formal": jar_of(folders["formal"], "Words.scala", GREETING="good day"),
        "greeter": jar_of(folders["greeter"], "Greeter.scala", [folders["words"] / "jobs.jar"]),
    }
    with service.client() as client:
        for name, jar in jars.items():
            assert Api(client).upload(name, jar, JAR).status_code == 201
        Api(client).upload_jobs("caller", "greet")


HELLO = {"driver": "hello you", "executors": ["hello you"]}


def _greet(api: Api, cp: str, context: str) -> dict[str, Any]:
    query = {"cp": cp, "mainClass": "greeter.Greet", "context": context, "sync": "true", "timeout": 60}
    return api.http.post("/jobs", params=query).json()


def test_a_jar_uses_the_classes_of_another_on_the_driver_and_on_executors(api, context, greeters):
    assert _greet(api, "greeter,words", context)["result"] == HELLO
    assert _greet(api, "words,greeter", context)["result"] == HELLO
    assert api.run("greeter", "greeter.Greet", context, "dependent-jar-uris = [words]") == HELLO
    alone = _greet(api, "greeter", context)
    assert alone["status"] == "ERROR" and "words/Words" in alone["result"]["message"]


def test_of_two_jars_with_one_class_the_driver_uses_the_first_in_cp(api, context, greeters):
    for _ in range(2):
        assert _greet(api, "greeter,formal,words", context)["result"]["driver"] == "good day you"
        assert _greet(api, "greeter,words,formal", context)["result"]["driver"] == "hello you"


def test_a_new_version_of_a_jar_that_another_one_needs_is_used_by_the_next_job(api, context, greeters, tmp_path):
    for greeting in ("hi", "hey"):
        folder = tmp_path / greeting
        folder.mkdir()
        api.upload("changing", jar_of(folder, "Words.scala", GREETING=greeting), JAR)
        expected = {"driver": f"{greeting} you", "executors": [f"{greeting} you"]}
        assert _greet(api, "greeter,changing", context)["result"] == expected


def test_a_jar_that_a_running_job_depends_on_stays(api, context, versions):
    api.upload("held", versions["apple"], JAR)
    reply = api.http.post("/jobs", params={"cp": "jvm,held", "mainClass": "jvm.Forever", "context": context})
    job_id = reply.json()["jobId"]
    refused = api.http.delete("/binaries/held")
    assert (refused.status_code, refused.json()["result"]) == (403, f"Binary is in use by job(s): {job_id}")
    assert api.http.delete(f"/jobs/{job_id}").status_code == 200
    assert api.http.delete("/binaries/held").status_code == 200


@pytest.mark.parametrize(
    ("cp", "message"),
    [
        ("beside,jvm", "Python should have exactly one package file! Found: 2"),
        ("jvm,beside", "beside is no jar (Zip): a jar can only depend on jars"),
        ("jvm,file:/srv/a.jar", "file:/srv/a.jar is a URI"),
    ],
)
def test_binaries_that_do_not_go_together_are_refused_with_or_without_a_context(api, context, cp, message):
    for where in ({"context": context}, {}):
        refused = api.http.post("/jobs", params={"cp": cp, "mainClass": "jvm.Echo", **where})
        assert (refused.status_code, refused.json()["status"]) == (400, "JOB LOADING FAILED")
        assert message in refused.json()["result"]["message"]


@pytest.mark.parametrize("key", ["cp", "dependent-jar-uris"])
def test_the_jars_of_a_context_are_there_for_all_its_jobs(api, greeters, key):
    assert api.http.post(f"/contexts/equipped?num-cpu-cores=1&memory-per-node=512m&{key}=words").status_code == 200
    assert api.run("caller", "greet.Greet", "equipped") == "hello you"
    assert api.run("greeter", "greeter.Greet", "equipped") == HELLO
    assert api.http.delete("/contexts/equipped").status_code == 200


def test_a_context_whose_jar_is_not_there_or_no_jar_does_not_start(api):
    for name, why in (("nowhere", "appName nowhere not found"), ("beside", "beside is no jar (Zip)")):
        failed = api.http.post(f"/contexts/unequipped?num-cpu-cores=1&cp={name}")
        assert (failed.status_code, failed.json()["status"]) == (500, "CONTEXT INIT ERROR")
        assert why in failed.json()["result"]["message"]


@pytest.mark.parametrize("query", ["cp=http://x/a.jar", "cp=words&context-per-jvm=false"])
def test_a_context_cannot_have_jars_by_uri_or_in_a_shared_application(api, query):
    refused = api.http.post(f"/contexts/unequipped?{query}")
    assert (refused.status_code, refused.json()["code"]) == (400, "bad-config")
