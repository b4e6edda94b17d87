"""Jobs on the shared context: what a caller sees of each way a job can go."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.service import Api, driver_of, eventually, unable_to_write, zip_of


@pytest.fixture(scope="module", autouse=True)
def hello(service) -> None:
    with service.client() as client:
        Api(client).upload_jobs("hello", "hello", "broken", "needy")


def test_a_sync_job_returns_its_result_and_duration(api, context):
    reply = api.start("hello", "hello.Echo", context, '{"value": {"a": [1, null, "ü"]}}', sync="true", timeout=60)
    body = reply.json()
    assert reply.status_code == 200
    assert body["result"] == {"a": [1, None, "ü"]}
    assert body["status"] == "FINISHED" and body["duration"].endswith(" secs")
    assert api.job(body["jobId"])["result"] == body["result"]


def test_an_async_job_is_acknowledged_then_read(api, context):
    reply = api.start("hello", "hello.Echo", context, "value = 7")
    assert reply.status_code == 202
    assert reply.json()["status"] == "STARTED" and reply.json()["duration"] == "Job not done yet"
    assert api.ended(reply.json()["jobId"])["result"] == 7


def test_the_posted_config_is_kept_for_sync_and_async_jobs(api, context):
    for sync in ("true", "false"):
        reply = api.start("hello", "hello.Echo", context, "value { a = 1, b = [x, y] }", sync=sync)
        config = api.http.get(f"/jobs/{reply.json()['jobId']}/config")
        assert config.json() == {"value": {"a": 1, "b": ["x", "y"]}}


def test_jobs_are_listed_newest_first_and_by_state(api, context):
    ids = [api.start("hello", "hello.Echo", context, sync="true").json()["jobId"] for _ in range(3)]
    listed = [job["jobId"] for job in api.http.get("/jobs?limit=3&status=finished").json()]
    assert listed == ids[::-1]


@pytest.mark.parametrize("sync", ["true", "false"])
def test_validation_problems_are_a_400_with_every_text(api, context, sync):
    reply = api.start("hello", "hello.Greet", context, "other = 1", sync=sync)
    assert reply.status_code == 400
    assert reply.json()["status"] == "VALIDATION FAILED" and reply.json()["code"] == "validation-failed"
    assert "no name" in reply.json()["result"]["message"] and "no greeting" in reply.json()["result"]["message"]


def test_prints_and_logging_of_a_job_are_its_log(api, context):
    reply = api.start("hello", "hello.Greet", context, "name = Ada, greeting = Hello", sync="true")
    job_id = reply.json()["jobId"]
    assert reply.json()["result"] == f"Hello, Ada! from {job_id}"
    assert api.http.get(f"/jobs/{job_id}/log").text == "greeting Ada\n"


def test_a_job_that_raises_shows_class_message_and_traceback(api, context):
    body = api.start("hello", "hello.Raise", context, sync="true").json()
    assert body["status"] == "ERROR"
    assert body["result"]["errorClass"] == "LookupError" and body["result"]["message"] == "nothing there"
    assert "in run_job" in body["result"]["stack"]
    assert "nothing there" in api.http.get(f"/jobs/{body['jobId']}/log").text


def test_a_spark_error_keeps_its_own_message(api, context):
    body = api.start("hello", "hello.SparkRaise", context, sync="true", timeout=60).json()
    assert body["status"] == "ERROR"
    assert "no_such_table" in body["result"]["message"] and "AnalysisException" in body["result"]["errorClass"]


def test_a_validate_that_raises_ends_the_job_in_error(api, context):
    body = api.start("hello", "hello.InvalidInValidate", context, sync="true").json()
    assert body["status"] == "ERROR" and body["result"]["message"] == "cannot validate"


@pytest.mark.parametrize(
    ("job", "said"), [("Segfault", "process ended unexpectedly"), ("Exit", "3"), ("NotJson", "no JSON form")]
)
def test_a_job_that_breaks_its_process_or_result_is_an_error_and_the_next_works(api, context, job, said):
    body = api.start("hello", f"hello.{job}", context, sync="true", timeout=60).json()
    assert body["status"] == "ERROR" and said in body["result"]["message"], body
    assert api.run("hello", "hello.Echo", context, "value = on") == "on"


def test_what_a_crashed_job_printed_is_kept(api, context):
    body = api.start("hello", "hello.Segfault", context, sync="true", timeout=60).json()
    assert api.http.get(f"/jobs/{body['jobId']}/log").text == "about to crash\n"


def test_frames_of_spark_and_pandas_are_row_objects(api, context):
    rows = [{"n": 1, "s": "a"}, {"n": 2, "s": None}]
    assert api.run("hello", "hello.Frame", context) == {"spark": rows, "pandas": rows}


def test_a_job_runs_a_query_of_structured_streaming(api, context, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).write_text("first line\nsecond line\n")
    assert api.run("hello", "hello.Streamed", context, f'folder = "{tmp_path}"') == 4


def test_jobs_of_a_context_share_its_temp_views(api, context):
    api.run("hello", "hello.MakeView", context, "rows = 12")
    assert api.run("hello", "hello.CountView", context) == 12


def test_each_job_is_an_object_of_its_own(api, context):
    assert [api.run("hello", "hello.Counts", context) for _ in range(2)] == [1, 1]


def test_a_sync_job_beyond_its_timeout_goes_on_as_an_async_one(api, context):
    reply = api.start("hello", "hello.Sleep", context, "seconds = 8", sync="true", timeout=1)
    assert reply.status_code == 202
    assert reply.json()["status"] == "RUNNING"
    assert reply.headers["location"] == f"/jobs/{reply.json()['jobId']}"
    assert api.ended(reply.json()["jobId"])["result"] == "slept"


def test_more_jobs_than_slots_are_refused_with_503(api, context):
    started = [api.start("hello", "hello.Sleep", context, "seconds = 600") for _ in range(8)]
    try:
        refused = api.start("hello", "hello.Echo", context, sync="true")
        assert refused.status_code == 503 and refused.json()["status"] == "NO SLOTS AVAILABLE"
        assert refused.json()["result"] == "Too many running jobs (8) for job context 'shared'"
    finally:
        for reply in started:
            api.http.delete(f"/jobs/{reply.json()['jobId']}")
    assert api.run("hello", "hello.Echo", context, "value = 1") == 1


@pytest.mark.parametrize(
    ("request_", "status", "code", "said"),
    [
        (("nope", "hello.Echo", "shared", ""), 404, "no-such-binary", "appName nope not found"),
        (("nope", "hello.Echo", "nope", ""), 404, "no-such-binary", "appName nope not found"),
        (("hello", "hello.Echo", "nope", ""), 404, "no-such-context", "context nope not found"),
        (("hello", "hello.Nope", "shared", ""), 404, "no-such-class", "classPath hello.Nope not found"),
        (("hello", "nope.Echo", "shared", ""), 404, "no-such-class", "classPath nope.Echo not found"),
        (("hello", "Echo", "shared", ""), 404, "no-such-class", "classPath Echo not found"),
        (("hello", "hello.Echo", "shared", "{a = "), 400, "bad-config", "Cannot parse config: "),
        (("hello", "", "shared", ""), 400, "bad-config", "classPath parameter is missing!"),
        (("hello", "hello.NotAJob", "shared", ""), 400, "invalid-job-type", "Invalid job type for this context"),
    ],
)
def test_what_cannot_run_is_refused_and_leaves_no_record(api, context, request_, status, code, said):
    before = api.http.get("/jobs").json()
    reply = api.start(*request_, sync="true")
    assert (reply.status_code, reply.json()["code"]) == (status, code), reply.text
    assert said in reply.json()["result"]
    assert api.http.get("/jobs").json() == before


@pytest.mark.parametrize(("module", "said"), [("broken", "cannot be imported"), ("needy", "a_module_that_nobody_has")])
def test_an_import_that_raises_is_a_400_with_the_traceback(api, context, module, said):
    reply = api.start("hello", f"{module}.Job", context, sync="true")
    assert reply.status_code == 400 and reply.json()["status"] == "JOB LOADING FAILED"
    assert said in reply.json()["result"]["message"] and f"{module}.py" in reply.json()["result"]["stack"]


def test_broken_uploads_are_refused_and_the_next_works(api):
    assert api.upload("x", b"PK\x03\x04 not really").status_code == 400
    assert api.upload("x", b"plain text").json()["code"] == "bad-binary"
    assert api.upload("x", zip_of({"a.py": ""}), "application/json").status_code == 415
    assert api.upload("x", b"def broken(:", "text/x-python").status_code == 400
    assert api.upload("x", zip_of({"a.py": ""})).status_code == 201
    assert api.http.delete("/binaries/x").status_code == 200


def test_a_package_that_spark_cannot_take_is_an_error_of_its_own_and_the_next_works(api, context):
    """As on a full disk: Spark's `addPyFile` makes a copy of the package."""
    api.upload_jobs("unshipped", "greet", "hello")
    driver = driver_of(api.http.get(f"/contexts/{context}").json()["id"])
    with unable_to_write(driver):
        job = api.start("unshipped", "hello.Echo", context, sync="true", timeout=60).json()
    assert job["status"] == "ERROR", job
    error = job["result"]
    assert error["errorClass"] == "java.nio.file.FileSystemException" and "File too large" in error["message"]
    assert "addPyFile" in error["stack"]
    assert api.job(job["jobId"])["result"] == error
    assert api.run("unshipped", "hello.Echo", context, "value = 1") == 1


