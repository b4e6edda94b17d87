"""The job store on a real DuckDB file."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from rayjobs.errors import (
    BadBinary,
    BadDataFileName,
    BinaryInUse,
    ContextStopping,
    ErrorData,
    JobExists,
    NoSuchBinary,
    NoSuchDataFile,
    NoSuchJob,
    StorageFailure,
)
from rayjobs.records import BinaryInfo, BinaryType, ContextInfo, JobInfo, JobReply, utc_now
from rayjobs.states import (
    ContextEvent,
    ContextState,
    JobEvent,
    JobState,
    job_states_leading,
)
from rayjobs.store import binaries as binary_rows
from rayjobs.store import store as store_module
from rayjobs.store import uploads as uploads_module
from rayjobs.store.data_files import DataFile
from rayjobs.store.store import Store

INLINE_BYTES = 100
START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
LOST = ErrorData("the context died", "ContextLost", "no stack\nhere")


@pytest.fixture(autouse=True)
def accepted_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any content passes for any type, but for one that says it is bad."""

    def check(path: Path, binary_type: BinaryType) -> None:
        if path.read_bytes() == b"bad":
            raise BadBinary(f"not a {binary_type}")

    monkeypatch.setattr(store_module, "check_content", check)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), INLINE_BYTES)
    yield opened
    await opened.close()


def a_job(job_id: str, context_id: str = "c1", app_name: str = "app", start: datetime = START) -> JobInfo:
    binary = replace(EGG, app_name=app_name)
    return JobInfo(job_id, context_id, "ctx", binary, "a.Job", JobState.STARTED, start)


async def upload(store: Store, app_name: str, *chunks: bytes) -> BinaryInfo:
    return await store.finish_upload(await uploaded(store, *chunks), app_name, BinaryType.EGG)


async def uploaded(store: Store, *chunks: bytes) -> str:
    """The id of an upload that has these chunks and waits to be finished."""
    upload_id, offset = await store.begin_upload(), 0
    for chunk in chunks:
        await store.append_upload(upload_id, offset, chunk)
        offset += len(chunk)
    return upload_id


async def content_of(store: Store, sha256: str) -> bytes:
    return await store.read_binary(sha256, 0, 1000)


async def change(store: Store, job: JobInfo, event: JobEvent, error: ErrorData | None = None) -> JobInfo | None:
    """The job after `event`, None if the store held it in no state that the event may leave."""
    changed = job.after(event, error)
    return changed if await store.change_job(changed, job_states_leading(event)) else None


async def running_job(store: Store, job_id: str) -> JobInfo:
    job = a_job(job_id)
    await store.create_job(job, {})
    running = await change(store, job, JobEvent.VALIDATED)
    assert running
    return running


def later(job: JobInfo) -> JobInfo:
    """The same end of a job, a moment later."""
    assert job.end_time
    return replace(job, end_time=job.end_time + timedelta(milliseconds=1))


def a_context(context_id: str = "c1") -> ContextInfo:
    return ContextInfo(context_id, "ctx", ContextState.STARTED, START).after(ContextEvent.INITIALISED)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Jobs


async def test_a_job_comes_back_as_it_was_stored_through_all_its_states(store: Store) -> None:
    job = a_job("j1", start=utc_now())
    await store.create_job(job, {"a": {"b": [1, None, "ü\x00"]}})
    assert await store.get_job("j1") == JobReply(job)
    assert await store.job_config("j1") == {"a": {"b": [1, None, "ü\x00"]}}
    failed = await change(store, job, JobEvent.FAILED, ErrorData("bad\nthing", "ValueError", "the stack"))
    assert failed
    assert await store.get_job("j1") == JobReply(failed)
    assert (await store.get_job("j1")).job.start_time.tzinfo is UTC


async def test_a_job_comes_back_with_the_binaries_that_it_depends_on(store: Store) -> None:
    dependencies = (replace(EGG, app_name='of "quotes", ü'), replace(EGG, upload_time=utc_now(), sha256="f" * 64))
    job = replace(a_job("j1"), dependencies=dependencies, is_async=True)
    await store.create_job(job, {})
    assert (await store.get_job("j1")).job == job
    restarting = await change(store, await change(store, job, JobEvent.VALIDATED), JobEvent.CONTEXT_RESTARTING, LOST)
    assert await store.restarting_jobs("c1") == [(restarting, {})]
    assert restarting.dependencies == dependencies


