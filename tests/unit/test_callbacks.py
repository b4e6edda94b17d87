"""Callbacks: what is sent and when, and the sender against real receivers and a real store."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rayjobs import callbacks
from rayjobs.callbacks import Attempt, CallbackSender, CallbackStore, after_attempt, body_of, kept_secret, key_of
from rayjobs.errors import BadConfig, ErrorData, StorageFailure
from rayjobs.records import BinaryInfo, BinaryType, Callback, CallbackState, JobInfo, JobReply
from rayjobs.settings import Settings
from rayjobs.states import JobEvent, JobState, job_states_leading
from rayjobs.store.store import Store
from tests.receiver import Receiver, receiving

NOW = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
JOB = JobInfo("j1", "c1", "ctx", BinaryInfo("app", BinaryType.EGG, NOW, "e" * 64, 12), "a.Job", JobState.RUNNING, NOW)
DUE = Callback("j1", "https://me.example/x", CallbackState.PENDING, next_attempt=NOW)
BROKEN = ErrorData("bad \ud800", "ValueError", "the stack")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


# What is sent


def test_the_body_of_a_finished_job_has_its_result_as_the_text_it_is() -> None:
    finished = JOB.after(JobEvent.SUCCEEDED)
    body = body_of(JobReply(finished, '{"a": 1e400,  "b": "ü"}'))
    assert body == '{"jobId": "j1", "status": "FINISHED", "result": {"a": 1e400,  "b": "ü"}}'.encode()
    assert json.loads(body_of(JobReply(finished, '"\ud800"')))["result"] == "\ud800"


def test_the_body_of_a_finished_job_whose_result_was_lost_has_none() -> None:
    assert json.loads(body_of(JobReply(JOB.after(JobEvent.SUCCEEDED)))) == {"jobId": "j1", "status": "FINISHED"}


@pytest.mark.parametrize("event", [JobEvent.FAILED, JobEvent.KILLED, JobEvent.CONTEXT_LOST])
def test_the_body_of_a_job_that_ended_otherwise_has_its_error(event: JobEvent) -> None:
    ended = JOB.after(event, BROKEN)
    result = {"message": "bad \ud800", "errorClass": "ValueError", "stack": "the stack"}
    assert json.loads(body_of(JobReply(ended))) == {"jobId": "j1", "status": ended.state, "result": result}


def test_a_signature_is_that_of_the_reference_vector_of_standard_webhooks() -> None:
    body = b'{"test": 2432232314}'
    signature = callbacks.signature_of(key_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_secret_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    secret = kept_secret(tmp_path)
    assert secret.startswith("whsec_") and len(key_of(secret)) == 32
    assert kept_secret(tmp_path) == secret
    [file] = tmp_path.iterdir()
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("callback-secret", 0o600)


# When


@pytest.mark.parametrize("status", [200, 202, 204, 299])
def test_a_2xx_answer_is_the_end_of_it(status: int) -> None:
    sent = after_attempt(DUE, Attempt(NOW, status), Settings())
    expected = replace(DUE, state=CallbackState.SENT, attempts=1, last_attempt=NOW, last_status=status)
    assert sent == replace(expected, next_attempt=None)


@pytest.mark.parametrize("attempt", [Attempt(NOW, 302), Attempt(NOW, 400), Attempt(NOW, 503), Attempt(NOW, error="x")])
def test_anything_else_is_tried_again(attempt: Attempt) -> None:
    again = after_attempt(DUE, attempt, Settings())
    assert (again.state, again.attempts) == (CallbackState.PENDING, 1)
    assert (again.last_attempt, again.last_status, again.last_error) == (NOW, attempt.status, attempt.error)
    assert again.next_attempt == NOW + timedelta(seconds=1)


def test_the_time_between_attempts_doubles_up_to_five_minutes_until_they_are_used_up() -> None:
    settings, callback, waits = Settings(callback_attempts=12, callback_first_retry_s=0.5), DUE, []
    while (callback := after_attempt(callback, Attempt(NOW, 500), settings)).next_attempt:
        waits.append((callback.next_attempt - NOW).total_seconds())
    assert waits == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300]
    assert (callback.state, callback.attempts) == (CallbackState.FAILED, 12)


def test_very_many_attempts_do_no_harm() -> None:
    assert callbacks.retry_s(100_000, Settings()) == 300


# The sender


@pytest.fixture(autouse=True)
def short_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "STEP_S", 0.02)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as listening:
        yield listening


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), 1000)
    yield opened
    await opened.close()


def quick(folder: Path, **changes: object) -> Settings:
    """Settings of a sender that has no patience."""
    given = {"callback_attempts": 3, "callback_first_retry_s": 0.01, "callback_timeout_s": 5.0} | changes
    return Settings(data_dir=str(folder), callback_secret=SECRET, **given)  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def sending(store: CallbackStore, settings: Settings) -> AsyncIterator[None]:
    """A sender at work."""
    task = asyncio.create_task(CallbackSender(store, settings).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ended_job(store: Store, job_id: str, url: str, error: ErrorData | None = None) -> None:
    job = replace(JOB, job_id=job_id, callback_url=url, state=JobState.STARTED)
    await store.create_job(job, {})
    running = job.after(JobEvent.VALIDATED)
    await store.change_job(running, job_states_leading(JobEvent.VALIDATED))
    if error:
        await store.change_job(running.after(JobEvent.FAILED, error), job_states_leading(JobEvent.FAILED))
    else:
        await store.finish_job(running.after(JobEvent.SUCCEEDED), f'["{job_id}"]')


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not what():
            await asyncio.sleep(0.005)


async def over(store: Store, job_id: str) -> Callback:
    """The callback once it is no longer PENDING."""
    async with asyncio.timeout(10):
        while (callback := await store.get_callback(job_id)).state is CallbackState.PENDING:
            await asyncio.sleep(0.005)
    return callback


async def test_the_end_of_a_job_arrives_signed_and_is_recorded(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "done", f"{receiver.url}/x?y=%20z")
        await ended_job(store, "broken", f"{receiver.url}/x", BROKEN)
        sent, _ = await over(store, "done"), await over(store, "broken")
    assert (sent.state, sent.attempts, sent.last_status) == (CallbackState.SENT, 1, 200)
    assert sent.last_attempt and sent.last_error is sent.next_attempt is None
    [done], [broken] = receiver.of("done"), receiver.of("broken")
    assert done.json == {"jobId": "done", "status": "FINISHED", "result": ["done"]}
    assert (broken.json["status"], broken.json["result"]["errorClass"]) == ("ERROR", "ValueError")
    assert (done.path, done.headers["content-type"]) == ("/x?y=%20z", "application/json")
    assert done.is_signed_with(SECRET) and broken.is_signed_with(SECRET)
    assert abs(int(done.headers["webhook-timestamp"]) - sent.last_attempt.timestamp()) < 5


async def test_without_a_secret_in_the_settings_the_kept_one_signs(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    async with sending(store, replace(quick(tmp_path), callback_secret="")):
        await ended_job(store, "j", receiver.url)
        await over(store, "j")
    assert receiver.received[0].is_signed_with((tmp_path / "callback-secret").read_text())


async def test_a_receiver_that_fails_is_tried_again_and_each_attempt_is_logged(
    store: Store, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 404]
    caplog.set_level(logging.INFO)
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", f"{receiver.url}/path?token=t")
        sent = await over(store, "j")
    assert (sent.state, sent.attempts, sent.last_status) == (CallbackState.SENT, 3, 200)
    assert len({(received.headers["webhook-id"], received.body) for received in receiver.received}) == 1
    logged = [record.getMessage() for record in caplog.records if record.name == "rayjobs.callbacks"]
    assert [line.split("; tried again")[0] for line in logged] == [
        f"callback of job j to {receiver.url}, attempt {n}: {status}" for n, status in ((1, 500), (2, 404), (3, 200))
    ]


async def test_a_receiver_that_always_fails_is_given_up_and_sent_again_when_asked(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.statuses = [500, 500, 503]
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", receiver.url)
        failed = await over(store, "j")
        assert (failed.state, failed.attempts, failed.last_status) == (CallbackState.FAILED, 3, 503)
        again = await store.resend_callback("j")
        assert (again.state, again.attempts, again.last_status) == (CallbackState.PENDING, 0, 503)
        sent = await over(store, "j")
    assert (sent.state, sent.attempts, len(receiver.received)) == (CallbackState.SENT, 1, 4)


async def test_a_redirect_is_a_failure_and_not_followed(store: Store, receiver: Receiver, tmp_path: Path) -> None:
    receiver.statuses = [302, 308]
    async with sending(store, quick(tmp_path, callback_attempts=2)):
        await ended_job(store, "j", f"{receiver.url}/here")
        failed = await over(store, "j")
    assert (failed.last_status, failed.last_error) == (308, "redirects are not followed")
    assert [received.path for received in receiver.received] == ["/here", "/here"]


async def test_nobody_there_is_a_failure_that_says_so(store: Store, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", f"http://127.0.0.1:{port}/")
        failed = await over(store, "j")
    assert (failed.state, failed.attempts, failed.last_status) == (CallbackState.FAILED, 3, None)
    assert failed.last_error and failed.last_error.startswith("ConnectError: ")


async def test_no_answer_in_time_is_a_failure_and_the_next_one_arrives(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.gate.clear()
    async with sending(store, quick(tmp_path, callback_timeout_s=1.0, callback_attempts=2)):
        for n in range(6):
            await ended_job(store, f"j{n}", receiver.url)
        failed = [await over(store, f"j{n}") for n in range(6)]
        assert {callback.last_error for callback in failed} == {"no answer within 1 s"}
        receiver.gate.set()
        await store.resend_callback("j0")
        assert (await over(store, "j0")).state is CallbackState.SENT


async def test_an_answer_without_end_is_not_read_to_the_end(store: Store, tmp_path: Path) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 1000)
                await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as endless, sending(store, quick(tmp_path)):
        await ended_job(store, "j", f"http://127.0.0.1:{endless.sockets[0].getsockname()[1]}")
        assert (await over(store, "j")).state is CallbackState.SENT


@pytest.mark.parametrize("url", ["ftp://me.example/", "http://me.example:99999/", "no url", "http://\x00/"])
async def test_a_url_that_cannot_be_used_is_a_failure_and_not_tried_for_ever(
    url: str, store: Store, tmp_path: Path
) -> None:
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", url)
        failed = await over(store, "j")
    assert (failed.state, failed.attempts) == (CallbackState.FAILED, 3)
    assert failed.last_error


async def test_a_slow_receiver_holds_up_no_other_and_has_few_at_once(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.gate.clear()
    for n in range(callbacks.AT_ONCE + 1):
        await ended_job(store, f"slow{n}", receiver.url)
    with receiving() as other:
        async with sending(store, quick(tmp_path)):
            await until(lambda: len(receiver.received) == callbacks.AT_ONCE_PER_RECEIVER)
            for n in range(20):
                await ended_job(store, f"other{n}", other.url)
            assert {(await over(store, f"other{n}")).state for n in range(20)} == {CallbackState.SENT}
            assert len(receiver.received) == callbacks.AT_ONCE_PER_RECEIVER
            receiver.gate.set()
            slow = [await over(store, f"slow{n}") for n in range(callbacks.AT_ONCE + 1)]
    assert {callback.state for callback in slow} == {CallbackState.SENT}
    assert len(receiver.received) == len(slow)


async def test_what_a_sender_did_not_finish_the_next_one_sends(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.gate.clear()
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", receiver.url)
        await until(lambda: bool(receiver.received))
    assert (await store.get_callback("j")).state is CallbackState.PENDING
    receiver.gate.set()
    async with sending(store, quick(tmp_path)):
        sent = await over(store, "j")
    assert (sent.state, sent.attempts, len(receiver.received)) == (CallbackState.SENT, 1, 2)


async def test_asked_for_again_while_it_is_sent_it_is_sent_once_more(
    store: Store, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.gate.clear()
    async with sending(store, quick(tmp_path)):
        await ended_job(store, "j", receiver.url)
        await until(lambda: bool(receiver.received))
        await store.resend_callback("j")
        receiver.gate.set()
        sent = await over(store, "j")
    assert (sent.state, sent.attempts, len(receiver.received)) == (CallbackState.SENT, 1, 2)


class ForgetfulStore:
    """A store that cannot write the first attempt of all."""

    def __init__(self, store: Store):
        self.due_callbacks = store.due_callbacks
        self.get_job = store.get_job
        self._record = store.record_attempt
        self._has_failed = False

    async def record_attempt(self, before: Callback, after: Callback) -> None:
        if not self._has_failed:
            self._has_failed = True
            raise StorageFailure("the disk is full")
        await self._record(before, after)


async def test_what_cannot_be_recorded_yet_is_recorded_later_and_not_sent_again(
    store: Store, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with sending(ForgetfulStore(store), quick(tmp_path)):
        await ended_job(store, "j", receiver.url)
        sent = await over(store, "j")
    assert (sent.state, sent.attempts, len(receiver.received)) == (CallbackState.SENT, 1, 1)
    assert "the callback of job j was sent, and that could not be recorded yet" in caplog.text


async def test_a_name_and_password_are_sent_as_such_and_not_logged_and_cookies_stay_away(
    store: Store, receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with sending(store, quick(tmp_path)):
        for job_id, user in (("one", "me:pass%20word@"), ("two", "")):
            await ended_job(store, job_id, receiver.url.replace("//", f"//{user}"))
            await over(store, job_id)
    [one], [two] = receiver.of("one"), receiver.of("two")
    assert one.headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"
    assert "authorization" not in two.headers and "cookie" not in two.headers
    assert "callback of job one" in caplog.text
    assert "pass" not in caplog.text and "httpx" not in caplog.text


async def test_proxies_that_cannot_be_used_fail_the_attempt_alone(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "foo://nowhere")
    async with sending(store, quick(tmp_path, callback_attempts=1)):
        await ended_job(store, "j", "http://127.0.0.1:9/")
        failed = await over(store, "j")
    assert failed.state is CallbackState.FAILED and "foo" in str(failed.last_error)


@pytest.mark.parametrize("content", ["", "no secret", "whsec_!!"])
def test_a_file_that_holds_no_secret_is_not_signed_with(tmp_path: Path, content: str) -> None:
    (tmp_path / callbacks.SECRET_FILE).write_text(content)
    with pytest.raises(BadConfig) as refused:
        callbacks.kept_secret(tmp_path)
    assert str(tmp_path / callbacks.SECRET_FILE) in refused.value.message
