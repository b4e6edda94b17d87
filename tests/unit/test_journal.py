"""Journals on real files: what was acknowledged is read once, whole, whatever becomes of its writer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rayjobs.errors import ErrorData, StorageFailure
from rayjobs.records import BinaryInfo, BinaryType, JobInfo
from rayjobs.states import JobEvent, JobState
from rayjobs.store import journal as journal_module
from rayjobs.store.journal import Journal, Journals, line_of

START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)

APPEND_UNTIL_KILLED = """
import asyncio, sys
from pathlib import Path
from rayjobs.store.journal import Journal

async def main():
    journal = Journal(Path(sys.argv[1]))
    for number in range(10**6):
        await journal.append(b'{"job_id": "%d"}\\n' % number)
        print(number, flush=True)

asyncio.run(main())
"""

APPEND_UP_TO_A_LIMIT = """
import asyncio, resource, signal, sys
from pathlib import Path
from rayjobs.errors import StorageFailure
from rayjobs.store.journal import Journal

LIMIT_BYTES = 1000
LINE = b'{"job_id": "%d", "padding": "' + b"x" * 300 + b'"}\\n'

async def main():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))
    journal = Journal(Path(sys.argv[1]))
    for number in range(8):
        try:
            await journal.append(LINE % number)
        except StorageFailure as failure:
            print("refused", number, failure.message)
        else:
            print("appended", number)
    await journal.close()

asyncio.run(main())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journals"


@pytest.fixture
async def journal(folder: Path) -> AsyncIterator[Journal]:
    made = Journal(folder)
    yield made
    await made.close()


def line(job_id: str, padding_bytes: int = 0) -> bytes:
    return json.dumps({"job_id": job_id, "padding": "x" * padding_bytes}).encode() + b"\n"


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [row["job_id"] for row in found]


def taken(journals: Journals) -> list[str]:
    """The ids of what is new, which is not new any more after that."""
    news = journals.news(journals.sizes())
    journals.taken(news)
    return ids(news.rows)


