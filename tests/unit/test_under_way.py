"""The notes of jobs under way: what is known of a job whose context died before anything of it was stored."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayjobs.errors import ErrorData, NoSuchJob, StorageFailure
from rayjobs.records import BinaryInfo, BinaryType, CallbackState, ContextInfo, JobInfo
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState
from rayjobs.store import under_way as under_way_module
from rayjobs.store.journal import Journal, journals_folder, line_of
from rayjobs.store.store import Store
from rayjobs.store.under_way import UnderWay, forget, left_by

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
notes.over("j1")
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


def ids(folder: Path) -> list[str]:
    return [row["job_id"] for row in left_by(folder, "c1")]


def test_what_has_begun_is_left_until_it_is_over(folder: Path) -> None:
    notes = UnderWay(folder, "c1")
    for job_id in ("j1", "j2", "j3"):
        notes.begun(a_job(job_id), {})
    notes.over("j2")
    notes.over("never begun")
    assert ids(folder) == ["j1", "j3"]
    assert left_by(folder, "another") == []
    notes.close()


def test_a_context_that_ends_in_good_order_leaves_nothing(folder: Path) -> None:
    notes = UnderWay(folder, "c1")
    notes.close()
    notes = UnderWay(folder, "c1")
    notes.begun(a_job("j1"), {})
    notes.over("j1")
    notes.close()
    notes.close()
    assert list(folder.iterdir()) == []


def test_the_file_stays_small_however_many_jobs_there_were(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_way_module, "TIDY_BYTES", 2000)
    notes = UnderWay(folder, "c1")
    for number in range(50):
        notes.begun(a_job(f"j{number}"), {})
        notes.over(f"j{number}")
    notes.begun(a_job("last"), {})
    assert (folder / "c1.begun").stat().st_size < 4000
    assert ids(folder) == ["last"]
    notes.close()


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
    notes.over("j1")
    assert ids(folder) == ["j1"]


# What the store makes of them


async def test_a_context_that_dies_leaves_a_record_of_each_job_it_had_begun(store: Store, folder: Path) -> None:
    UnderWay(folder, "c1").begun(a_job("j1"), {"a": 1})
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
    ended = a_job("journaled").after(JobEvent.VALIDATED).after(JobEvent.SUCCEEDED)
    await journal.append(line_of(ended, {}, "[1]"))
    await store.create_job(a_job("stored"), {})
    assert sorted(await store.end_context(DIED, GONE)) == ["stored", "under way"]
    assert (await store.get_job("journaled")).result == [1]
    await journal.close()


async def test_the_callback_of_such_a_job_becomes_due_once(store: Store, folder: Path) -> None:
    UnderWay(folder, "c1").begun(a_job("j1", "http://127.0.0.1:9/"), {})
    await store.end_context(DIED, GONE)
    assert (await store.get_callback("j1")).state is CallbackState.PENDING


async def test_a_context_that_restarts_ends_the_sync_jobs_it_had_begun(store: Store, folder: Path) -> None:
    UnderWay(folder, "c1").begun(a_job("j1"), {})
    assert await store.restart_context(RUNNING.after(ContextEvent.DIED_SUPERVISED, GONE), GONE) == []
    assert (await store.get_job("j1")).job.error == GONE


async def test_notes_of_another_context_are_left_alone(store: Store, folder: Path) -> None:
    UnderWay(folder, "c2").begun(replace(a_job("j1"), context_id="c2"), {})
    assert await store.end_context(DIED, GONE) == []
    assert [row["job_id"] for row in left_by(folder, "c2")] == ["j1"]
