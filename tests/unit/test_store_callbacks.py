"""Callbacks in the job store: there with a job's end or not at all, due in fair turns, kept until they are over."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from rayjobs.errors import ErrorData, JobNotOver, NoSuchCallback, NoSuchJob, StorageFailure
from rayjobs.records import BinaryInfo, BinaryType, Callback, CallbackState, ContextInfo, JobInfo, utc_now
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState, job_states_leading
from rayjobs.store.store import Store

INLINE_BYTES = 100
START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
URL = "https://me:pass@me.example/x"
LOST = ErrorData("the context died", "ContextLost", "")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), INLINE_BYTES)
    await opened.save_context(a_context())
    yield opened
    await opened.close()


def a_context() -> ContextInfo:
    return ContextInfo("c1", "ctx", ContextState.STARTED, START).after(ContextEvent.INITIALISED)


def a_job(job_id: str = "j", url: str | None = URL, is_async: bool = True) -> JobInfo:
    return JobInfo(job_id, "c1", "ctx", EGG, "a.Job", JobState.STARTED, START, is_async=is_async, callback_url=url)


async def change(store: Store, job: JobInfo, event: JobEvent, error: ErrorData | None = None) -> JobInfo:
    changed = job.after(event, error)
    assert await store.change_job(changed, job_states_leading(event))
    return changed


async def running_job(store: Store, job: JobInfo) -> JobInfo:
    await store.create_job(job, {})
    return await change(store, job, JobEvent.VALIDATED)


async def ended_job(store: Store, job_id: str, url: str | None = URL) -> JobInfo:
    job = a_job(job_id, url)
    await store.create_job(job, {})
    return await change(store, job, JobEvent.KILLED, LOST)


async def due(store: Store, sending: tuple[str, ...] = (), limit: int = 100, per_receiver: int = 100) -> list[str]:
    """The ids of the jobs whose callbacks are due in a second."""
    found = await store.due_callbacks(utc_now() + timedelta(seconds=1), list(sending), limit, per_receiver)
    return [callback.job_id for callback in found]


async def attempt(store: Store, job_id: str, **changes: object) -> None:
    before = await store.get_callback(job_id)
    await store.record_attempt(before, replace(before, attempts=before.attempts + 1, **changes))


# When there is one


async def finish(store: Store, job: JobInfo) -> None:
    await store.finish_job((await running_job(store, job)).after(JobEvent.SUCCEEDED), "1")


async def finish_with_a_file(store: Store, job: JobInfo) -> None:
    await store.finish_job((await running_job(store, job)).after(JobEvent.SUCCEEDED), "1" * 2 * INLINE_BYTES)


async def fail(store: Store, job: JobInfo) -> None:
    await change(store, await running_job(store, job), JobEvent.FAILED, LOST)


async def refuse(store: Store, job: JobInfo) -> None:
    await store.create_job(job, {})
    await change(store, job, JobEvent.FAILED, LOST)


async def kill(store: Store, job: JobInfo) -> None:
    await change(store, await running_job(store, job), JobEvent.KILLED, LOST)


async def kill_restarting(store: Store, job: JobInfo) -> None:
    restarting = await change(store, await running_job(store, job), JobEvent.CONTEXT_RESTARTING, LOST)
    await change(store, restarting, JobEvent.KILLED, LOST)


async def end_context(store: Store, job: JobInfo) -> None:
    await running_job(store, job)
    await store.end_context(a_context().after(ContextEvent.DIED, LOST), LOST)


async def restart_context(store: Store, job: JobInfo) -> None:
    await running_job(store, replace(job, is_async=False))
    await store.restart_context(a_context().after(ContextEvent.DIED_SUPERVISED, LOST), LOST)


async def end_orphans(store: Store, job: JobInfo) -> None:
    await running_job(store, job)
    await store.save_context(a_context().after(ContextEvent.DIED, LOST))
    await store.end_orphans(LOST)


WAYS_TO_END = [
    finish,
    finish_with_a_file,
    fail,
    refuse,
    kill,
    kill_restarting,
    end_context,
    restart_context,
    end_orphans,
]


@pytest.mark.parametrize("end", WAYS_TO_END, ids=lambda end: end.__name__)
async def test_however_a_job_ends_its_callback_is_due(
    end: Callable[[Store, JobInfo], Awaitable[None]], store: Store
) -> None:
    await end(store, a_job())
    job = (await store.get_job("j")).job
    assert job.state.is_final and job.callback_url == URL
    callback = await store.get_callback("j")
    assert callback == Callback("j", URL, CallbackState.PENDING, next_attempt=callback.next_attempt)
    assert await due(store) == ["j"]


@pytest.mark.parametrize("end", WAYS_TO_END, ids=lambda end: end.__name__)
async def test_a_job_without_a_callback_url_ends_without_a_callback(
    end: Callable[[Store, JobInfo], Awaitable[None]], store: Store
) -> None:
    await end(store, a_job(url=None))
    assert (await store.get_job("j")).job.state.is_final
    assert await due(store) == []
    for refused in (store.get_callback("j"), store.resend_callback("j")):
        with pytest.raises(NoSuchCallback, match="job j was started without a callbackUrl"):
            await refused


async def test_until_its_job_is_over_a_callback_waits(store: Store) -> None:
    job = a_job()
    await store.create_job(job, {})
    for event in (JobEvent.VALIDATED, JobEvent.CONTEXT_RESTARTING):
        job = await change(store, job, event)
        assert (await store.get_job("j")).job == job
        assert await store.get_callback("j") == Callback("j", URL, CallbackState.WAITING)
        with pytest.raises(JobNotOver):
            await store.resend_callback("j")
    assert await due(store) == []


async def test_an_unknown_job_has_no_callback(store: Store) -> None:
    for refused in (store.get_callback("nope"), store.resend_callback("nope")):
        with pytest.raises(NoSuchJob, match="No such job ID nope"):
            await refused


async def test_an_end_whose_callback_cannot_be_written_is_not_written(store: Store) -> None:
    job = await running_job(store, a_job())
    store._writer._connection.execute("ALTER TABLE callbacks RENAME TO away")
    with pytest.raises(StorageFailure):
        await store.finish_job(job.after(JobEvent.SUCCEEDED), "1")
    store._writer._connection.execute("ALTER TABLE away RENAME TO callbacks")
    assert (await store.get_job("j")).job == job
    assert await store.finish_job(job.after(JobEvent.SUCCEEDED), "1")
    assert await due(store) == ["j"]


async def test_an_end_that_is_made_again_or_comes_too_late_makes_no_second_callback(store: Store) -> None:
    job = await running_job(store, a_job())
    finished = job.after(JobEvent.SUCCEEDED)
    assert await store.finish_job(finished, "1")
    await attempt(store, "j", state=CallbackState.SENT, next_attempt=None)
    sent = await store.get_callback("j")
    assert await store.finish_job(finished, "1")
    assert not await store.change_job(job.after(JobEvent.KILLED), job_states_leading(JobEvent.KILLED))
    assert await store.get_callback("j") == sent
    assert await due(store) == []


async def test_a_whole_life_and_its_callback_in_one_batch(store: Store) -> None:
    job = a_job()
    running = job.after(JobEvent.VALIDATED)
    outcomes = await asyncio.gather(
        store.create_job(job, {}),
        store.change_job(running, job_states_leading(JobEvent.VALIDATED)),
        store.finish_job(running.after(JobEvent.SUCCEEDED), "1"),
        store.resend_callback("j"),
        store.resend_callback("j"),
    )
    assert outcomes[:3] == [None, True, True]
    assert await store.get_callback("j") == outcomes[4]


# Attempts


async def test_an_attempt_is_written_once_however_often_it_comes(store: Store) -> None:
    await ended_job(store, "j")
    before = await store.get_callback("j")
    failed = replace(
        before, attempts=1, last_attempt=START, last_status=500, last_error="why \ud800", next_attempt=utc_now()
    )
    for _ in range(2):
        await store.record_attempt(before, failed)
    assert await store.get_callback("j") == replace(failed, last_error="why \\ud800")
    sent = replace(failed, state=CallbackState.SENT, attempts=2, last_error=None, next_attempt=None)
    await store.record_attempt(before, sent)
    assert (await store.get_callback("j")).attempts == 1
    await store.record_attempt(failed, sent)
    assert await store.get_callback("j") == sent


async def test_a_callback_asked_for_again_is_due_and_forgets_the_attempt_under_way(store: Store) -> None:
    await ended_job(store, "j")
    await attempt(store, "j", last_status=500, next_attempt=utc_now() + timedelta(hours=1))
    under_way = await store.get_callback("j")
    assert await due(store) == []
    again = await store.resend_callback("j")
    assert (again.state, again.attempts, again.last_status) == (CallbackState.PENDING, 0, 500)
    assert await due(store) == ["j"]
    await store.record_attempt(under_way, replace(under_way, state=CallbackState.FAILED, attempts=2, next_attempt=None))
    assert await store.get_callback("j") == again


@pytest.mark.parametrize("state", [CallbackState.SENT, CallbackState.FAILED])
async def test_a_callback_that_is_over_is_due_no_more_until_asked_for_again(state: CallbackState, store: Store) -> None:
    await ended_job(store, "j")
    await attempt(store, "j", state=state, next_attempt=None)
    assert await due(store) == []
    await store.resend_callback("j")
    assert await due(store) == ["j"]


async def test_what_is_due_comes_oldest_first_up_to_a_limit_and_without_what_is_being_sent(store: Store) -> None:
    for n in (2, 0, 3, 1):
        await ended_job(store, f"j{n}")
        await attempt(store, f"j{n}", next_attempt=START + timedelta(seconds=n))
    await ended_job(store, "later")
    await attempt(store, "later", next_attempt=utc_now() + timedelta(seconds=60))
    assert await due(store) == ["j0", "j1", "j2", "j3"]
    assert await due(store, limit=2) == ["j0", "j1"]
    assert await due(store, sending=("j0", "j2"), limit=1) == ["j1"]


async def test_a_receiver_has_its_share_whatever_else_its_urls_say(store: Store) -> None:
    urls = ["http://a.example/1", "HTTP://u:p@A.example?2", "http://a.example", "http://a.example:81", "http://b/"]
    for n, url in enumerate(urls):
        await ended_job(store, f"j{n}", url)
    assert await due(store, per_receiver=2) == ["j0", "j1", "j3", "j4"]
    assert await due(store, per_receiver=2, sending=("j1", "j3")) == ["j0", "j4"]
    assert await due(store, per_receiver=2, sending=("j1", "j2")) == ["j3", "j4"]


# Their life


async def test_old_callbacks_go_with_their_jobs_but_not_before_they_are_over(store: Store) -> None:
    for job_id in ("sent", "pending"):
        await ended_job(store, job_id)
    await attempt(store, "sent", state=CallbackState.SENT, next_attempt=None)
    soon = utc_now() + timedelta(seconds=1)
    assert await store.delete_older(soon) == 1
    with pytest.raises(NoSuchJob):
        await store.get_callback("sent")
    assert await due(store) == ["pending"]
    await attempt(store, "pending", state=CallbackState.FAILED, next_attempt=None)
    assert await store.delete_older(soon) == 1
    await ended_job(store, "sent")
    assert await due(store) == ["sent"]


async def test_a_dying_process_loses_no_callback_of_an_end_that_was_acknowledged(tmp_path: Path) -> None:
    code = f"""