def test_a_lone_python_file_is_a_binary_whose_module_is_the_app(api, context):
    source = (
        "class Job:\n  def validate(self, c, r, d): return d\n  def run_job(self, c, r, d): return c.range(5).count()\n"
    )
    assert api.upload("lone-job", source.encode(), "text/x-python").status_code == 201
    assert api.run("lone-job", "lone_job.Job", context) == 5


def test_a_binary_in_use_cannot_be_deleted(api, context):
    api.upload_jobs("used", "hello")
    job_id = api.start("used", "hello.Sleep", context, "seconds = 600").json()["jobId"]
    refused = api.http.delete("/binaries/used")
    assert refused.status_code == 403 and job_id in refused.json()["result"]
    api.http.delete(f"/jobs/{job_id}")
    assert api.http.delete("/binaries/used").status_code == 200


@pytest.mark.parametrize("how", ["jobId", "Idempotency-Key"])
def test_a_job_asked_for_twice_under_one_id_runs_once(api, context, how, tmp_path):
    api.upload_jobs("twice", "hello")
    name = f"asked-by-{how}"
    params, headers = ({"jobId": name}, {}) if how == "jobId" else ({}, {"Idempotency-Key": name})
    query = {"appName": "twice", "classPath": "hello.Once", "context": context, "sync": "true", "timeout": 60} | params

    def ask(config: str = f'folder = "{tmp_path}", seconds = 2') -> httpx.Response:
        return api.http.post("/jobs", params=query, headers=headers, content=config)

    with ThreadPoolExecutor(2) as clients:
        replies = [reply.json() for reply in clients.map(lambda _: ask(), range(2))]
    replies.append(ask().json())
    assert [reply["result"] for reply in replies] == ["once"] * 3, replies
    assert len({reply["jobId"] for reply in replies}) == 1
    assert how == "Idempotency-Key" or replies[0]["jobId"] == name
    other = ask("seconds = 3")
    assert (other.status_code, other.json()["code"]) == (409, "job-exists")