async def test_a_file_that_was_made_before_jobs_had_dependencies_is_opened(tmp_path: Path) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    await first.create_job(a_job("old"), {})
    await first.close()
    with duckdb.connect(tmp_path / "rayjobs.duckdb") as file:
        file.execute("ALTER TABLE jobs DROP COLUMN dependencies")
    second = Store(str(tmp_path), INLINE_BYTES)
    new = replace(a_job("new"), dependencies=(EGG,))
    await second.create_job(new, {})
    assert [job.dependencies for job in await second.list_jobs(10, None)] == [(EGG,), ()]
    await second.close()


async def test_unknown_jobs_are_no_such_job(store: Store) -> None:
    for read in (store.get_job, store.job_config):
        with pytest.raises(NoSuchJob, match="No such job ID nope"):
            await read("nope")
    assert not await store.change_job(a_job("nope"), frozenset(JobState))


async def test_a_known_id_is_refused_and_changes_nothing(store: Store) -> None:
    await store.create_job(a_job("j1"), {"first": True})
    with pytest.raises(JobExists, match="job j1 exists"):
        await store.create_job(a_job("j1", context_id="c2"), {})
    assert (await store.get_job("j1")).job.context_id == "c1"
    assert await store.job_config("j1") == {"first": True}


@pytest.mark.parametrize("job_id", ["", "../x", "a/b", "a b", "x" * 200])
async def test_an_id_that_is_no_file_name_is_no_job(store: Store, job_id: str) -> None:
    for attempt in (store.create_job(a_job(job_id), {}), store.save_log(job_id, b""), store.read_log(job_id)):
        with pytest.raises(NoSuchJob):
            await attempt


async def test_of_two_ends_the_first_wins(store: Store) -> None:
    job = await running_job(store, "j1")
    finished = job.after(JobEvent.SUCCEEDED)
    first, second = await asyncio.gather(store.finish_job(finished, "1"), change(store, job, JobEvent.KILLED, LOST))
    assert (first, second) == (True, None)
    assert await store.get_job("j1") == JobReply(finished, "1")
    assert not await store.finish_job(later(finished), "2")
    assert (await store.get_job("j1")).result_json == "1"


async def test_a_job_finishes_from_running_only(store: Store) -> None:
    job = a_job("j1")
    await store.create_job(job, {})
    assert not await store.finish_job(replace(job, state=JobState.FINISHED), "1")
    assert await store.get_job("j1") == JobReply(job)


async def test_a_whole_life_in_one_batch(store: Store) -> None:
    """DuckDB may refuse two updates of one row in one transaction where an index covers what changes."""
    for n in range(3):
        job = a_job(f"j{n}")
        running = job.after(JobEvent.VALIDATED)
        finished = running.after(JobEvent.SUCCEEDED)
        outcomes = await asyncio.gather(
            store.create_job(job, {"n": n}),
            store.change_job(running, job_states_leading(JobEvent.VALIDATED)),
            store.finish_job(finished, f"{n}"),
            store.change_job(job.after(JobEvent.KILLED), job_states_leading(JobEvent.KILLED)),
        )
        assert outcomes == [None, True, True, False]
        assert await store.get_job(f"j{n}") == JobReply(finished, f"{n}")


async def test_a_large_result_lives_in_a_file(store: Store, tmp_path: Path) -> None:
    job = await running_job(store, "j1")
    result = '"' + "ü" * INLINE_BYTES + '"'
    assert await store.finish_job(job.after(JobEvent.SUCCEEDED), result)
    assert (tmp_path / "results" / "j1.json").read_text() == result
    assert (await store.get_job("j1")).result_json == result
    (tmp_path / "results" / "j1.json").unlink()
    assert (await store.get_job("j1")).result_json is None


