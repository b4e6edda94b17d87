"""Uploads from the first chunk of a request to the store's disk."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from rayjobs import cluster_service
from rayjobs.cluster_service import ClusterService
from rayjobs.errors import BadDataFileName, TooLarge
from rayjobs.records import BinaryType
from rayjobs.store.store import Store

CHUNK_BYTES = 1000
LIMIT_BYTES = 50_000


class StoreAlone(ClusterService):
    """The service without a cluster: it asks a store in this process, and keeps the sizes of the chunks it sent."""

    def __init__(self, store: Store):
        super().__init__(LIMIT_BYTES, LIMIT_BYTES)
        self.store = store
        self.sizes: list[int] = []

    async def _ask(self, actor: str, verb: str, *args: Any) -> Any:
        if verb == "append_upload":
            self.sizes.append(len(args[2]))
        return await getattr(self.store, verb)(*args)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_service, "UPLOAD_CHUNK_BYTES", CHUNK_BYTES)


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[StoreAlone]:
    store = Store(str(tmp_path), 100)
    yield StoreAlone(store)
    await store.close()


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def pieces(content: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


async def broken_off(content: bytes) -> AsyncIterator[bytes]:
    yield content
    raise ConnectionResetError


def an_archive(size_bytes: int) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("data", bytes(n % 251 for n in range(size_bytes)))
    return content.getvalue()


@pytest.mark.parametrize("size", [1, 7, 999, 1000, 1001, 2500, LIMIT_BYTES])
async def test_a_file_arrives_whole_in_pieces_of_a_useful_size(service: StoreAlone, size: int) -> None:
    content = an_archive(10_000)
    info = await service.upload_binary("app", BinaryType.ZIP, pieces(content, size))
    assert (info.sha256, info.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))
    assert all(CHUNK_BYTES <= length < 2 * CHUNK_BYTES for length in service.sizes[:-1])
    path = await service.upload_data_file("words", pieces(content, size))
    assert Path(path).read_bytes() == content


async def test_a_file_as_large_as_the_limit_is_taken_and_a_larger_one_leaves_nothing(
    service: StoreAlone, tmp_path: Path
) -> None:
    path = await service.upload_data_file("words", pieces(b"x" * LIMIT_BYTES, 300))
    for upload in (
        service.upload_data_file("words", pieces(b"x" * (LIMIT_BYTES + 1), 300)),
        service.upload_binary("app", BinaryType.ZIP, pieces(an_archive(LIMIT_BYTES), 300)),
    ):
        with pytest.raises(TooLarge, match=rf"larger than (data|binaries).max-bytes \({LIMIT_BYTES}\)"):
            await upload
    assert await service.list_data_files() == [path]
    assert files(tmp_path / "uploads") == files(tmp_path / "binaries") == []


async def test_a_file_whose_client_leaves_is_not_kept(service: StoreAlone, tmp_path: Path) -> None:
    content = b"x" * 2 * CHUNK_BYTES
    for upload in (
        service.upload_data_file("words", broken_off(content)),
        service.upload_binary("app", BinaryType.ZIP, broken_off(content)),
    ):
        with pytest.raises(ConnectionResetError):
            await upload
    assert service.sizes
    assert files(tmp_path / "uploads") == files(tmp_path / "data") == files(tmp_path / "binaries") == []


async def test_a_bad_name_is_refused_before_the_file_is_read(service: StoreAlone) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    with pytest.raises(BadDataFileName):
        await service.upload_data_file("a/b", unread())