def all_taken(journals: Journals) -> list[str]:
    """`taken`, again and again until nothing is left."""
    found: list[str] = []
    while new := taken(journals):
        found += new
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def ended_by_kill(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


# Lines


def test_a_line_has_the_whole_row_of_a_job_and_nothing_that_ends_a_line_before_its_end() -> None:
    binary = replace(EGG, app_name="ü\n\u2028")
    job = JobInfo("j1", "c1", "ctx", binary, "a.Job", JobState.STARTED, START, callback_url="http://x.example/")
    ended = job.after(JobEvent.FAILED, ErrorData("bad\r\n\x85thing \ud800", "ValueError", "the\nstack"))
    written = line_of(ended, {"a": [1, None, "\n"]}, None)
    assert written.splitlines(keepends=True) == [written]
    row = json.loads(written)
    assert row["app_name"] == binary.app_name
    assert row["state"] == "ERROR"
    assert row["error_message"] == "bad\r\n\x85thing \\ud800"
    assert json.loads(row["config"]) == {"a": [1, None, "\n"]}
    assert row["result"] is None
    assert datetime.fromisoformat(row["start_time"]) == START.replace(tzinfo=None)


# Appending and reading


async def test_what_was_appended_is_new_until_it_is_taken(folder: Path, journal: Journal) -> None:
    journals = Journals(folder)
    assert journals.news(journals.sizes()).rows == []
    await journal.append(line("a"))
    await journal.append(line("b"))
    news = journals.news(journals.sizes())
    assert ids(news.rows) == ids(journals.news(journals.sizes()).rows) == ["a", "b"]
    journals.taken(news)
    await journal.append(line("c"))
    assert taken(journals) == ["c"]
    assert taken(journals) == []


async def test_concurrent_appends_share_writes_and_all_come_back_in_order(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []
    sync = os.fdatasync

    def counted(file: int) -> None:
        syncs.append(file)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", counted)
    await asyncio.gather(*(journal.append(line(str(number))) for number in range(500)))
    assert taken(Journals(folder)) == [str(number) for number in range(500)]
    assert len(syncs) <= 2


async def test_journals_of_several_writers_are_all_read(folder: Path, journal: Journal) -> None:
    other = Journal(folder)
    await asyncio.gather(journal.append(line("a")), other.append(line("b")))
    assert sorted(taken(Journals(folder))) == ["a", "b"]
    await other.close()


async def test_a_reader_gets_whole_lines_only(folder: Path) -> None:
    folder.mkdir()
    journals, path = Journals(folder), folder / "x.jsonl"
    content = line("a") + line("b")
    found: list[str] = []
    for length in range(len(content)):
        with path.open("ab") as file:
            file.write(content[length : length + 1])
        found += taken(journals)
    assert found == ["a", "b"]


async def test_a_reader_beside_a_busy_writer_gets_each_line_once(folder: Path, journal: Journal) -> None:
    journals, count = Journals(folder), 300
    found: list[str] = []

    async def append_all() -> None:
        for number in range(count):
            await journal.append(line(str(number), padding_bytes=number * 10))

    writing = asyncio.create_task(append_all())
    while not writing.done():
        found += await asyncio.to_thread(taken, journals)
    await writing
    found += taken(journals)
    assert found == [str(number) for number in range(count)]


async def test_very_much_news_comes_in_parts_that_lack_nothing(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "READ_BYTES", 1000)
    sizes = [0, 3000, 10, 900, 900, 5000, 0, 400]
    for number, size in enumerate(sizes):
        await journal.append(line(str(number), padding_bytes=size))
    journals = Journals(folder)
    assert len(journals.news(journals.sizes()).rows) < len(sizes)
    assert all_taken(journals) == [str(number) for number in range(len(sizes))]


async def test_a_part_of_very_much_news_is_small_however_many_files_there_are(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "READ_BYTES", 1000)
    monkeypatch.setattr(journal_module, "FULL_BYTES", 0)
    for number in range(20):
        await journal.append(line(str(number), padding_bytes=350))
    journals = Journals(folder)
    assert len(files(folder)) == 20
    assert len(journals.news(journals.sizes()).rows) == 3
    assert sorted(all_taken(journals), key=int) == [str(number) for number in range(20)]


# Files


async def test_a_file_is_kept_while_its_writer_may_append_and_goes_once_it_is_read(folder: Path) -> None:
    journals, journal = Journals(folder), Journal(folder)
    await journal.append(line("a"))
    assert taken(journals) == ["a"]
    journals.remove_read()
    assert len(files(folder)) == 1
    await journal.append(line("b"))
    await journal.close()
    journals.remove_read()
    assert taken(journals) == ["b"]
    journals.remove_read()
    assert files(folder) == []


async def test_a_writer_that_appended_nothing_makes_no_file(folder: Path) -> None:
    await Journal(folder).close()
    assert not folder.exists()


async def test_a_journal_may_be_closed_twice(journal: Journal) -> None:
    await journal.append(line("a"))
    await journal.close()
    await journal.close()


async def test_a_full_file_is_let_go_and_the_next_line_is_in_another(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "FULL_BYTES", 1000)
    journals = Journals(folder)
    for number in range(10):
        await journal.append(line(str(number), padding_bytes=350))
    assert len(files(folder)) == 4  # three of three lines each, and the one that grows
    assert sorted(all_taken(journals)) == [str(number) for number in range(10)]
    journals.remove_read()
    assert len(files(folder)) == 1


async def test_a_writer_leaves_no_file_open(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FULL_BYTES", 0)
    before = len(os.listdir("/proc/self/fd"))
    journal = Journal(folder)
    for number in range(20):
        await journal.append(line(str(number)))
    await journal.close()
    journals = Journals(folder)
    assert len(all_taken(journals)) == 20
    journals.remove_read()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the event loop's own, at most


def test_a_writer_that_is_killed_loses_nothing_that_was_acknowledged_and_its_file_goes(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", APPEND_UNTIL_KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    )
    journals, found = Journals(folder), []
    with ended_by_kill(process):
        assert process.stdout
        for acknowledged in process.stdout:
            if int(acknowledged) == 100:
                found += all_taken(journals)
                journals.remove_read()
                assert len(files(folder)) == 1
            if int(acknowledged) == 300:
                process.send_signal(signal.SIGKILL)
                break
        last = [int(number) for number in process.stdout.read().split("\n")[:-1]] or [300]
    found += all_taken(journals)
    assert found == [str(number) for number in range(len(found))]
    assert len(found) > last[-1]
    journals.remove_read()
    assert files(folder) == []


def test_half_a_line_of_a_writer_that_died_harms_nothing_and_goes_with_its_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "x.jsonl").write_bytes(line("a") + line("b")[:-5])
    (folder / "y.jsonl").write_bytes(line("c"))
    journals = Journals(folder)
    assert sorted(all_taken(journals)) == ["a", "c"]
    journals.remove_read()
    assert files(folder) == []


# Failures


def test_a_full_disk_refuses_lines_and_takes_no_other_with_them(folder: Path) -> None:
    """A limit of a file's size in the place of a full disk: three lines fit, the fourth is written in part."""
    done = subprocess.run(
        [sys.executable, "-c", APPEND_UP_TO_A_LIMIT, str(folder)], capture_output=True, text=True, check=True
    )
    outcomes = [outcome.split(maxsplit=2) for outcome in done.stdout.splitlines()]
    appended = [number for what, number, *_ in outcomes if what == "appended"]
    refused = {number: why[0] for what, number, *why in outcomes if what == "refused"}
    assert appended == ["0", "1", "2", "4", "5", "6"]
    assert list(refused) == ["3", "7"]
    assert all("File too large" in why for why in refused.values())
    journals = Journals(folder)
    assert sorted(all_taken(journals)) == appended
    journals.remove_read()
    assert files(folder) == []


async def test_a_folder_that_cannot_be_made_is_a_failure_of_the_storage_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "journals"
    folder.write_text("a file is in its place")
    journal = Journal(folder)
    for job_id in ("a", "b"):
        with pytest.raises(StorageFailure, match="journal of jobs"):
            await journal.append(line(job_id))
    folder.unlink()
    await journal.append(line("c"))
    assert taken(Journals(folder)) == ["c"]
    await journal.close()


async def test_a_file_that_cannot_be_made_durable_is_not_left_open(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()

    def fail(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module, "sync_path", fail)
    with pytest.raises(StorageFailure):
        await journal.append(line("a"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        with pytest.raises(StorageFailure, match="No space left"):
            await journal.append(line("a"))
    assert len(os.listdir("/proc/self/fd")) == before
    Journals(folder).remove_read()
    assert files(folder) == []


async def test_a_sync_that_fails_is_a_failure_of_each_line_that_it_was_for(
    folder: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await journal.append(line("before"))

    def fail(file: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", fail)
        found = await asyncio.gather(*(journal.append(line(x)) for x in "ab"), return_exceptions=True)
    assert [type(error) for error in found] == [StorageFailure, StorageFailure]
    await journal.append(line("after"))
    assert len(files(folder)) == 2
    assert {"before", "after"} <= set(all_taken(Journals(folder)))


def test_a_store_without_journals_has_no_news(tmp_path: Path) -> None:
    journals = Journals(tmp_path / "absent")
    assert journals.news(journals.sizes()).rows == []
    journals.remove_read()
