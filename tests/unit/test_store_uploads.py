"""Binaries and data files in the job store: uploaded in pieces, read in pieces, kept while anything refers to them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from rayjobs.errors import BadBinary, BadDataFileName, BinaryInUse, NoSuchBinary, NoSuchDataFile, StorageFailure
from rayjobs.records import BinaryType
from rayjobs.states import JobEvent
from rayjobs.store import binaries as binary_rows
from rayjobs.store import uploads as uploads_module
from rayjobs.store.data_files import DataFile
from rayjobs.store.store import Store
from tests.stores import (
    EGG,
    INLINE_BYTES,
    LOST,
    START,
    a_job,
    change,
    content_of,
    files,
    upload,
    uploaded,
)

pytestmark = pytest.mark.usefixtures("accepted_contents")


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
