"""Files of 100 MB: they pass the server in pieces, and a job gets all of one; half a file is none."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, urlsplit

import httpx
import psutil
import pytest

from tests.service import Api, Service, eventually

T = TypeVar("T")

SIZE_BYTES = 100 * 2**20
MAY_GROW_BY_BYTES = 32 * 2**20
JOBS = """
import hashlib
from pathlib import Path


class _Plain:
    def validate(self, context, runtime, config):
        return config


class OwnDigest(_Plain):
    def run_job(self, context, runtime, data):
        return hashlib.sha256(Path(__file__).with_name("data.bin").read_bytes()).hexdigest()


class DataDigest(_Plain):
    def run_job(self, context, runtime, data):
        return hashlib.sha256(Path(runtime.data_file(data["file"])).read_bytes()).hexdigest()
"""


@pytest.fixture(scope="module")
def content() -> bytes:
    return os.urandom(SIZE_BYTES)


@pytest.fixture
def big_zip(tmp_path: Path, content: bytes) -> Path:
    """The package `big`: jobs, and 100 MB beside them."""
    path = tmp_path / "big.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("big/__init__.py", JOBS)
        archive.writestr("big/data.bin", content)
    return path


@pytest.fixture
def digests(api: Api) -> None:
    """A small binary with the same jobs."""
    assert api.upload("digests", JOBS.encode(), "text/x-python").status_code == 201


def test_a_large_binary_costs_the_server_little_memory_and_runs(api, service, context, big_zip, content):
    def upload() -> httpx.Response:
        with big_zip.open("rb") as file:
            return api.http.post("/binaries/big", content=file, headers={"Content-Type": "application/zip"})

    reply, grown_by = with_growth(service, upload)
    assert reply.status_code == 201
    assert grown_by < MAY_GROW_BY_BYTES
    assert api.run("big", "big.OwnDigest", context) == hashlib.sha256(content).hexdigest()


def test_a_large_data_file_costs_the_server_little_memory_and_is_a_jobs_to_read(
    api, service, context, digests, tmp_path, content
):
    (tmp_path / "content").write_bytes(content)

    def upload() -> httpx.Response:
        with (tmp_path / "content").open("rb") as file:
            return api.http.post("/data/big", content=file)

    reply, grown_by = with_growth(service, upload)
    assert reply.status_code == 200
    assert grown_by < MAY_GROW_BY_BYTES
    path = reply.json()["result"]["filename"]
    assert path in api.http.get("/data").json()
    for name in (path, Path(path).name):
        digest = api.run("digests", "digests.DataDigest", context, f'file = "{name}"')
        assert digest == hashlib.sha256(content).hexdigest()
    assert api.http.delete(f"/data/{quote(path, safe='')}").text == "OK"
    gone = api.start("digests", "digests.DataDigest", context, f'file = "{path}"', sync="true", timeout=60).json()
    assert (gone["status"], gone["result"]["errorClass"]) == ("ERROR", "FileNotFoundError")


@pytest.mark.parametrize("path", ["/binaries/half", "/data/half"])
def test_an_upload_whose_client_leaves_is_not_kept(api, service, path):
    address, uploads = urlsplit(service.url), service.data_dir / "uploads"
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/zip\r\nContent-Length: {SIZE_BYTES}"
    with socket.create_connection((address.hostname, address.port)) as client:
        client.sendall(head.encode() + b"\r\n\r\nPK\x03\x04" + bytes(10 * 2**20))
        eventually(lambda: list(uploads.iterdir()))
    eventually(lambda: not list(uploads.iterdir()), why="the half upload is still there")
    assert "half" not in api.http.get("/binaries").json()
    assert not [file for file in api.http.get("/data").json() if "half" in file]


def with_growth(service: Service, action: Callable[[], T]) -> tuple[T, int]:
    """What `action` returned, and by how many bytes the server's own memory had grown meanwhile, at its peak."""
    assert service.process
    server = psutil.Process(service.process.pid)
    before_bytes = peak_bytes = own_bytes(server)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak_bytes
        while not done.wait(0.005):
            peak_bytes = max(peak_bytes, own_bytes(server))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = action()
    finally:
        done.set()
        watcher.join()
    return result, peak_bytes - before_bytes


def own_bytes(process: psutil.Process) -> int:
    """What is resident without what is shared.

    Chunks go to the store by Ray's object store, which is mapped into every process of the node: its pages count as
    resident in each process that has touched them, and are no more for it than `ray.object-store-bytes`. Nor would
    the unique set size do: a page counts there until a second process touches it.
    """
    memory = process.memory_info()
    return memory.rss - memory.shared
