"""Jobs that reach the job store by a journal, or in one piece: there for whoever asks next, once, come what may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from rayjobs.errors import ErrorData, JobExists, NoSuchJob, StorageFailure
from rayjobs.gathering import Outcome
from rayjobs.records import BinaryInfo, BinaryType, CallbackState, ContextInfo, JobInfo, JobReply, utc_now
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState, job_states_leading
from rayjobs.store import store as store_module
from rayjobs.store.journal import Journal, Journals, News, journals_folder, line_of
from rayjobs.store.store import Store
from rayjobs.store.writes import Changed, Created, Finished, Whole

INLINE_BYTES = 100
START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
URL = "https://me:pass@me.example/x"
BAD = ErrorData("bad\nthing", "ValueError", "the stack")
LOST = ErrorData("the context died", "ContextLost", "")
LARGE = json.dumps("x" * 2 * INLINE_BYTES)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), INLINE_BYTES)
    await opened.save_context(ContextInfo("c1", "ctx", ContextState.STARTED, START).after(ContextEvent.INITIALISED))
    yield opened
    await opened.close()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    made = Journal(journals_folder(tmp_path))
    yield made
    await made.close()


def a_job(job_id: str, url: str | None = None, start: datetime = START) -> JobInfo:
    return JobInfo(job_id, "c1", "ctx", EGG, "a.Job", JobState.STARTED, start, callback_url=url)


def finished(job_id: str, url: str | None = None, start: datetime = START) -> JobInfo:
    return a_job(job_id, url, start).after(JobEvent.VALIDATED).after(JobEvent.SUCCEEDED)


def failed(job_id: str) -> JobInfo:
    return a_job(job_id).after(JobEvent.FAILED, BAD)


async def append(journal: Journal, *jobs: JobInfo) -> None:
    """Jobs with a result that tells which job it is of; none for those that failed."""
    for job in jobs:
        result = json.dumps(job.job_id) if job.state is JobState.FINISHED else None
        await journal.append(line_of(job, {"of": job.job_id}, result))


async def listed(store: Store) -> list[str]:
    return [job.job_id for job in await store.list_jobs(100, None)]


async def due(store: Store) -> list[str]:
    found = await store.due_callbacks(utc_now() + timedelta(seconds=1), [], 100, 100)
    return [callback.job_id for callback in found]


async def note_sent(store: Store, job_id: str) -> None:
    before = await store.get_callback(job_id)
    await store.record_attempt(before, replace(before, state=CallbackState.SENT, attempts=1, next_attempt=None))


def changed(job: JobInfo, event: JobEvent, error: ErrorData | None = None) -> Changed:
    return Changed(job.after(event, error), job_states_leading(event))


def errors_of(outcomes: list[Outcome[object]]) -> list[type | None]:
    return [outcome.error and type(outcome.error) for outcome in outcomes]


# By a journal


async def test_a_job_is_there_for_each_question_as_soon_as_it_is_appended(store: Store, journal: Journal) -> None:
    dependencies = (replace(EGG, app_name='of "quotes", ü'), replace(EGG, sha256="f" * 64))
    one = replace(finished("j1", start=utc_now()), dependencies=dependencies)
    await append(journal, one)
    assert await store.get_job("j1") == JobReply(one, '"j1"')
    await append(journal, failed("j2"))
    assert await listed(store) == ["j1", "j2"]
    assert await store.list_jobs(100, JobState.ERROR) == [failed_as_stored := (await store.get_job("j2")).job]
    assert failed_as_stored.error == BAD
    await append(journal, finished("j3", URL))
    assert (await store.get_callback("j3")).state is CallbackState.PENDING
    await append(journal, finished("j4"))
    assert await store.job_config("j4") == {"of": "j4"}
    await append(journal, finished("j5", URL))
    assert (await store.resend_callback("j5")).state is CallbackState.PENDING


async def test_callbacks_of_such_jobs_become_due_once(store: Store, journal: Journal) -> None:
    await append(journal, finished("j1", URL), finished("j2"), finished("j3", URL))
    assert sorted(await due(store)) == ["j1", "j3"]
    for job_id in ("j1", "j3"):
        await note_sent(store, job_id)
    await append(journal, finished("j4"))
    assert await due(store) == []


async def test_an_id_that_a_journal_has_is_taken(store: Store, journal: Journal) -> None:
    await append(journal, finished("j1"))
    with pytest.raises(JobExists):
        await store.create_job(a_job("j1", start=START + timedelta(seconds=1)), {})
    assert (await store.get_job("j1")).job.state is JobState.FINISHED


async def test_a_job_that_came_by_a_journal_is_changed_no_more(store: Store, journal: Journal) -> None:
    await append(journal, finished("j1"))
    known = await store.get_job("j1")
    killed = a_job("j1").after(JobEvent.KILLED, LOST)
    assert not await store.change_job(killed, job_states_leading(JobEvent.KILLED))
    assert await store.end_orphans(LOST) == []
    assert await store.get_job("j1") == known


async def test_journals_are_taken_in_and_removed_though_nobody_asks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "KEEP_UP_S", 0.01)
    folder = journals_folder(tmp_path)
    store, journal = Store(str(tmp_path), INLINE_BYTES), Journal(folder)
    await append(journal, finished("j1"))
    await journal.close()
    async with asyncio.timeout(10):
        while list(folder.iterdir()):
            await asyncio.sleep(0.01)
    assert await listed(store) == ["j1"]
    await store.close()


async def test_what_was_appended_while_there_was_no_store_is_there_when_it_opens(
    tmp_path: Path, journal: Journal
) -> None:
    await append(journal, finished("j1", URL), failed("j2"))
    store = Store(str(tmp_path), INLINE_BYTES)
    assert sorted(await listed(store)) == ["j1", "j2"]
    assert await due(store) == ["j1"]
    await store.close()


async def test_a_store_that_closes_takes_in_what_there_is(tmp_path: Path, journal: Journal) -> None:
    store = Store(str(tmp_path), INLINE_BYTES)
    await append(journal, finished("j1"))
    await store.close()
    with duckdb.connect(tmp_path / "rayjobs.duckdb", read_only=True) as opened:
        assert opened.execute("SELECT job_id, state, result FROM jobs").fetchall() == [("j1", "FINISHED", '"j1"')]


async def test_a_store_that_ended_before_it_forgot_a_journal_has_each_job_once(
    tmp_path: Path, journal: Journal
) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    await append(journal, finished("j1", URL), failed("j2"))
    assert len(await listed(first)) == 2
    await note_sent(first, "j1")
    await first.close()
    await append(journal, finished("j3", URL))
    second = Store(str(tmp_path), INLINE_BYTES)
    assert sorted(await listed(second)) == ["j1", "j2", "j3"]
    assert await second.get_job("j1") == JobReply(finished_as_stored := (await second.get_job("j1")).job, '"j1"')
    assert finished_as_stored.state is JobState.FINISHED
    assert await due(second) == ["j3"]
    await second.close()


async def test_what_retention_deleted_does_not_come_back_from_its_journal(tmp_path: Path, journal: Journal) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    await append(journal, finished("j1", URL), failed("j2"))
    await note_sent(first, "j1")
    assert await first.delete_older(utc_now() + timedelta(seconds=1)) == 2
    await first.close()
    second = Store(str(tmp_path), INLINE_BYTES)
    assert await listed(second) == await due(second) == []
    await append(journal, finished("j3"))
    assert await listed(second) == ["j3"]
    await second.close()


async def test_a_journal_that_is_gone_is_forgotten(tmp_path: Path, journal: Journal) -> None:
    store = Store(str(tmp_path), INLINE_BYTES)
    await append(journal, finished("j1"))
    await store.close()
    (file,) = journals_folder(tmp_path).iterdir()
    file.unlink()
    await Store(str(tmp_path), INLINE_BYTES).close()
    with duckdb.connect(tmp_path / "rayjobs.duckdb", read_only=True) as opened:
        assert opened.execute("SELECT name FROM journals").fetchall() == []
        assert opened.execute("SELECT job_id FROM jobs").fetchall() == [("j1",)]


async def test_an_id_in_two_journals_is_one_job_and_keeps_no_other_out(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    other = Journal(journals_folder(tmp_path))
    await append(journal, finished("j1", URL), finished("j2"))
    await append(other, finished("j1", URL, START + timedelta(seconds=1)), finished("j3"))
    assert sorted(await listed(store)) == ["j1", "j2", "j3"]
    assert await due(store) == ["j1"]
    await other.close()


async def test_a_line_that_is_no_job_is_left_out_and_said_so(
    tmp_path: Path, store: Store, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    """What a power cut may leave of a write: zeros in the place of its first blocks."""
    await append(journal, finished("j1"))
    (journals_folder(tmp_path) / "torn.jsonl").write_bytes(b"\0" * 100 + b'"}\n0\n' + line_of(finished("j2"), {}, "2"))
    assert sorted(await listed(store)) == ["j1", "j2"]
    assert "torn.jsonl is no job" in caplog.text


async def test_half_a_line_harms_neither_the_store_nor_the_jobs_around_it(
    tmp_path: Path, store: Store, journal: Journal
) -> None:
    await append(journal, finished("j1"))
    (journals_folder(tmp_path) / "died.jsonl").write_bytes(line_of(finished("j2"), {}, "1")[:-10])
    assert await listed(store) == ["j1"]
    await append(journal, finished("j3"))
    assert sorted(await listed(store)) == ["j1", "j3"]


async def test_many_questions_at_once_beside_a_writer_miss_nothing_that_was_acknowledged(
    store: Store, journal: Journal
) -> None:
    async def append_and_ask(job_id: str) -> None:
        await append(journal, finished(job_id))
        assert (await store.get_job(job_id)).result == job_id

    await asyncio.gather(*(append_and_ask(f"j{number}") for number in range(50)))
    assert len(await listed(store)) == 50


async def test_a_question_does_not_wait_for_jobs_that_end_after_it_was_asked(
    tmp_path: Path, store: Store, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contexts so busy that one more job ends whenever the store looks."""
    more = [finished(f"more-{number}") for number in range(50)]
    news = Journals.news

    def news_before_one_more(journals: Journals, sizes: dict[Path, int]) -> News:
        found = news(journals, sizes)
        if more:
            (path,) = sizes
            with path.open("ab") as file:
                file.write(line_of(more.pop(), {}, "1"))
        return found

    await append(journal, finished("j1"))
    monkeypatch.setattr(Journals, "news", news_before_one_more)
    assert "j1" in await listed(store)
    assert len(more) > 40


