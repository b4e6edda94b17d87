"""Files of the store on another node, or on its own: who has them, who fetches them, and what a failure leaves."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import TypeVar

import pytest

from rayjobs import node_files
from rayjobs.errors import NoSuchBinary, StorageFailure
from rayjobs.node_files import NodeFiles, remove_unused
from rayjobs.records import BinaryInfo, BinaryType, utc_now
from rayjobs.store.blobs import Blobs, Upload
from rayjobs.store.data_files import DataFile, DataFiles

T = TypeVar("T")

RUNNERS = 8
CONTENT = b"0123456789" * 5


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_files, "CHUNK_BYTES", 16)


class StoreOfANode:
    """`StoreFiles` of the store's own classes on a folder; counts what is read of it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.blobs = Blobs(folder)
        self.data_files = DataFiles(folder / "data")
        self.chunks_read = 0
        self.before_chunk: Callable[[int], None] = lambda offset: None

    def keep_binary(self, content: bytes) -> BinaryInfo:
        upload = self._upload(content)
        self.blobs.keep_binary(upload)
        return BinaryInfo("app", BinaryType.ZIP, utc_now(), upload.sha.hexdigest(), len(content))

    def keep_data_file(self, content: bytes) -> str:
        return self.data_files.keep(self._upload(content), "words", utc_now())

    def read_binary(self, sha256: str, offset: int, limit_bytes: int) -> bytes:
        self._count(offset)
        return self.blobs.read_binary(sha256, offset, limit_bytes)

    def find_data_file(self, name: str) -> DataFile:
        return self.data_files.find(name)

    def read_data_file(self, name: str, offset: int, limit_bytes: int) -> bytes:
        self._count(offset)
        return self.data_files.read(name, offset, limit_bytes)

    def _count(self, offset: int) -> None:
        self.before_chunk(offset)
        self.chunks_read += 1

    def _upload(self, content: bytes) -> Upload:
        upload = self.blobs.new_upload("upload")
        upload.append(0, content)
        return upload


class FarDataFiles(StoreOfANode):
    """The same, whose data files have paths of another machine's disk."""

    def find_data_file(self, name: str) -> DataFile:
        found = self.data_files.find(name.replace("/far/", f"{self.folder}/"))
        return DataFile(found.path.replace(f"{self.folder}/", "/far/"), found.size_bytes)

    def read_data_file(self, name: str, offset: int, limit_bytes: int) -> bytes:
        return super().read_data_file(name.replace("/far/", f"{self.folder}/"), offset, limit_bytes)


@pytest.fixture
def store(tmp_path: Path) -> FarDataFiles:
    return FarDataFiles(tmp_path / "store")


@pytest.fixture
def here(tmp_path: Path, store: FarDataFiles) -> NodeFiles:
    """A context on a node where the store is not."""
    return NodeFiles(tmp_path / "node", tmp_path / "node" / "contexts" / "c1", store)


def content_of(files: NodeFiles, binary: BinaryInfo) -> bytes:
    with files.binary(binary) as path:
        return path.read_bytes()


def names(folder: Path) -> set[str]:
    """Without those of locks."""
    return {path.name for path in folder.iterdir() if not path.name.endswith(".lock")}


def at_once(function: Callable[[], T]) -> list[T]:
    """The results of calls that all begin when the last of them is ready to."""
    ready = Barrier(RUNNERS)

    def call(_: int) -> T:
        ready.wait()
        return function()

    with ThreadPoolExecutor(RUNNERS) as threads:
        return list(threads.map(call, range(RUNNERS)))


# Binaries


def test_on_the_stores_node_a_binary_is_a_link_and_nothing_is_fetched(tmp_path, store):
    binary = store.keep_binary(CONTENT)
    files = NodeFiles(store.folder, store.folder / "contexts" / "c1", store)
    with files.binary(binary) as path:
        assert path.read_bytes() == CONTENT
        assert path.samefile(store.folder / "binaries" / binary.sha256)
    assert store.chunks_read == 0
    assert names(store.folder / "fetched") == set()