def test_an_ad_hoc_job_asked_for_twice_at_once_runs_once(api, tmp_path):
    api.upload_jobs("twice", "hello")
    query = {"appName": "twice", "classPath": "hello.Once", "sync": "true", "timeout": 60, "jobId": "adhoc-twice"}
    config = f'folder = "{tmp_path}", seconds = 2'
    with ThreadPoolExecutor(2) as clients:
        replies = list(clients.map(lambda _: api.http.post("/jobs", params=query, content=config).json(), range(2)))
    assert [reply.get("result") for reply in replies] == ["once"] * 2, replies


def test_a_refusal_is_told_again_to_whoever_asks_again(api, context):
    api.upload_jobs("twice", "hello")
    query = {"appName": "twice", "classPath": "hello.Greet", "context": context, "jobId": "refused-twice"}
    for _ in range(2):
        refused = api.http.post("/jobs", params=query)
        assert (refused.status_code, refused.json()["code"]) == (400, "validation-failed")
        assert refused.json()["result"]["message"] == "no name; no greeting"


def test_a_sync_job_whose_client_goes_away_still_ends_and_can_be_read(api, context):
    query = {"appName": "hello", "classPath": "hello.Sleep", "context": context, "sync": "true", "jobId": "left-alone"}
    with pytest.raises(httpx.ReadTimeout):
        api.http.post("/jobs", params=query, content="seconds = 3", timeout=1.0)
    eventually(lambda: api.http.get("/jobs/left-alone").status_code == 200)
    assert api.ended("left-alone")["result"] == "slept"


@pytest.mark.parametrize("data", ["[]", "null", "[1, 2]", '"text"'])
def test_whatever_validate_returns_is_the_jobs_data(api, context, data):
    assert api.run("hello", "hello.Data", context, f'{{"data": {data}}}') == json.loads(data)


def test_problems_that_run_job_returns_are_no_refusal(api, context):
    reply = api.start("hello", "hello.Data", context, "data = problems", sync="true").json()
    assert reply["status"] == "ERROR" and "ValidationProblem, which has no JSON form" in reply["result"]["message"]
