"""`/jobs`."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from rayjobs.errors import ErrorData
from rayjobs.states import JobState
from tests.web.conftest import MAX_BODY_BYTES
from tests.web.fake_service import FakeService

REPORT = {"jobId", "status", "startTime", "duration", "classPath", "context", "contextId"}


async def test_an_async_job_answers_202_started_however_far_it_is(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/jobs?appName=app&classPath=m.Echo&context=ctx")
    report = reply.json()
    assert reply.status_code == 202
    assert report.keys() == REPORT
    assert (report["status"], report["duration"]) == ("STARTED", "Job not done yet")
    assert (report["classPath"], report["context"], report["contextId"]) == ("m.Echo", "ctx", "c1")
    assert fake.submissions[report["jobId"]].wait_s == 0


async def test_a_job_without_context_gets_one_of_its_own(http: httpx.AsyncClient, fake: FakeService) -> None:
    report = (await http.post("/jobs?appName=app&classPath=m.Echo")).json()
    assert fake.submissions[report["jobId"]].context is None
    assert report["context"].endswith("-m.Echo")


async def test_a_finished_sync_job_answers_its_result(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/jobs?appName=app&classPath=m.Echo&sync=true", content="say = [1, null, {a: é}]")
    body = reply.json()
    assert reply.status_code == 200
    assert body.keys() == {"jobId", "status", "duration", "result"}
    assert (body["status"], body["result"]) == ("FINISHED", [1, None, {"a": "é"}])
    assert body["duration"].endswith(" secs")
    assert fake.submissions[body["jobId"]].wait_s == 5.0


async def test_a_result_goes_out_as_the_text_it_is(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo&sync=true")).json()["jobId"]
    fake.results[job_id] = '{"big": 1e400,  "twice": 1, "twice": 2}'
    assert f',"result":{fake.results[job_id]}}}'.encode() in (await http.get(f"/jobs/{job_id}")).content


async def test_a_lost_result_is_left_out(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo&sync=true")).json()["jobId"]
    del fake.results[job_id]
    reply = await http.get(f"/jobs/{job_id}")
    assert (reply.status_code, reply.json().keys()) == (200, REPORT)


async def test_a_failed_sync_job_answers_200_with_its_error(http: httpx.AsyncClient) -> None:
    reply = await http.post("/jobs?appName=app&classPath=m.Fails&sync=true")
    body = reply.json()
    assert reply.status_code == 200
    assert body.keys() == {"jobId", "status", "result"}
    assert body["status"] == "ERROR"
    assert body["result"] == {"message": "boom", "errorClass": "ValueError", "stack": "Traceback: here"}


async def test_a_sync_job_killed_meanwhile_answers_200_killed(http: httpx.AsyncClient, fake: FakeService) -> None:
    asking = asyncio.create_task(http.post("/jobs?appName=app&classPath=m.Waits&sync=true"))
    while not fake.jobs:
        await asyncio.sleep(0)
    job_id = next(iter(fake.jobs))
    await http.delete(f"/jobs/{job_id}")
    reply = await asking
    assert (reply.status_code, reply.json()["status"]) == (200, "KILLED")
    assert reply.json()["result"]["message"] == f"Job {job_id} killed"


async def test_a_sync_job_that_outlasts_its_wait_answers_202_and_where_to_ask(
    http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/jobs?appName=app&classPath=m.Waits&sync=true&timeout=1")
    body = reply.json()
    assert reply.status_code == 202
    assert (body["status"], body.keys()) == ("RUNNING", REPORT)
    assert reply.headers["location"] == f"/jobs/{body['jobId']}"
    assert fake.submissions[body["jobId"]].wait_s == 1.0


@pytest.mark.parametrize("given", ["true", "YES", "On", "1"])
async def test_sync_knows_four_words_for_yes(given: str, http: httpx.AsyncClient) -> None:
    assert (await http.post(f"/jobs?appName=app&classPath=m.Echo&sync={given}")).status_code == 200


@pytest.mark.parametrize("given", ["false", "No", "OFF", "0", ""])
async def test_sync_knows_four_words_for_no_and_empty_is_absent(given: str, http: httpx.AsyncClient) -> None:
    assert (await http.post(f"/jobs?appName=app&classPath=m.Echo&sync={given}")).status_code == 202


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("sync=maybe", "'sync' was malformed: 'maybe' is not a valid Boolean value"),
        ("timeout=soon", "'timeout' was malformed: 'soon' is not a valid 32-bit signed integer value"),
        ("timeout=1.5", "'timeout' was malformed: '1.5' is not a valid 32-bit signed integer value"),
        (
            "timeout=2147483648",
            "'timeout' was malformed: '2147483648' is not a valid 32-bit signed integer value",
        ),
        ("timeout=-1", "'timeout' was malformed: '-1' is less than 0"),
        ("sync=true&timeout=0", "'timeout' was malformed: '0' is less than 1"),
    ],
)
async def test_a_bad_parameter_is_400_and_starts_nothing(
    query: str, problem: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post(f"/jobs?appName=app&classPath=m.Echo&{query}")
    assert reply.status_code == 400
    assert reply.json() == {
        "status": "ERROR",
        "result": f"The query parameter {problem}",
        "code": "bad-parameter",
    }
    assert not fake.jobs


@pytest.mark.parametrize(
    ("query", "body", "problem"),
    [
        ("appName=app", "", "classPath parameter is missing!"),
        ("appName=app&cp=app&mainClass=m.Echo", "", "classPath parameter is missing!"),
        ("cp=app&classPath=m.Echo", "", "mainClass parameter is missing!"),
        ("", "", "To start the job appName or cp parameters should be configured!"),
        ("classPath=m.Echo", "", "To start the job appName or cp parameters should be configured!"),
        ("cp=,", "", "To start the job appName or cp parameters should be configured!"),
        ("", "cp = [app]", "mainClass parameter is missing!"),
    ],
)
async def test_missing_code_parameters_are_named(query: str, body: str, problem: str, http: httpx.AsyncClient) -> None:
    reply = await http.post(f"/jobs?{query}", content=body)
    expected = {"status": "ERROR", "result": f"Cannot parse config: {problem}", "code": "bad-config"}
    assert (reply.status_code, reply.json()) == (400, expected)


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("cp=app&mainClass=m.Echo", ""),
        ("", "cp = app, mainClass = m.Echo"),
        ("", '{"cp": ["app"], "mainClass": "m.Echo"}'),
        ("cp=app", "cp = other, mainClass = m.Echo"),
    ],
)
async def test_cp_and_main_class_come_from_query_or_body(query: str, body: str, http: httpx.AsyncClient) -> None:
    reply = await http.post(f"/jobs?{query}", content=body)
    assert (reply.status_code, reply.json()["classPath"]) == (202, "m.Echo")


async def test_several_packages_of_python_are_refused(http: httpx.AsyncClient) -> None:
    await _upload_jars(http, "other")
    reply = await http.post("/jobs?cp=app,%20other&mainClass=m.Echo")
    assert (reply.status_code, reply.json()["status"]) == (400, "JOB LOADING FAILED")
    assert reply.json()["result"]["message"] == "Python should have exactly one package file! Found: 2"
    assert reply.json()["code"] == "job-loading-failed"


@pytest.mark.parametrize(
    ("query", "body", "names"),
    [
        ("cp=a,b,c&mainClass=m.Echo", "", ["a", "b", "c"]),
        ("", "cp = [c, a], mainClass = m.Echo, dependent-jar-uris = [b]", ["c", "a", "b"]),
        ("appName=a&classPath=m.Echo", 'dependent-jar-uris = "b, c"', ["a", "b", "c"]),
        ("appName=a&classPath=m.Echo", '{"dependent-jar-uris": ["c"], "cp": "b"}', ["a", "c"]),
        ("appName=a&classPath=m.Echo", "dependent-jar-uris = null", ["a"]),
    ],
)
async def test_a_job_runs_with_several_jars_the_main_one_first(
    query: str, body: str, names: list[str], http: httpx.AsyncClient, fake: FakeService
) -> None:
    await _upload_jars(http, "a", "b", "c")
    job_id = (await http.post(f"/jobs?{query}", content=body)).json()["jobId"]
    assert [binary.app_name for binary in fake.jobs[job_id].binaries] == names


@pytest.mark.parametrize(
    ("names", "missing"),
    [("a,none,nil", "none"), ("none,a", "none"), ("file:a.jar,none", "none"), ("app,none", "none")],
)
async def test_the_first_binary_that_is_not_there_is_named(names: str, missing: str, http: httpx.AsyncClient) -> None:
    await _upload_jars(http, "a")
    reply = await http.post(f"/jobs?cp={names}&mainClass=m.Echo&context=none")
    assert (reply.status_code, reply.json()["result"]) == (404, f"appName {missing} not found")


@pytest.mark.parametrize("uri", ["http://x/a.jar", "s3://x/a.jar", "file:/srv/a.jar", "file:a.jar"])
@pytest.mark.parametrize(
    "query", ["cp={}&mainClass=m.Echo", "cp=app,{}&mainClass=m.Echo", "appName=app&classPath=m.Echo"]
)
async def test_a_uri_in_place_of_a_name_is_refused_once_the_context_is_known(
    query: str, uri: str, http: httpx.AsyncClient
) -> None:
    body = {"dependent-jar-uris": [uri]}
    reply = await http.post(f"/jobs?{query.format(uri)}&context=none", json=body)
    assert (reply.status_code, reply.json()["code"]) == (404, "no-such-context")
    reply = await http.post(f"/jobs?{query.format(uri)}&context=ctx", json=body)
    assert (reply.status_code, reply.json()["status"]) == (400, "JOB LOADING FAILED")
    assert reply.json()["result"]["message"] == (
        f"{uri} is a URI, and none is loaded: upload the file with POST /binaries/<name>, and give that name"
    )


async def test_a_jar_does_not_depend_on_a_package_of_python(http: httpx.AsyncClient) -> None:
    await _upload_jars(http, "a")
    reply = await http.post("/jobs?cp=a,app&mainClass=m.Echo")
    assert (reply.status_code, reply.json()["code"]) == (400, "job-loading-failed")
    assert reply.json()["result"]["message"] == "app is no jar (Egg): a jar can only depend on jars"


async def test_a_jar_that_another_one_needs_is_in_use(http: httpx.AsyncClient) -> None:
    await _upload_jars(http, "a", "b")
    job_id = (await http.post("/jobs?cp=a,b&mainClass=m.Waits")).json()["jobId"]
    reply = await http.delete("/binaries/b")
    assert (reply.status_code, reply.json()["result"]) == (403, f"Binary is in use by job(s): {job_id}")


@pytest.mark.parametrize(
    ("query", "result", "code"),
    [
        ("appName=none&classPath=m.Echo&context=none", "appName none not found", "no-such-binary"),
        ("appName=app&classPath=m.None&context=none", "context none not found", "no-such-context"),
        ("appName=app&classPath=m.None&context=ctx", "classPath m.None not found", "no-such-class"),
    ],
)
async def test_what_a_job_needs_and_is_not_there_is_404(
    query: str, result: str, code: str, http: httpx.AsyncClient
) -> None:
    reply = await http.post(f"/jobs?{query}")
    assert (reply.status_code, reply.json()) == (404, {"status": "ERROR", "result": result, "code": code})


async def test_parameters_are_checked_before_the_body_and_the_body_before_the_rest(
    http: httpx.AsyncClient,
) -> None:
    body = "{ not = [parsable"
    assert (await http.post("/jobs?sync=maybe", content=body)).json()["code"] == "bad-parameter"
    reply = await http.post("/jobs?callbackUrl=ftp://me", content=body)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-config")
    assert reply.json()["result"].startswith("Cannot parse config: ")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain; charset=iso-8859-1", "say = été".encode("latin-1")),
        ('application/json; charset="utf-16"', '{"say": "été"}'.encode("utf-16")),
        ("application/x-www-form-urlencoded", "say=été".encode()),
    ],
)
async def test_a_body_is_read_in_its_charset_and_never_as_a_form(
    content_type: str, body: bytes, http: httpx.AsyncClient
) -> None:
    url = "/jobs?appName=app&classPath=m.Echo&sync=true"
    reply = await http.post(url, content=body, headers={"content-type": content_type})
    assert reply.json()["result"] == "été"


@pytest.mark.parametrize("charset", ["utf-8", "nonsense", "hex"])
async def test_a_body_that_is_not_text_is_400(charset: str, http: httpx.AsyncClient) -> None:
    headers = {"content-type": f"text/plain; charset={charset}"}
    reply = await http.post("/jobs?appName=app&classPath=m.Echo", content=b"say = \xff", headers=headers)
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-config")


async def test_a_body_beyond_the_limit_is_413(http: httpx.AsyncClient) -> None:
    url = "/jobs?appName=app&classPath=m.Echo"
    body = "#" * MAX_BODY_BYTES
    assert (await http.post(url, content=body)).status_code == 202
    reply = await http.post(url, content=body + "#")
    assert (reply.status_code, reply.json()["code"]) == (413, "too-large")
    assert reply.json()["result"] == f"the body is longer than http.max-body-bytes ({MAX_BODY_BYTES})"


async def test_the_report_has_utc_times_and_durations_in_seconds(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo&sync=true")).json()["jobId"]
    start = datetime(2013, 5, 29, tzinfo=UTC)
    for length, text in ((timedelta(minutes=5), "300.0 secs"), (timedelta(seconds=6.341), "6.341 secs")):
        fake.jobs[job_id] = replace(fake.jobs[job_id], start_time=start, end_time=start + length)
        report = (await http.get(f"/jobs/{job_id}")).json()
        assert (report["startTime"], report["duration"]) == ("2013-05-29T00:00:00.000Z", text)


@pytest.mark.parametrize("state", [JobState.ERROR, JobState.KILLED, JobState.RESTARTING])
async def test_reports_of_jobs_with_an_error_show_it_in_lists_too(
    state: JobState, http: httpx.AsyncClient, fake: FakeService
) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Waits")).json()["jobId"]
    fake.jobs[job_id] = replace(fake.jobs[job_id], state=state, error=ErrorData("m", "C", "s"))
    one, [listed] = (await http.get(f"/jobs/{job_id}")).json(), (await http.get("/jobs")).json()
    assert one == listed
    assert (one["status"], one["result"]) == (state, {"message": "m", "errorClass": "C", "stack": "s"})


async def test_an_async_job_that_failed_at_once_is_not_called_started(
    http: httpx.AsyncClient, fake: FakeService
) -> None:
    start_job = fake.start_job
    fake.start_job = lambda submission: start_job(replace(submission, wait_s=5.0))  # type: ignore[method-assign]
    reply = await http.post("/jobs?appName=app&classPath=m.Fails")
    assert (reply.status_code, reply.json()["status"]) == (200, "ERROR")
    assert reply.json()["result"]["message"] == "boom"


@pytest.mark.parametrize("path", ["/jobs", "/jobs/"])
async def test_the_list_is_newest_first_without_results(path: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    url = "/jobs?appName=app&classPath=m.Echo&sync=true"
    ids = [(await http.post(url)).json()["jobId"] for _ in range(3)]
    listed = (await http.get(path)).json()
    assert [report["jobId"] for report in listed] == ids[::-1]
    assert all(report.keys() == REPORT for report in listed)


async def test_the_list_can_be_cut_and_narrowed(http: httpx.AsyncClient) -> None:
    for name in ("m.Echo", "m.Fails", "m.Echo"):
        await http.post(f"/jobs?appName=app&classPath={name}&sync=true")
    assert len((await http.get("/jobs?limit=2")).json()) == 2
    assert (await http.get("/jobs?limit=0")).json() == []
    assert [job["classPath"] for job in (await http.get("/jobs?status=error")).json()] == ["m.Fails"]
    assert len((await http.get("/jobs?status=Finished")).json()) == 2
    assert (await http.get("/jobs?status=nonsense")).json() == []


async def test_the_list_shows_fifty_unless_told(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo&sync=true")).json()["jobId"]
    fake.jobs |= {str(number): replace(fake.jobs[job_id], job_id=str(number)) for number in range(60)}
    assert len((await http.get("/jobs")).json()) == 50


@pytest.mark.parametrize("limit", ["-1", "many"])
async def test_a_bad_limit_is_400(limit: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(f"/jobs?limit={limit}")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-parameter")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/jobs/x"), ("GET", "/jobs/x/config"), ("GET", "/jobs/x/log"), ("DELETE", "/jobs/x")],
)
async def test_an_unknown_job_is_404(method: str, path: str, http: httpx.AsyncClient) -> None:
    reply = await http.request(method, path)
    expected = {"status": "ERROR", "result": "No such job ID x", "code": "no-such-job"}
    assert (reply.status_code, reply.json()) == (404, expected)


async def test_the_posted_configuration_comes_back_pretty_printed(http: httpx.AsyncClient) -> None:
    url = "/jobs?appName=app&classPath=m.Echo&sync=true"
    job_id = (await http.post(url, content="a.b = 1, c = é")).json()["jobId"]
    reply = await http.get(f"/jobs/{job_id}/config")
    assert reply.headers["content-type"] == "application/json"
    assert reply.text.startswith('{\n  "a": {\n    "b": 1')
    assert reply.json() == {"a": {"b": 1}, "c": "é"}


async def test_text_that_utf8_cannot_hold_is_escaped(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Waits")).json()["jobId"]
    fake.jobs[job_id] = replace(fake.jobs[job_id], error=ErrorData("\ud800", "C", ""))
    assert (await http.get(f"/jobs/{job_id}")).json()["result"]["message"] == "\ud800"


async def test_the_log_is_plain_text(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo&sync=true")).json()["jobId"]
    fake.logs[job_id] = "gedruckt: ü\n".encode()
    reply = await http.get(f"/jobs/{job_id}/log")
    assert reply.headers["content-type"] == "text/plain; charset=utf-8"
    assert reply.text == "gedruckt: ü\n"


async def test_killing_a_running_job_answers_killed_then_404(http: httpx.AsyncClient) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Waits")).json()["jobId"]
    reply = await http.delete(f"/jobs/{job_id}")
    assert (reply.status_code, reply.json()) == (200, {"status": "KILLED"})
    reply = await http.delete(f"/jobs/{job_id}")
    expected = {"status": "ERROR", "result": f"No running job with ID {job_id}", "code": "no-running-job"}
    assert (reply.status_code, reply.json()) == (404, expected)


async def test_killing_a_failed_job_answers_its_error(http: httpx.AsyncClient) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Fails&sync=true")).json()["jobId"]
    reply = await http.delete(f"/jobs/{job_id}")
    error = {"message": "boom", "errorClass": "ValueError", "stack": "Traceback: here"}
    assert (reply.status_code, reply.json()) == (200, {"status": "ERROR", "ERROR": error})


async def _upload_jars(http: httpx.AsyncClient, *names: str) -> None:
    for name in names:
        headers = {"Content-Type": "application/java-archive"}
        assert (await http.post(f"/binaries/{name}", content=b"PK\x03\x04 a jar", headers=headers)).is_success
