"""Jobs in jars: functions and mains, in the same contexts as Python's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

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


def test_a_kill_ends_a_loop_in_the_jvm_and_disturbs_nobody(api, context):
    stuck = api.start("jvm", "jvm.Forever", context).json()["jobId"]
    other = api.start("beside", "hello.Sleep", context, "seconds = 4").json()["jobId"]
    api.await_log(stuck, "spinning")
    url = api.http.get(f"/contexts/{context}").json()["url"]
    assert _spinning(api, url)
    assert api.http.delete(f"/jobs/{stuck}").json() == {"status": "KILLED"}
    eventually(lambda: not _spinning(api, url), 5, "the thread runs on")
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