async def test_the_inline_limit_is_in_bytes_and_included(store: Store, tmp_path: Path) -> None:
    for job_id, result in (("fits", "1" * INLINE_BYTES), ("not", '"' + "ü" * (INLINE_BYTES // 2) + '"')):
        job = await running_job(store, job_id)
        assert await store.finish_job(job.after(JobEvent.SUCCEEDED), result)
    assert files(tmp_path / "results") == ["not.json"]


async def test_a_reader_may_do_without_a_result_that_is_too_long_for_it(store: Store) -> None:
    job = await running_job(store, "j1")
    result = "1" * 2 * INLINE_BYTES
    await store.finish_job(job.after(JobEvent.SUCCEEDED), result)
    assert (await store.get_job("j1", len(result))).result_json == result
    without = await store.get_job("j1", len(result) - 1)
    assert (without.job.state, without.result_json) == (JobState.FINISHED, None)


async def test_a_large_result_that_came_too_late_leaves_the_winner_alone(store: Store, tmp_path: Path) -> None:
    job = await running_job(store, "j1")
    finished = job.after(JobEvent.SUCCEEDED)
    first, second = "1" * 2 * INLINE_BYTES, "2" * 2 * INLINE_BYTES
    assert await store.finish_job(finished, first)
    assert not await store.finish_job(later(finished), second)
    assert (await store.get_job("j1")).result_json == first
    assert files(tmp_path / "uploads") == []


async def test_jobs_are_listed_newest_first_by_state_and_up_to_a_limit(store: Store) -> None:
    for n in (2, 0, 3, 1):
        await store.create_job(a_job(f"j{n}", start=START + timedelta(seconds=n)), {})
    await change(store, a_job("j2"), JobEvent.VALIDATED)
    assert [job.job_id for job in await store.list_jobs(10, None)] == ["j3", "j2", "j1", "j0"]
    assert [job.job_id for job in await store.list_jobs(2, JobState.STARTED)] == ["j3", "j1"]
    assert [job.job_id for job in await store.list_jobs(10, JobState.RUNNING)] == ["j2"]
    assert await store.list_jobs(10, JobState.KILLED) == []


async def test_jobs_of_one_millisecond_are_listed_last_come_first(store: Store) -> None:
    for n in range(5):
        await store.create_job(a_job(f"j{n}"), {})
    assert [job.job_id for job in await store.list_jobs(10, None)] == ["j4", "j3", "j2", "j1", "j0"]


async def test_a_context_and_its_unfinished_jobs_end_at_once_and_no_others(store: Store) -> None:
    await store.save_context(a_context())
    done = await running_job(store, "done")
    await store.finish_job(done.after(JobEvent.SUCCEEDED), "1")
    await running_job(store, "running")
    await store.create_job(a_job("started"), {})
    await store.create_job(a_job("elsewhere", context_id="c2"), {})
    killed = a_context().after(ContextEvent.DIED, LOST)
    assert await store.end_context(killed, LOST) == ["running", "started"]
    assert await store.get_context("c1") == killed
    ended = (await store.get_job("running")).job
    assert (ended.state, ended.error) == (JobState.ERROR, LOST)
    assert ended.end_time and ended.end_time >= START
    assert (await store.get_job("done")).result_json == "1"
    assert (await store.get_job("elsewhere")).job.state is JobState.STARTED
    assert await store.end_context(killed, LOST) == []


async def test_a_restarting_context_keeps_its_async_jobs_and_ends_the_others(store: Store) -> None:
    await store.save_context(a_context())
    for job_id, is_async in (("again", True), ("waited-for", False)):
        job = replace(a_job(job_id), is_async=is_async)
        await store.create_job(job, {"of": job_id})
        assert await change(store, job, JobEvent.VALIDATED)
    await store.create_job(replace(a_job("not-accepted"), is_async=True), {})
    restarting = a_context().after(ContextEvent.DIED_SUPERVISED, LOST)
    assert await store.restart_context(restarting, LOST) == ["again", "not-accepted", "waited-for"]
    assert await store.restart_context(restarting, LOST) == ["again"]
    assert await store.get_context("c1") == restarting
    states = {job.job_id: (job.state, job.error) for job in await store.list_jobs(10, None)}
    assert states == {
        "again": (JobState.RESTARTING, LOST),
        "waited-for": (JobState.ERROR, LOST),
        "not-accepted": (JobState.ERROR, LOST),
    }
    [(job, config)] = await store.restarting_jobs("c1")
    assert (job.job_id, config) == ("again", {"of": "again"})


async def test_old_records_go_with_their_results_and_logs_and_unfinished_ones_stay(
    store: Store, tmp_path: Path
) -> None:
    for context_id in ("c1", "c2"):
        await store.save_context(a_context(context_id))
    old = await running_job(store, "old")
    await store.finish_job(old.after(JobEvent.SUCCEEDED), "1" * 2 * INLINE_BYTES)
    await store.save_log("old", b"said")
    await store.create_job(a_job("unfinished", "c2"), {})
    await store.end_context(a_context("c1").after(ContextEvent.DIED, LOST), LOST)
    assert await store.delete_older(START) == 0
    assert await store.delete_older(utc_now() + timedelta(seconds=1)) == 1
    assert [job.job_id for job in await store.list_jobs(10, None)] == ["unfinished"]
    assert await store.get_context("c1") is None and await store.get_context("c2")
    assert files(tmp_path / "results") == files(tmp_path / "logs") == []


async def test_a_context_that_has_ended_takes_no_new_job(store: Store) -> None:
    await store.end_context(a_context().after(ContextEvent.DIED, LOST), LOST)
    with pytest.raises(ContextStopping):
        await store.create_job(a_job("j1"), {})
    assert await store.list_jobs(10, None) == []


async def test_jobs_whose_context_has_ended_or_never_was_are_orphans(store: Store) -> None:
    for context_id in ("c1", "c2"):
        await store.save_context(a_context(context_id))
    for job_id, context_id in (("lost", "c1"), ("unknown", "c3"), ("alive", "c2")):
        await store.create_job(a_job(job_id, context_id), {})
    await store.save_context(a_context("c1").after(ContextEvent.DIED, LOST))
    assert await store.end_orphans(LOST) == ["lost", "unknown"]
    assert (await store.get_job("lost")).job.error == LOST
    assert (await store.get_job("alive")).job.state is JobState.STARTED
    assert await store.end_orphans(LOST) == []


async def test_a_write_that_is_made_again_changes_nothing_and_says_the_same(store: Store) -> None:
    """Ray makes a call again when the store died under it, after the write or before."""
    job = a_job("j1")
    for _ in range(2):
        await store.create_job(job, {"a": 1})
    running = job.after(JobEvent.VALIDATED)
    for _ in range(2):
        assert await store.change_job(running, job_states_leading(JobEvent.VALIDATED))
    finished = running.after(JobEvent.SUCCEEDED)
    for _ in range(2):
        assert await store.finish_job(finished, "1")
    assert not await store.change_job(running, job_states_leading(JobEvent.VALIDATED))
    assert await store.get_job("j1") == JobReply(finished, "1")


async def test_an_error_that_utf8_cannot_hold_is_stored_all_the_same(store: Store) -> None:
    await store.create_job(a_job("j1"), {})
    assert await change(store, a_job("j1"), JobEvent.FAILED, ErrorData("\udce4 \x00", "E", "\ud800"))
    assert (await store.get_job("j1")).job.error == ErrorData("\\udce4 \x00", "E", "\\ud800")


# Group commit


async def test_two_hundred_concurrent_jobs_share_few_transactions(store: Store) -> None:
    commits = count_batches(store)
    await asyncio.gather(*(store.create_job(a_job(f"j{n}"), {"n": n}) for n in range(200)))
    assert sum(commits) == 200
    assert len(commits) <= 3
    assert len(await store.list_jobs(1000, None)) == 200
    assert [await store.job_config(f"j{n}") for n in range(0, 200, 50)] == [{"n": n} for n in range(0, 200, 50)]


def count_batches(store: Store) -> list[int]:
    """Grows by the size of each batch that the store commits from now on."""
    sizes: list[int] = []
    commit = store._group._commit
    store._group._commit = lambda operations: sizes.append(len(operations)) or commit(operations)
    return sizes


async def test_a_refused_operation_fails_alone(store: Store) -> None:
    await store.create_job(a_job("j1"), {})
    outcomes = await asyncio.gather(
        store.create_job(a_job("j2"), {}),
        store.create_job(a_job("j1", context_id="c2"), {}),
        store.delete_binary("app"),
        store.create_job(a_job("j3"), {}),
        return_exceptions=True,
    )
    assert [type(outcome) for outcome in outcomes] == [type(None), JobExists, BinaryInUse, type(None)]
    assert {job.job_id for job in await store.list_jobs(10, None)} == {"j1", "j2", "j3"}


async def test_an_operation_that_duckdb_refuses_fails_alone_and_the_next_one_works(store: Store) -> None:
    bad = a_job("bad")
    bad = replace(bad, class_path=None)  # NOT NULL
    outcomes = await asyncio.gather(
        store.create_job(a_job("j1"), {}),
        store.create_job(bad, {}),
        store.change_job(a_job("j1").after(JobEvent.VALIDATED), frozenset({JobState.STARTED})),
        store.create_job(a_job("j2"), {}),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], StorageFailure)
    assert (outcomes[0], outcomes[2], outcomes[3]) == (None, True, None)
    await store.create_job(a_job("j3"), {})
    assert {job.job_id for job in await store.list_jobs(10, None)} == {"j1", "j2", "j3"}


async def test_a_result_file_survives_the_failure_of_its_batch(store: Store) -> None:
    """The batch moves the file, then rolls back; the second try finds it moved."""
    job = (await running_job(store, "j1")).after(JobEvent.SUCCEEDED)
    large = "1" * 2 * INLINE_BYTES
    draft = store._blobs.draft_result(large.encode())
    sizes = count_batches(store)
    outcomes = await asyncio.gather(
        store._group.run(lambda: store._jobs.finish(job, draft)),
        store.create_job(replace(a_job("bad"), class_path=None), {}),
        return_exceptions=True,
    )
    assert sizes == [2]
    assert outcomes[0] is True
    assert isinstance(outcomes[1], StorageFailure)
    assert await store.get_job("j1") == JobReply(job, large)


async def test_a_cancelled_caller_does_not_harm_the_others(store: Store) -> None:
    tasks = [asyncio.create_task(store.create_job(a_job(f"j{n}"), {})) for n in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[0] is outcomes[2] is None
    assert isinstance(outcomes[1], asyncio.CancelledError)
    await store.create_job(a_job("later"), {})


async def test_writes_of_one_caller_keep_their_order(store: Store) -> None:
    info = ContextInfo("c1", "ctx", ContextState.STARTED, START)
    await asyncio.gather(*(store.save_context(replace(info, ui_url=f"{n}")) for n in range(50)))
    found = await store.get_context("c1")
    assert found and found.ui_url == "49"


# Contexts


async def test_a_context_comes_back_as_it_was_stored(store: Store) -> None:
    info = ContextInfo(
        "c1", "ctx", ContextState.STARTED, START, {"spark.x": "1", "n": {"m": 2}}, True, ui_url="http://x"
    )
    await store.save_context(info)
    assert await store.get_context("c1") == info
    ended = replace(info, application_id="app-1").after(ContextEvent.INIT_FAILED, LOST)
    await store.save_context(ended)
    assert await store.get_context("c1") == ended
    assert await store.get_context("c2") is None


async def test_unfinished_contexts_come_oldest_first(store: Store) -> None:
    for n, state in enumerate(ContextState):
        await store.save_context(ContextInfo(f"c{n}", "ctx", state, START - timedelta(seconds=n)))
    found = [info.state for info in await store.unfinished_contexts()]
    assert found == [ContextState.RESTARTING, ContextState.STOPPING, ContextState.RUNNING, ContextState.STARTED]


# Binaries


async def test_an_upload_becomes_the_latest_version(store: Store, tmp_path: Path) -> None:
    first = await upload(store, "b", b"one", b"two")
    second = await upload(store, "b", b"three")
    other = await upload(store, "a", b"onetwo")
    assert first.sha256 == other.sha256 == hashlib.sha256(b"onetwo").hexdigest()
    assert (first.size_bytes, first.binary_type) == (6, BinaryType.EGG)
    assert await store.list_binaries() == [other, second]
    assert await store.get_binary("b") == second
    assert await content_of(store, first.sha256) == b"onetwo"
    assert files(tmp_path / "binaries") == sorted({first.sha256, second.sha256})
    assert files(tmp_path / "uploads") == []


async def test_versions_of_one_app_have_distinct_increasing_times(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binary_rows, "utc_now", lambda: START)
    infos = [await upload(store, "app", b"same") for _ in range(3)]
    assert [info.upload_time for info in infos] == [START + timedelta(milliseconds=n) for n in range(3)]
    assert await store.get_binary("app") == infos[-1]


async def test_chunks_keep_their_order_when_nobody_waits_between_them(store: Store) -> None:
    upload_id = await store.begin_upload()
    await asyncio.gather(*(store.append_upload(upload_id, 3 * n, b"%03d" % n) for n in range(100)))
    info = await store.finish_upload(upload_id, "app", BinaryType.EGG)
    assert await content_of(store, info.sha256) == b"".join(b"%03d" % n for n in range(100))


async def test_bad_content_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadBinary):
        await upload(store, "app", b"bad")
    assert files(tmp_path / "uploads") == files(tmp_path / "binaries") == []
    with pytest.raises(NoSuchBinary, match="appName app not found"):
        await store.get_binary("app")


async def test_an_aborted_upload_is_gone_and_takes_no_more(store: Store, tmp_path: Path) -> None:
    upload_id = await store.begin_upload()
    await store.abort_upload(upload_id)
    await store.abort_upload(upload_id)
    assert files(tmp_path / "uploads") == []
    for attempt in (
        store.append_upload(upload_id, 0, b"x"),
        store.finish_upload(upload_id, "app", BinaryType.EGG),
    ):
        with pytest.raises(StorageFailure, match=r"can't save .*the upload \w+ is over"):
            await attempt


async def test_a_chunk_that_comes_again_is_not_added_again(store: Store) -> None:
    """As when Ray makes a call again whose answer got lost, later ones having come in between or not."""
    upload_id = await uploaded(store, b"one", b"two", b"three")
    for offset, chunk in ((6, b"three"), (0, b"one"), (3, b"two"), (11, b"")):
        await store.append_upload(upload_id, offset, chunk)
    await asyncio.gather(*(store.append_upload(upload_id, 11, b"four") for _ in range(3)))
    info = await store.finish_upload(upload_id, "app", BinaryType.EGG)
    assert await content_of(store, info.sha256) == b"onetwothreefour"
    assert (info.size_bytes, info.sha256) == (15, hashlib.sha256(b"onetwothreefour").hexdigest())


@pytest.mark.parametrize("offset", [2, 4, 1000])
async def test_a_chunk_that_leaves_a_gap_or_overlaps_is_refused_and_adds_nothing(store: Store, offset: int) -> None:
    upload_id = await uploaded(store, b"one")
    with pytest.raises(StorageFailure, match=f"a chunk at {offset} does not continue an upload of 3 bytes"):
        await store.append_upload(upload_id, offset, b"two")
    await store.append_upload(upload_id, 3, b"two")
    info = await store.finish_upload(upload_id, "app", BinaryType.EGG)
    assert await content_of(store, info.sha256) == b"onetwo"


async def test_an_upload_that_is_finished_again_is_one_version_and_the_same_answer(store: Store) -> None:
    upload_id = await uploaded(store, b"x")
    again = [store.finish_upload(upload_id, "app", BinaryType.EGG) for _ in range(2)]
    infos = [*await asyncio.gather(*again), await store.finish_upload(upload_id, "app", BinaryType.EGG)]
    assert infos == [await store.get_binary("app")] * 3
    bad = await uploaded(store, b"bad")
    for _ in range(2):
        with pytest.raises(BadBinary):
            await store.finish_upload(bad, "app", BinaryType.EGG)


async def test_an_upload_that_gets_nothing_for_long_is_removed_when_another_begins(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = await uploaded(store, b"x")
    monkeypatch.setattr(uploads_module, "PATIENCE_S", -1.0)
    begun = await store.begin_upload()
    assert files(tmp_path / "uploads") == [begun]
    with pytest.raises(StorageFailure, match="is over"):
        await store.append_upload(forgotten, 1, b"y")


async def test_a_disk_that_fails_is_a_storage_failure_and_ends_the_upload(store: Store, tmp_path: Path) -> None:
    upload_id = await store.begin_upload()
    (tmp_path / "uploads" / upload_id).unlink()
    with pytest.raises(StorageFailure, match="can't save binary: app"):
        await store.finish_upload(upload_id, "app", BinaryType.EGG)
    upload_id = await store.begin_upload()
    await store.append_upload(upload_id, 0, b"x")
    (tmp_path / "binaries").rmdir()
    with pytest.raises(StorageFailure, match="can't save binary: app"):
        await store.finish_upload(upload_id, "app", BinaryType.EGG)
    (tmp_path / "binaries").mkdir()
    assert files(tmp_path / "uploads") == []
    assert await store.list_binaries() == []
    await upload(store, "app", b"now it works")


@pytest.mark.parametrize("sha256", ["0" * 64, "../rayjobs.duckdb", ""])
async def test_unknown_content_is_no_such_binary(store: Store, sha256: str) -> None:
    with pytest.raises(NoSuchBinary):
        await content_of(store, sha256)


async def test_a_binary_is_read_in_pieces(store: Store) -> None:
    info = await upload(store, "app", b"0123456789")
    pieces = [await store.read_binary(info.sha256, offset, 4) for offset in (0, 4, 8, 10, 100)]
    assert pieces == [b"0123", b"4567", b"89", b"", b""]


async def test_a_binary_in_use_stays(store: Store) -> None:
    info = await upload(store, "app", b"x")
    for job_id in ("j1", "j2"):
        await store.create_job(a_job(job_id), {})
    with pytest.raises(BinaryInUse, match=r"Binary is in use by job\(s\): j1, j2$"):
        await store.delete_binary("app")
    assert await content_of(store, info.sha256) == b"x"
    await change(store, a_job("j1"), JobEvent.KILLED, LOST)
    with pytest.raises(BinaryInUse, match="j2"):
        await store.delete_binary("app")


async def test_a_binary_that_an_unfinished_job_depends_on_is_in_use(store: Store) -> None:
    held = await upload(store, "needed", b"x")
    for job_id, name in (("j1", "needed"), ("j2", "needed too")):
        job = replace(a_job(job_id, app_name="main"), dependencies=(EGG, replace(held, app_name=name)))
        await store.create_job(job, {})
    with pytest.raises(BinaryInUse, match=r"Binary is in use by job\(s\): j1$"):
        await store.delete_binary("needed")
    await change(store, a_job("j1"), JobEvent.KILLED, LOST)
    await store.delete_binary("needed")
    assert await content_of(store, held.sha256) == b"x"
    await change(store, a_job("j2"), JobEvent.KILLED, LOST)
    await upload(store, "other", b"y")
    await store.delete_binary("other")
    with pytest.raises(NoSuchBinary):
        await content_of(store, held.sha256)


async def test_several_binaries_are_found_in_order_and_the_first_that_is_not_there_is_named(store: Store) -> None:
    one, two = await upload(store, "one", b"1"), await upload(store, "two", b"2")
    assert await store.get_binaries(["two", "one", "two"]) == [two, one, two]
    assert await store.get_binaries([]) == []
    with pytest.raises(NoSuchBinary, match=r"^appName none not found$"):
        await store.get_binaries(["one", "none", "nil"])


async def test_a_deleted_binary_is_gone_with_all_versions_and_ended_jobs_still_name_it(
    store: Store, tmp_path: Path
) -> None:
    await upload(store, "app", b"one")
    info = await upload(store, "app", b"two")
    job = replace(a_job("j1"), binary=info)
    await store.create_job(job, {})
    await change(store, job, JobEvent.KILLED, LOST)
    await store.delete_binary("app")
    assert await store.list_binaries() == []
    assert files(tmp_path / "binaries") == []
    assert (await store.get_job("j1")).job.binary == info
    with pytest.raises(NoSuchBinary, match="can't find binary with name app"):
        await store.delete_binary("app")


async def test_content_that_others_refer_to_outlives_a_delete(store: Store) -> None:
    shared = await upload(store, "app", b"shared")
    await upload(store, "other", b"shared")
    held = await upload(store, "held", b"held by a job")
    await store.create_job(replace(a_job("j1"), binary=replace(held, app_name="older-name")), {})
    await store.delete_binary("app")
    await store.delete_binary("held")
    assert await content_of(store, shared.sha256) == b"shared"
    assert await content_of(store, held.sha256) == b"held by a job"
    await store.delete_binary("other")
    with pytest.raises(NoSuchBinary):
        await content_of(store, shared.sha256)


async def test_uploads_and_deletes_of_one_content_never_lose_it(store: Store) -> None:
    async def churn(app_name: str) -> None:
        for _ in range(10):
            info = await upload(store, app_name, b"same")
            assert await content_of(store, info.sha256) == b"same"
            await store.delete_binary(app_name)

    await asyncio.gather(*(churn(f"app{n}") for n in range(5)))


# Data files


async def test_a_data_file_is_kept_listed_and_read_in_pieces(store: Store, tmp_path: Path) -> None:
    path = await store.finish_data_upload(await uploaded(store, b"one", b"two"), "words")
    assert Path(path).parent == tmp_path / "data"
    assert await store.list_data_files() == [path]
    assert await store.find_data_file(path) == await store.find_data_file(Path(path).name) == DataFile(path, 6)
    assert [await store.read_data_file(path, offset, 4) for offset in (0, 4, 6)] == [b"onet", b"wo", b""]
    assert files(tmp_path / "uploads") == []


async def test_a_data_file_that_is_finished_again_is_one_file(store: Store) -> None:
    upload_id = await uploaded(store, b"x")
    paths = await asyncio.gather(*(store.finish_data_upload(upload_id, "words") for _ in range(3)))
    assert await store.list_data_files() == [paths[0]] and len(set(paths)) == 1


async def test_data_files_are_there_after_a_reopen(tmp_path: Path) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    path = await first.finish_data_upload(await uploaded(first, b"x"), "words")
    await first.begin_upload()
    await first.close()
    second = Store(str(tmp_path), INLINE_BYTES)
    assert await second.list_data_files() == [path]
    assert await second.read_data_file(path, 0, 10) == b"x"
    await second.close()


async def test_a_data_file_of_a_bad_name_is_refused_and_leaves_nothing(store: Store, tmp_path: Path) -> None:
    with pytest.raises(BadDataFileName):
        await store.finish_data_upload(await uploaded(store, b"x"), "../words")
    assert files(tmp_path / "uploads") == files(tmp_path / "data") == []


async def test_a_deleted_data_file_is_no_such_data_file(store: Store) -> None:
    path = await store.finish_data_upload(await uploaded(store, b"x"), "words")
    await store.delete_data_file(path)
    for attempt in (store.delete_data_file(path), store.find_data_file(path), store.read_data_file(path, 0, 1)):
        with pytest.raises(NoSuchDataFile, match=f"No such data file {path}"):
            await attempt


@pytest.mark.parametrize("wait", [True, False])
async def test_a_reset_deletes_all_data_files(store: Store, tmp_path: Path, wait: bool) -> None:
    for _ in range(3):
        await store.finish_data_upload(await uploaded(store, b"x"), "words")
    await store.reset_data_files(wait)
    assert wait is False or files(tmp_path / "data") == []
    async with asyncio.timeout(10):
        while files(tmp_path / "data"):
            await asyncio.sleep(0.01)


async def test_a_disk_that_fails_is_a_storage_failure_of_data_files_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "data").rmdir()
    upload_id = await uploaded(store, b"x")
    for attempt in (
        store.finish_data_upload(upload_id, "words"),
        store.list_data_files(),
        store.reset_data_files(True),
    ):
        with pytest.raises(StorageFailure, match="data file"):
            await attempt


# Logs


async def test_a_log_is_replaced_whole_and_empty_until_saved(store: Store, tmp_path: Path) -> None:
    assert await store.read_log("j1") == b""
    await store.save_log("j1", b"first and long")
    await store.save_log("j1", b"second\xff")
    assert await store.read_log("j1") == b"second\xff"
    assert files(tmp_path / "uploads") == []


# The file's life


async def test_everything_is_there_after_a_reopen(tmp_path: Path) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    info = await upload(first, "app", b"x")
    job = await running_job(first, "j1")
    await first.finish_job(job.after(JobEvent.SUCCEEDED), "[1]")
    context = ContextInfo("c1", "ctx", ContextState.RUNNING, START)
    await first.save_context(context)
    await first.save_log("j1", b"log")
    await first.begin_upload()
    (tmp_path / "binaries" / ("0" * 64)).write_bytes(b"an upload whose row was never committed")
    await first.close()
    await first.close()
    with pytest.raises(StorageFailure, match="closed"):
        await first.get_binary("app")
    with pytest.raises(StorageFailure, match="closed"):
        await first.save_context(context)

    second = Store(str(tmp_path), INLINE_BYTES)
    await second.ping()
    assert await second.list_binaries() == [info]
    assert (await second.get_job("j1")).result == [1]
    assert await second.unfinished_contexts() == [context]
    assert await second.read_log("j1") == b"log"
    assert files(tmp_path / "uploads") == []
    assert files(tmp_path / "binaries") == [info.sha256]
    await second.close()


async def test_close_commits_what_waits(tmp_path: Path) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    waiting = [asyncio.create_task(first.create_job(a_job(f"j{n}"), {})) for n in range(20)]
    await asyncio.sleep(0)
    await first.close()
    await asyncio.gather(*waiting)
    second = Store(str(tmp_path), INLINE_BYTES)
    assert len(await second.list_jobs(100, None)) == 20
    await second.close()


async def test_a_dying_process_loses_nothing_acknowledged(tmp_path: Path) -> None:
    code = f"""
import asyncio, os
from tests.unit import test_store as t
t.store_module.check_content = lambda path, binary_type: None

async def main():
    store = t.Store({str(tmp_path)!r}, t.INLINE_BYTES)
    await t.upload(store, "app", b"content")
    for n in range(3):
        job = await t.running_job(store, f"j{{n}}")
        await store.finish_job(job.after(t.JobEvent.SUCCEEDED), "1" * 80 * (n + 1))
    await asyncio.gather(*(store.create_job(t.a_job(f"k{{n}}"), {{}}) for n in range(50)))
    os._exit(7)

asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    ended = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], cwd=root, check=False)
    assert ended.returncode == 7
    reopened = Store(str(tmp_path), INLINE_BYTES)
    assert len(await reopened.list_jobs(100, None)) == 53
    for n in range(3):
        assert (await reopened.get_job(f"j{n}")).result_json == "1" * 80 * (n + 1)
    assert await content_of(reopened, (await reopened.get_binary("app")).sha256) == b"content"
    assert len(await reopened.list_jobs(100, JobState.STARTED)) == 50
    await reopened.close()


async def test_a_folder_that_cannot_be_used_is_a_storage_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageFailure, match="can't open the job store"):
        Store(str(tmp_path / "file"), INLINE_BYTES)
    (tmp_path / "rayjobs.duckdb").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageFailure, match="can't open the job store"):
        Store(str(tmp_path), INLINE_BYTES)