async def test_a_journal_that_cannot_be_read_fails_no_question_that_is_not_about_jobs(
    tmp_path: Path, store: Store
) -> None:
    (journals_folder(tmp_path) / "a-folder.jsonl").mkdir(parents=True)
    with pytest.raises(StorageFailure, match="can't take in the journals"):
        await listed(store)
    await store.ping()
    assert await store.get_context("c1")


async def test_a_store_closes_its_database_though_a_journal_cannot_be_read_and_the_next_one_has_its_jobs(
    tmp_path: Path, journal: Journal
) -> None:
    first = Store(str(tmp_path), INLINE_BYTES)
    await append(journal, finished("j1"))
    (unreadable := journals_folder(tmp_path) / "a-folder.jsonl").mkdir()
    await first.close()
    with duckdb.connect(tmp_path / "rayjobs.duckdb", read_only=True) as opened:  # refused while it is open otherwise
        assert opened.execute("SELECT job_id FROM jobs").fetchall() == []
    unreadable.rmdir()
    second = Store(str(tmp_path), INLINE_BYTES)
    assert await listed(second) == ["j1"]
    await second.close()


# Batches of writes


async def test_each_write_of_a_batch_comes_to_what_it_would_alone(store: Store) -> None:
    for job_id in ("changed", "finished", "large"):
        await store.create_job(a_job(job_id), {})
    running = {job_id: a_job(job_id).after(JobEvent.VALIDATED) for job_id in ("finished", "large")}
    for job in running.values():
        assert await store.change_job(job, job_states_leading(JobEvent.VALIDATED))
    outcomes = await store.write_jobs(
        [
            Created(a_job("created"), {"a": 1}),
            changed(a_job("changed"), JobEvent.KILLED, LOST),
            Finished(running["finished"].after(JobEvent.SUCCEEDED), "1"),
            Finished(running["large"].after(JobEvent.SUCCEEDED), LARGE),
            Whole(finished("whole"), {"a": 2}, "2"),
            Whole(failed("whole-failed"), {}, None),
            changed(a_job("absent"), JobEvent.VALIDATED),
        ]
    )
    assert outcomes == [Outcome(value) for value in (None, True, True, True, True, True, False)]
    assert (await store.get_job("created")).job == a_job("created")
    assert (await store.get_job("changed")).job.state is JobState.KILLED
    assert (await store.get_job("finished")).result == 1
    assert (await store.get_job("large")).result_json == LARGE
    assert (await store.get_job("whole")).result == 2
    assert await store.job_config("whole") == {"a": 2}
    assert (await store.get_job("whole-failed")).job.error == BAD


