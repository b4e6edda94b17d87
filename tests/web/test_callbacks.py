"""`callbackUrl` of a job, and `/jobs/<id>/callback`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from rayjobs.records import CallbackState
from tests.web.fake_service import FakeService

URL = "http://me.example/jobs?of=a%2Fb"
TIME = datetime(2013, 5, 29, tzinfo=UTC)


async def start(http: httpx.AsyncClient, class_path: str = "m.Echo", callback_url: str = URL) -> str:
    """The id of a sync job that has that callback, waited for if it ends."""
    is_sync = class_path != "m.Waits"
    params = {"appName": "app", "classPath": class_path, "callbackUrl": callback_url, "sync": str(is_sync)}
    reply = await http.post("/jobs", params=params)
    assert reply.status_code == (200 if is_sync else 202), reply.text
    return reply.json()["jobId"]


@pytest.mark.parametrize("url", [URL, quote(URL, safe=""), "HTTPS://me:pass@me.example:8443", "http://[::1]:80/x"])
async def test_a_callback_url_may_be_encoded_once_or_twice(
    url: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    submission = fake.submissions[await start(http, callback_url=url)]
    assert submission.callback_url == (URL if url == quote(URL, safe="") else url)


@pytest.mark.parametrize("given", ["", "&callbackUrl="])
async def test_a_job_needs_no_callback(given: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post(f"/jobs?appName=app&classPath=m.Echo{given}")
    assert fake.submissions[reply.json()["jobId"]].callback_url is None


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me.example/",
        "me.example",
        "http:",
        "http:///x",
        "http://u@/",
        "http://me:0",
        "http://me:65536",
        "http://[::1",
        "http://me/a b",
        "http://me/\n",
        "%2568ttp://me",
        "x",
    ],
)
async def test_a_bad_callback_url_is_400_and_starts_nothing(
    url: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/jobs", params={"callbackUrl": url})
    message = "Callback Url has to be 'http'/'https'"
    assert (reply.status_code, reply.json()) == (400, {"status": "ERROR", "result": message, "code": "bad-parameter"})
    assert not fake.jobs


async def test_reports_of_jobs_do_not_show_the_callback_url(http: httpx.AsyncClient) -> None:
    job_id = await start(http)
    assert "me.example" not in (await http.get(f"/jobs/{job_id}")).text
    assert "me.example" not in (await http.get("/jobs")).text


async def test_a_callback_waits_for_the_end_of_its_job(http: httpx.AsyncClient) -> None:
    job_id = await start(http, "m.Waits")
    reply = await http.get(f"/jobs/{job_id}/callback")
    expected = {"jobId": job_id, "url": URL, "state": "WAITING", "attempts": 0}
    assert (reply.status_code, reply.json()) == (200, expected)
    refused = await http.post(f"/jobs/{job_id}/callback")
    assert (refused.status_code, refused.json()["code"]) == (409, "job-not-over")


async def test_a_callback_shows_what_came_of_its_attempts(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = await start(http)
    pending = (await http.get(f"/jobs/{job_id}/callback")).json()
    assert pending.keys() == {"jobId", "url", "state", "attempts", "nextAttempt"}
    fake.callbacks[job_id] = replace(
        fake.callbacks[job_id],
        state=CallbackState.FAILED,
        attempts=8,
        last_attempt=TIME,
        last_status=302,
        last_error="redirects are not followed",
        next_attempt=None,
    )
    assert (await http.get(f"/jobs/{job_id}/callback")).json() == {
        "jobId": job_id,
        "url": URL,
        "state": "FAILED",
        "attempts": 8,
        "lastAttempt": "2013-05-29T00:00:00.000Z",
        "lastStatus": 302,
        "lastError": "redirects are not followed",
    }


async def test_a_callback_is_sent_again_when_asked(http: httpx.AsyncClient, fake: FakeService) -> None:
    job_id = await start(http, "m.Fails")
    await http.get(f"/jobs/{job_id}/callback")
    sent = replace(fake.callbacks[job_id], state=CallbackState.SENT, attempts=2, last_status=200, next_attempt=None)
    fake.callbacks[job_id] = sent
    reply = await http.post(f"/jobs/{job_id}/callback")
    assert reply.status_code == 202
    assert (reply.json()["state"], reply.json()["attempts"], reply.json()["lastStatus"]) == ("PENDING", 0, 200)
    assert "nextAttempt" in reply.json()
    assert (await http.get(f"/jobs/{job_id}/callback")).json() == reply.json()


@pytest.mark.parametrize("user", ["me:secret@", "secret@", "secret:@", "a@b:secret@"])
async def test_name_and_password_of_a_url_are_not_shown(user: str, http: httpx.AsyncClient) -> None:
    job_id = await start(http, callback_url=f"https://{user}me.example:8443/x?y=1")
    for method in ("GET", "POST"):
        reply = await http.request(method, f"/jobs/{job_id}/callback")
        assert reply.json()["url"] == "https://***@me.example:8443/x?y=1"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_has_no_callback_is_404(method: str, http: httpx.AsyncClient) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Echo")).json()["jobId"]
    reply = await http.request(method, f"/jobs/{job_id}/callback")
    message = f"job {job_id} was started without a callbackUrl"
    expected = {"status": "ERROR", "result": message, "code": "no-such-callback"}
    assert (reply.status_code, reply.json()) == (404, expected)
    reply = await http.request(method, "/jobs/x/callback")
    assert (reply.status_code, reply.json()["code"]) == (404, "no-such-job")
