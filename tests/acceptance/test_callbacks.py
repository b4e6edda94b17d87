"""`callbackUrl`: each end of a job arrives at the URL that its submitter gave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.receiver import Received, Receiver, receiving
from tests.service import Api, eventually


@pytest.fixture(scope="module", autouse=True)
def hello(service) -> None:
    with service.client() as client:
        Api(client).upload_jobs("told", "hello")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


def _arrived(receiver: Receiver, job_id: str) -> Received:
    return eventually(lambda: receiver.of(job_id), why=f"no callback of {job_id}")[0]


def _callback(api: Api, job_id: str, state: str, timeout_s: float = 20.0) -> dict[str, Any]:
    """The job's callback once it is in that state."""

    def is_so() -> Any:
        callback = api.http.get(f"/jobs/{job_id}/callback").json()
        return callback["state"] == state and callback

    return eventually(is_so, timeout_s, f"the callback of {job_id} is not {state}")


@pytest.mark.parametrize("sync", ["true", "false"])
def test_a_finished_job_calls_back_with_its_result_signed(api, context, service, receiver, sync):
    reply = api.start("told", "hello.Echo", context, "value = [1, ü]", callbackUrl=f"{receiver.url}/done", sync=sync)
    job_id = reply.json()["jobId"]
    arrived = _arrived(receiver, job_id)
    assert arrived.json == {"jobId": job_id, "status": "FINISHED", "result": [1, "ü"]}
    assert arrived.path == "/done"
    assert arrived.is_signed_with((service.data_dir / "callback-secret").read_text())
    sent = _callback(api, job_id, "SENT")
    assert (sent["url"], sent["attempts"], sent["lastStatus"]) == (f"{receiver.url}/done", 1, 200)
    assert "callback" not in str(api.job(job_id))


def test_a_job_that_fails_calls_back_with_its_error(api, context, receiver):
    report = api.start("told", "hello.Raise", context, callbackUrl=receiver.url, sync="true").json()
    assert _arrived(receiver, report["jobId"]).json == report


def test_a_killed_job_calls_back(api, context, receiver):
    job_id = api.start("told", "hello.Spin", context, callbackUrl=receiver.url).json()["jobId"]
    api.await_log(job_id, "spinning")
    assert _callback(api, job_id, "WAITING")["attempts"] == 0
    assert api.http.post(f"/jobs/{job_id}/callback").status_code == 409
    api.http.delete(f"/jobs/{job_id}")
    body = _arrived(receiver, job_id).json
    assert (body["status"], body["result"]["message"]) == ("KILLED", f"Job {job_id} killed")


@pytest.mark.parametrize("sync", ["true", "false"])
def test_a_job_that_validate_refuses_calls_back_with_the_problems(api, context, receiver, sync):
    reply = api.start("told", "hello.Greet", context, callbackUrl=receiver.url, sync=sync)
    assert reply.status_code == 400
    [arrived] = eventually(lambda: receiver.received)
    assert arrived.json["status"] == "ERROR"
    assert arrived.json["result"]["message"] == reply.json()["result"]["message"]


def test_a_job_that_never_starts_does_not_call_back(api, context, receiver):
    reply = api.start("told", "hello.Nope", context, callbackUrl=receiver.url)
    assert reply.status_code == 404
    job_id = api.start("told", "hello.Echo", context, callbackUrl=receiver.url).json()["jobId"]
    _arrived(receiver, job_id)
    assert [received.json["jobId"] for received in receiver.received] == [job_id]


def test_a_job_whose_context_is_deleted_calls_back(api, receiver):
    assert api.http.post("/contexts/telling?num-cpu-cores=1").status_code == 200
    job_id = api.start("told", "hello.Spin", "telling", callbackUrl=receiver.url).json()["jobId"]
    assert api.http.delete("/contexts/telling").status_code == 200
    body = _arrived(receiver, job_id).json
    assert body["status"] == "ERROR"
    assert body["result"]["message"] == "Context (telling) for this job was terminated"


def test_a_receiver_that_fails_is_tried_again_and_one_that_was_told_is_told_again_when_asked(api, context, receiver):
    receiver.statuses = [503, 302]
    reply = api.start("told", "hello.Echo", context, callbackUrl=receiver.url, sync="true")
    job_id = reply.json()["jobId"]
    assert _callback(api, job_id, "SENT")["attempts"] == 3
    again = api.http.post(f"/jobs/{job_id}/callback")
    assert (again.status_code, again.json()["state"], again.json()["attempts"]) == (202, "PENDING", 0)
    assert _callback(api, job_id, "SENT")["attempts"] == 1
    assert len(receiver.of(job_id)) == 4


def test_a_slow_receiver_delays_no_job(api, context, receiver):
    receiver.gate.clear()
    for _ in range(10):
        told = api.start("told", "hello.Echo", context, "value = 1", callbackUrl=receiver.url, sync="true")
        assert told.json()["status"] == "FINISHED"
    eventually(lambda: receiver.received)
    assert api.run("told", "hello.Echo", context, "value = 2") == 2
