"""The job store on a real DuckDB file."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, timedelta
from pathlib import Path

import duckdb
import pytest

from rayjobs.errors import BinaryInUse, ContextStopping, ErrorData, JobExists, NoSuchJob, StorageFailure
from rayjobs.records import ContextInfo, JobInfo, JobReply, utc_now
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState, job_states_leading
from rayjobs.store.store import Store
from tests.stores import (
    EGG,
    INLINE_BYTES,
    LOST,
    START,
    a_context,
    a_job,
    change,
    content_of,
    files,
    running_job,
    upload,
)

pytestmark = pytest.mark.usefixtures("accepted_contents")


def later(job: JobInfo) -> JobInfo:
    """The same end of a job, a moment later."""
    assert job.end_time
    return replace(job, end_time=job.end_time + timedelta(milliseconds=1))


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
from rayjobs.store import store as store_module
from tests import stores as t
store_module.check_content = lambda path, binary_type: None

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
