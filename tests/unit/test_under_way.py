"""The notes of jobs under way: what is known of a job whose context died before anything of it was stored."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayjobs.errors import BadParameter, ErrorData, NoSuchJob, StorageFailure
from rayjobs.records import BinaryInfo, BinaryType, CallbackState, ContextInfo, JobInfo
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState
from rayjobs.store import under_way as under_way_module
from rayjobs.store.journal import Journal, journals_folder, line_of
from rayjobs.store.store import Store
from rayjobs.store.under_way import UnderWay, await_writer_gone, forget, left_by

START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
CONTEXT = ContextInfo("c1", "ctx", ContextState.STARTED, START)
GONE = ErrorData("Unexpected termination of context c1", "ContextTerminatedException", "")

NOTE_AND_DIE = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from rayjobs.records import BinaryInfo, BinaryType, JobInfo
from rayjobs.states import JobState
from rayjobs.store.under_way import UnderWay

START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
egg = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
notes = UnderWay(Path(sys.argv[1]), "c1")
for number in range(3):
    notes.begun(JobInfo(f"j{number}", "c1", "ctx", egg, "a.B", JobState.STARTED, START), {"n": number})
notes.written("j1")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return journals_folder(tmp_path)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), 1000)
    await opened.save_context(CONTEXT)
    await opened.save_context(RUNNING)
    yield opened
    await opened.close()


RUNNING = CONTEXT.after(ContextEvent.INITIALISED)
DIED = RUNNING.after(ContextEvent.DIED, GONE)


def a_job(job_id: str, callback_url: str | None = None) -> JobInfo:
    return JobInfo(job_id, "c1", "ctx", EGG, "a.B", JobState.STARTED, START, callback_url=callback_url)


def left(folder: Path, job: JobInfo, config: dict[str, int] | None = None) -> None:
    """The note of a context that is gone by now."""
    notes = UnderWay(folder, job.context_id)
    notes.begun(job, config or {})
    notes.close()


def ids(folder: Path) -> list[str]:
    return [row["job_id"] for row in left_by(folder, "c1")]


def test_what_has_begun_is_left_until_it_is_over(folder: Path) -> None:
    notes = UnderWay(folder, "c1")
    for job_id in ("j1", "j2", "j3"):
        notes.begun(a_job(job_id), {})
    notes.written("j2")
    notes.written("never begun")
    assert ids(folder) == ["j1", "j3"]
    assert left_by(folder, "another") == []
    notes.close()


def test_notes_may_be_closed_twice_and_are_the_stores_to_remove(folder: Path) -> None:
    UnderWay(folder, "c1").close()
    notes = UnderWay(folder, "c1")
    notes.begun(a_job("j1"), {})
    notes.close()
    notes.close()
    assert ids(folder) == ["j1"]
    forget(folder, "c1")
    forget(folder, "c1")
    assert list(folder.iterdir()) == []


def test_the_file_stays_small_however_many_jobs_there_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way_module, "TIDY_BYTES", 2000)
    notes = UnderWay(folder, "c1")
    for number in range(50):
        notes.begun(a_job(f"j{number}"), {})
        notes.written(f"j{number}")
    notes.begun(a_job("last"), {})
    assert (folder / "c1.begun").stat().st_size < 4000
    assert ids(folder) == ["last"]
    notes.close()


def test_the_file_stays_small_beside_a_job_that_stays_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way_module, "TIDY_BYTES", 2000)
    notes = UnderWay(folder, "c1")
    notes.begun(a_job("long"), {})
    for number in range(50):
        notes.begun(a_job(f"j{number}"), {})
        notes.written(f"j{number}")
    assert (folder / "c1.begun").stat().st_size < 5000
    assert ids(folder) == ["long"]
    notes.begun(a_job("next"), {})
    assert ids(folder) == ["long", "next"]
    notes.close()


def test_text_that_the_store_could_not_take_in_is_refused(folder: Path) -> None:
    notes = UnderWay(folder, "c1")
    with pytest.raises(BadParameter, match="UTF-8"):
        notes.begun(a_job("j1\ud800"), {})
    notes.begun(a_job("j2"), {})
    assert ids(folder) == ["j2"]
    notes.close()


def test_a_writer_that_lives_is_waited_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way_module, "WRITER_PATIENCE_S", 0.1)
    notes = UnderWay(folder, "c1")
    notes.begun(a_job("j1"), {})
    begun = time.monotonic()
    await_writer_gone(folder, "c1")
    assert time.monotonic() - begun >= 0.1
    monkeypatch.setattr(under_way_module, "WRITER_PATIENCE_S", 60.0)
    threading.Timer(0.1, notes.close).start()
    await_writer_gone(folder, "c1")
    assert time.monotonic() - begun < 30
    await_writer_gone(folder, "another")


def test_a_killed_process_leaves_its_notes(folder: Path) -> None:
    died = subprocess.run([sys.executable, "-c", NOTE_AND_DIE, str(folder)])
    assert died.returncode == -signal.SIGKILL
    assert ids(folder) == ["j0", "j2"]
    forget(folder, "c1")
    assert ids(folder) == []


def test_half_a_line_is_no_job(folder: Path) -> None:
    folder.mkdir()
    (folder / "c1.begun").write_bytes(b'{"job_id": "j1"}\n{"job_id": "j')
    assert ids(folder) == ["j1"]


def test_a_note_that_cannot_be_made_is_a_failure_of_the_storage(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageFailure, match="can't note a job"):
        UnderWay(tmp_path / "file" / "journals", "c1").begun(a_job("j1"), {})


def test_an_end_that_cannot_be_noted_costs_nothing(folder: Path) -> None:
    notes = UnderWay(folder, "c1")
    notes.begun(a_job("j1"), {})
    assert notes._file is not None
    os.close(notes._file)
    notes.written("j1")
    assert ids(folder) == ["j1"]
    notes._file = None


# What the store makes of them


async def test_a_context_that_dies_leaves_a_record_of_each_job_it_had_begun(store: Store, folder: Path) -> None:
    left(folder, a_job("j1"), {"a": 1})
    with pytest.raises(NoSuchJob):
        await store.get_job("j1")
    assert await store.end_context(DIED, GONE) == ["j1"]
    job = (await store.get_job("j1")).job
    assert (job.state, job.error, job.start_time) == (JobState.ERROR, GONE, START)
    assert await store.job_config("j1") == {"a": 1}
    assert not (folder / "c1.begun").exists()
    assert await store.end_context(DIED, GONE) == []


async def test_a_job_that_is_written_elsewhere_is_left_as_it_is(store: Store, folder: Path) -> None:
    notes, journal = UnderWay(folder, "c1"), Journal(folder)
    for job_id in ("journaled", "stored", "under way"):
        notes.begun(a_job(job_id), {})
    notes.close()
    ended = a_job("journaled").after(JobEvent.VALIDATED).after(JobEvent.SUCCEEDED)
    await journal.append(line_of(ended, {}, "[1]"))
    await store.create_job(a_job("stored"), {})
    assert sorted(await store.end_context(DIED, GONE)) == ["stored", "under way"]
    assert (await store.get_job("journaled")).result == [1]
    await journal.close()


async def test_the_callback_of_such_a_job_becomes_due_once(store: Store, folder: Path) -> None:
    left(folder, a_job("j1", "http://127.0.0.1:9/"))
    await store.end_context(DIED, GONE)
    assert (await store.get_callback("j1")).state is CallbackState.PENDING


async def test_a_context_that_restarts_ends_the_sync_jobs_it_had_begun(store: Store, folder: Path) -> None:
    left(folder, a_job("j1"))
    assert await store.restart_context(RUNNING.after(ContextEvent.DIED_SUPERVISED, GONE), GONE) == ["j1"]
    assert (await store.get_job("j1")).job.error == GONE


async def test_notes_of_another_context_are_left_alone(store: Store, folder: Path) -> None:
    left(folder, replace(a_job("j1"), context_id="c2"))
    assert await store.end_context(DIED, GONE) == []
    assert [row["job_id"] for row in left_by(folder, "c2")] == ["j1"]


async def test_notes_that_cannot_be_stored_keep_no_context_from_its_end(store: Store, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for note in (b'{"job_id": "j1"}', b'{"no": "id"}', b'{"job_id": {}}'):
        (folder / "c1.begun").write_bytes(note + b"\n")
        assert await store.end_context(DIED, GONE) == []
        assert not (folder / "c1.begun").exists()
    found = await store.get_context("c1")
    assert found and found.state is DIED.state


async def test_what_a_context_ends_while_it_is_ended_stays_as_its_caller_heard_it(store: Store, folder: Path) -> None:
    notes, journal = UnderWay(folder, "c1"), Journal(folder)
    notes.begun(a_job("j1"), {})
    ending = asyncio.create_task(store.end_context(DIED, GONE))
    await asyncio.sleep(0.1)
    assert not ending.done()
    await journal.append(line_of(a_job("j1").after(JobEvent.VALIDATED).after(JobEvent.SUCCEEDED), {}, "[1]"))
    notes.close()
    assert await ending == []
    assert (await store.get_job("j1")).result == [1]
    await journal.close()