def test_elsewhere_a_binary_is_fetched_in_chunks_once_for_all_contexts_of_the_node(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    assert content_of(here, binary) == CONTENT
    assert store.chunks_read == 4
    other = NodeFiles(here.node_path, tmp_path / "node" / "contexts" / "c2", store)
    assert content_of(other, binary) == content_of(here, binary) == CONTENT
    assert store.chunks_read == 4
    assert names(tmp_path / "node" / "fetched") == {binary.sha256}


def test_a_package_is_made_once_for_all_who_want_it_in_a_folder(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    assert [here.package(binary, tmp_path / "packages").read_bytes() for _ in range(2)] == [CONTENT] * 2
    assert store.chunks_read == 4
    (tmp_path / "node" / "fetched" / binary.sha256).unlink()
    store.blobs.remove_binaries_except(set())
    assert here.package(binary, tmp_path / "packages") == tmp_path / "packages" / binary.file_name


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 32])
def test_a_binary_of_any_size_is_fetched_by_the_fewest_calls(here, store, size):
    content = b"x" * size
    assert content_of(here, store.keep_binary(content)) == content
    assert store.chunks_read == -(-size // 16)


def test_runners_that_need_a_binary_at_once_fetch_it_once(here, store):
    binary = store.keep_binary(CONTENT)
    assert at_once(lambda: content_of(here, binary)) == [CONTENT] * RUNNERS
    assert store.chunks_read == 4


def test_a_held_binary_outlives_its_deletion_and_the_sweep(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    with here.binary(binary) as path:
        store.blobs.remove_binaries_except(set())
        (tmp_path / "node" / "fetched" / binary.sha256).unlink()
        assert path.read_bytes() == CONTENT


def test_a_file_that_does_not_fit_its_sha_is_not_used(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    for folder in (tmp_path / "node" / "binaries", tmp_path / "node" / "fetched"):
        folder.mkdir(parents=True)
        (folder / binary.sha256).write_bytes(CONTENT[:-1] + b"x")
    assert content_of(here, binary) == CONTENT
    assert store.chunks_read == 4


def test_an_unknown_binary_is_no_such_binary_and_leaves_nothing(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    store.blobs.remove_binaries_except(set())
    with pytest.raises(NoSuchBinary), here.binary(binary):
        pass
    assert names(tmp_path / "node" / "fetched") == set()


def test_a_fetch_that_breaks_off_leaves_nothing_and_the_next_one_works(here, store, tmp_path):
    def break_off(offset: int) -> None:
        if offset >= 32:
            raise StorageFailure("the disk failed")

    binary = store.keep_binary(CONTENT)
    store.before_chunk = break_off
    with pytest.raises(StorageFailure, match="the disk failed"), here.binary(binary):
        pass
    assert names(tmp_path / "node" / "fetched") == set()
    store.before_chunk = lambda offset: None
    assert content_of(here, binary) == CONTENT


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + b"x"])
def test_a_damaged_binary_in_the_store_is_a_storage_failure_and_leaves_nothing(here, store, tmp_path, damaged):
    binary = store.keep_binary(CONTENT)
    (store.folder / "binaries" / binary.sha256).write_bytes(damaged)
    with pytest.raises(StorageFailure, match=r"ends after 49 of 50|is damaged"), here.binary(binary):
        pass
    assert names(tmp_path / "node" / "fetched") == set()


def test_a_process_that_dies_while_it_fetches_keeps_nobody_waiting(here, store, tmp_path):
    binary = store.keep_binary(CONTENT)
    copy = tmp_path / "node" / "fetched" / binary.sha256
    code = f"""
import os
from pathlib import Path
from rayjobs import node_files
with node_files._turn(Path({str(copy)!r})):
    print("mine", flush=True)
    input()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout and holder.stdout.readline() == b"mine\n"
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(content_of, here, binary)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            holder.kill()
            assert waiting.result(10) == CONTENT


def test_where_there_are_no_links_a_binary_is_copied(store, monkeypatch):
    def refuse(source: Path, target: Path) -> None:
        raise PermissionError(f"no links for {source}")

    binary = store.keep_binary(CONTENT)
    monkeypatch.setattr("os.link", refuse)
    assert content_of(NodeFiles(store.folder, store.folder, store), binary) == CONTENT


def test_copies_that_nobody_takes_are_removed_and_others_stay(here, store, tmp_path):
    remove_unused(tmp_path / "node")
    binary = store.keep_binary(CONTENT)
    content_of(here, binary)
    remove_unused(tmp_path / "node")
    assert names(tmp_path / "node" / "fetched") == {binary.sha256}
    remove_unused(tmp_path / "node", unused_for_s=-1)
    assert list((tmp_path / "node" / "fetched").iterdir()) == []
    assert content_of(here, binary) == CONTENT
    assert store.chunks_read == 8


# Data files


def test_on_the_stores_node_a_data_file_is_the_stores_own(tmp_path):
    store = StoreOfANode(tmp_path / "store")
    path = store.keep_data_file(CONTENT)
    files = NodeFiles(store.folder, tmp_path / "c1", store)
    assert files.data_file(path) == files.data_file(Path(path).name) == path
    assert store.chunks_read == 0


def test_elsewhere_a_data_file_is_fetched_in_chunks_once_into_the_contexts_folder(here, store):
    name = Path(store.keep_data_file(CONTENT)).name
    path = here.data_file(f"/far/data/{name}")
    assert Path(path).parent == here.folder / "data"
    assert Path(path).read_bytes() == CONTENT
    assert here.data_file(name) == path
    assert store.chunks_read == 4


def test_on_a_node_with_a_folder_of_its_own_a_file_outside_it_is_not_taken(tmp_path):
    """Two nodes on one machine, as in tests: the store's file is there, and is fetched as from anywhere else."""
    store = StoreOfANode(tmp_path / "store")
    path = store.keep_data_file(CONTENT)
    here = NodeFiles(tmp_path / "node", tmp_path / "node" / "contexts" / "c1", store)
    assert here.data_file(path) == str(here.folder / "data" / Path(path).name)
    assert store.chunks_read == 4


def test_jobs_that_need_a_data_file_at_once_fetch_it_once(here, store):
    name = Path(store.keep_data_file(CONTENT)).name
    [path] = set(at_once(lambda: here.data_file(name)))
    assert Path(path).read_bytes() == CONTENT
    assert store.chunks_read == 4


def test_a_file_of_another_size_at_its_path_is_not_the_data_file(tmp_path):
    store = FarDataFiles(tmp_path / "store")
    name = Path(store.keep_data_file(CONTENT)).name
    here = NodeFiles(tmp_path, tmp_path / "c1", store)
    copy = Path(here.data_file(name))
    copy.write_bytes(CONTENT[:-1])
    assert Path(here.data_file(name)).read_bytes() == CONTENT


@pytest.mark.parametrize("name", ["none.dat", "/far/data/none.dat", "/etc/passwd", "../outside", ""])
def test_an_unknown_data_file_is_a_file_not_found(here, name):
    with pytest.raises(FileNotFoundError, match=r"^No such data file .*: it was not uploaded, or it was deleted$"):
        here.data_file(name)


def test_a_deleted_data_file_is_not_found_though_a_copy_is_here(here, store):
    name = Path(store.keep_data_file(CONTENT)).name
    copy = Path(here.data_file(name))
    store.data_files.remove(name)
    with pytest.raises(FileNotFoundError, match="it was deleted"):
        here.data_file(name)
    assert copy.exists()


def test_a_data_file_that_is_deleted_while_it_is_fetched_is_not_found_and_leaves_nothing(here, store):
    name = Path(store.keep_data_file(CONTENT)).name
    store.before_chunk = lambda offset: store.data_files.remove(name) if offset == 16 else None
    with pytest.raises(FileNotFoundError):
        here.data_file(name)
    assert names(here.folder / "data") == set()


def test_a_full_disk_leaves_no_part_of_a_data_file(here, store, monkeypatch):
    name = Path(store.keep_data_file(CONTENT)).name

    def fill(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fill)
    with pytest.raises(OSError, match="No space left"):
        here.data_file(name)
    assert names(here.folder / "data") == set()


def test_what_travels_to_a_runner_is_told_by_value(here):
    files = NodeFiles(here.node_path, here.folder, node_files.ClusterStoreFiles())
    back = pickle.loads(pickle.dumps(files))
    assert (back.node_path, back.folder, type(back.store)) == (files.node_path, files.folder, type(files.store))