import asyncio, os
from tests.unit import test_store_callbacks as t

async def main():
    store = t.Store({str(tmp_path)!r}, t.INLINE_BYTES)
    await asyncio.gather(*(t.ended_job(store, f"j{{n}}") for n in range(20)))
    os._exit(7)

asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], cwd=root, check=False)
    assert ended.returncode == 7
    reopened = Store(str(tmp_path), INLINE_BYTES)
    assert sorted(await due(reopened)) == sorted(f"j{n}" for n in range(20))
    await reopened.close()


OLD_JOBS = """
CREATE TABLE jobs (
    job_id VARCHAR PRIMARY KEY,
    context_id VARCHAR NOT NULL,
    context_name VARCHAR NOT NULL,
    app_name VARCHAR NOT NULL,
    binary_type VARCHAR NOT NULL,
    upload_time TIMESTAMP NOT NULL,
    sha256 VARCHAR NOT NULL,
    size_bytes BIGINT NOT NULL,
    class_path VARCHAR NOT NULL,
    state VARCHAR NOT NULL,
    start_time TIMESTAMP NOT NULL,
    end_time TIMESTAMP,
    error_message VARCHAR,
    error_class VARCHAR,
    error_stack VARCHAR,
    config VARCHAR NOT NULL,
    is_async BOOLEAN NOT NULL
);
INSERT INTO jobs VALUES (
    'old', 'c1', 'ctx', 'app', 'Egg', '2026-01-02 03:04:05.678', repeat('e', 64), 12, 'a.Job', 'RUNNING',
    '2026-01-02 03:04:05.678', NULL, NULL, NULL, NULL, '{}', true
);
"""


async def test_a_file_made_before_there_were_callbacks_is_opened_and_goes_on(tmp_path: Path) -> None:
    with duckdb.connect(tmp_path / "rayjobs.duckdb") as old:
        old.execute(OLD_JOBS)
    for job_id in ("first", "second"):
        opened = Store(str(tmp_path), INLINE_BYTES)
        assert (await opened.get_job("old")).job == replace(a_job("old", url=None), state=JobState.RUNNING)
        await ended_job(opened, job_id)
        assert (await opened.get_job(job_id)).job.callback_url == URL
        assert job_id in await due(opened)
        await opened.close()