async def test_one_bad_write_harms_none_of_the_others(store: Store) -> None:
    await store.create_job(a_job("known"), {})
    outcomes = await store.write_jobs(
        [
            Created(a_job("j1"), {}),
            Created(a_job("known", start=START + timedelta(seconds=1)), {}),
            Created(a_job("../escape"), {}),
            Created(replace(a_job("j2"), class_path=None), {}),  # type: ignore[arg-type]
            Whole(replace(finished("j3"), class_path=None), {}, "3"),  # type: ignore[arg-type]
            Whole(finished("j4"), {}, "4"),
        ]
    )
    assert errors_of(outcomes) == [None, JobExists, NoSuchJob, StorageFailure, StorageFailure, None]
    assert sorted(await listed(store)) == ["j1", "j4", "known"]


async def test_a_write_that_fails_with_an_error_that_is_not_ours_fails_alone(store: Store) -> None:
    outcomes = await store.write_jobs([Whole(finished("j1"), {}, '"\ud800"'), Whole(finished("j2"), {}, "2")])
    assert errors_of(outcomes) == [StorageFailure, None]
    assert isinstance(outcomes[0].error.__cause__, UnicodeEncodeError)
    assert await listed(store) == ["j2"]


async def test_a_batch_that_is_sent_again_comes_to_the_same(store: Store) -> None:
    """Ray makes a call again when the store died under it."""
    await store.create_job(a_job("running"), {})
    running = a_job("running").after(JobEvent.VALIDATED)
    await store.change_job(running, job_states_leading(JobEvent.VALIDATED))
    writes = [
        Created(a_job("j1", URL), {}),
        changed(a_job("j1", URL), JobEvent.FAILED, BAD),
        Finished(running.after(JobEvent.SUCCEEDED), LARGE),
        Whole(finished("j2", URL), {}, "2"),
        Whole(finished("j3"), {}, LARGE),
    ]
    first = [(await store.write_jobs([write]))[0] for write in writes]
    again = [(await store.write_jobs([write]))[0] for write in writes]
    assert errors_of(first) == [None] * len(writes)
    assert again == first
    assert (await store.get_job("j3")).result_json == (await store.get_job("running")).result_json == LARGE
    assert sorted(await due(store)) == ["j1", "j2"]


async def test_a_job_in_one_piece_does_not_take_the_place_of_another(store: Store, tmp_path: Path) -> None:
    await store.create_job(a_job("j1"), {"mine": 1})
    other = finished("j1", start=START + timedelta(seconds=1))
    for result in ("1", LARGE):
        (outcome,) = await store.write_jobs([Whole(other, {}, result)])
        assert isinstance(outcome.error, JobExists)
    assert await store.get_job("j1") == JobReply(a_job("j1"))
    assert list((tmp_path / "results").iterdir()) == []


async def test_a_job_in_one_piece_that_was_ended_otherwise_is_told_so(store: Store, tmp_path: Path) -> None:
    await store.create_job(a_job("j1"), {})
    await store.write_jobs([changed(a_job("j1"), JobEvent.KILLED, LOST)])
    for result in ("1", LARGE):
        assert await store.write_jobs([Whole(finished("j1"), {}, result)]) == [Outcome(False)]
    assert (await store.get_job("j1")).job.state is JobState.KILLED
    assert list((tmp_path / "results").iterdir()) == list((tmp_path / "uploads").iterdir()) == []
