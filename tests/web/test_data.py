"""`/data`."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest

from rayjobs.errors import StorageFailure
from tests.web.fake_service import FakeService


async def upload(http: httpx.AsyncClient, prefix: str = "words", content: bytes = b"a b a") -> str:
    """The path of the new file."""
    reply = await http.post(f"/data/{prefix}", content=content)
    assert reply.status_code == 200
    return reply.json()["result"]["filename"]


async def test_an_upload_answers_its_path_and_nothing_else(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/data/words.txt", content=b"\x00\xff any bytes", headers={"content-type": "a/b"})
    [path] = fake.data_files
    assert (reply.status_code, reply.json()) == (200, {"result": {"filename": path}})
    assert reply.headers["content-type"] == "application/json"
    assert path.startswith("/srv/data/words.txt-")
    assert fake.data_files[path] == b"\x00\xff any bytes"


async def test_an_empty_file_is_one(http: httpx.AsyncClient, fake: FakeService) -> None:
    assert fake.data_files[await upload(http, content=b"")] == b""


@pytest.mark.parametrize("path", ["/data", "/data/"])
async def test_the_list_is_an_array_of_paths(path: str, http: httpx.AsyncClient) -> None:
    assert (await http.get(path)).json() == []
    paths = [await upload(http) for _ in range(2)]
    reply = await http.get(path)
    assert (reply.status_code, reply.json()) == (200, paths)


@pytest.mark.parametrize("prefix", ["a%2Fb", "%2e%2e", "%2Fetc%2Fpasswd", "a%00b", "a%0Ab", "a%5Cb", "x" * 151])
async def test_a_prefix_that_no_file_can_have_is_400(prefix: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post(f"/data/{prefix}", content=b"x")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-data-file-name")
    assert not fake.data_files


async def test_a_prefix_is_decoded(http: httpx.AsyncClient) -> None:
    assert (await upload(http, "%C3%A9%20t%25")).startswith("/srv/data/é t%-")


@pytest.mark.parametrize("bare", [False, True])
async def test_a_file_is_deleted_by_its_encoded_path_or_its_name_and_then_404(
    bare: bool, http: httpx.AsyncClient, fake: FakeService
) -> None:
    path = await upload(http, "a b")
    name = path.rpartition("/")[2] if bare else path
    reply = await http.delete(f"/data/{quote(name, safe='')}")
    assert (reply.status_code, reply.text) == (200, "OK")
    assert not fake.data_files
    reply = await http.delete(f"/data/{quote(name, safe='')}")
    expected = {"status": "ERROR", "result": f"No such data file {name}", "code": "no-such-data-file"}
    assert (reply.status_code, reply.json()) == (404, expected)


@pytest.mark.parametrize(
    ("query", "waits", "said"),
    [
        ("reset=reboot", True, "Data reset"),
        ("reset=reboot&sync=true", True, "Data reset"),
        ("reset=reboot&sync=false", False, "Data reset requested"),
    ],
)
async def test_a_reset_says_whether_it_waited(
    query: str, waits: bool, said: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    await upload(http)
    reply = await http.put(f"/data?{query}")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS", "result": said})
    assert fake.data_resets == [waits] and not fake.data_files


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("", 404, "not-found"), ("?reset=all", 400, "bad-parameter"), ("?reset=reboot&sync=maybe", 400, "bad-parameter")],
)
async def test_a_reset_of_another_kind_or_of_none_is_refused(
    query: str, status: int, code: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.put(f"/data{query}")
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert fake.data_resets == []


async def test_a_failing_store_is_500_storage_failure(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.failure = StorageFailure("can't save data file: words")
    reply = await http.post("/data/words", content=b"x")
    assert (reply.status_code, reply.json()["status"]) == (500, "Storage Failure")


async def test_a_wrong_method_is_405_with_those_of_the_path(http: httpx.AsyncClient) -> None:
    assert (await http.post("/data")).headers["allow"] == "GET, HEAD, PUT"
    assert (await http.get("/data/words")).headers["allow"] == "DELETE, POST"
