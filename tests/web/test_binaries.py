"""`/binaries` and `/jars`."""

from __future__ import annotations

import re

import httpx
import pytest

from rayjobs.errors import StorageFailure
from rayjobs.records import BinaryType
from tests.web.fake_service import FakeService

ZIP = b"PK\x03\x04 and more"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.mark.parametrize("path", ["/binaries", "/binaries/"])
async def test_the_list_is_an_object_by_app(path: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(path)
    assert reply.status_code == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.json().keys() == {"app"}
    assert reply.json()["app"]["binary-type"] == "Egg"
    assert TIME.fullmatch(reply.json()["app"]["upload-time"])


async def test_without_binaries_the_list_is_an_empty_object(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.binaries.clear()
    assert (await http.get("/binaries")).json() == {}


async def test_one_binary_by_name(http: httpx.AsyncClient) -> None:
    reply = (await http.get("/binaries/app")).json()
    assert reply.keys() == {"app-name", "binary-type", "upload-time"}
    assert reply["app-name"] == "app"


async def test_an_unknown_binary_is_404(http: httpx.AsyncClient) -> None:
    reply = await http.get("/binaries/none")
    result = "Can't find binary with name none"
    assert reply.status_code == 404
    assert reply.json() == {"status": "ERROR", "result": result, "code": "no-such-binary"}


@pytest.mark.parametrize(
    ("content_type", "kind"),
    [
        ("application/java-archive", BinaryType.JAR),
        ("application/python-egg", BinaryType.EGG),
        ("application/python-archive", BinaryType.EGG),
        ("python-archive", BinaryType.EGG),
        ("application/python-wheel", BinaryType.WHEEL),
        ("application/zip", BinaryType.ZIP),
        ("text/x-python", BinaryType.PYTHON),
        ("application/x-python", BinaryType.PYTHON),
        ("text/x-script.python; charset=utf-8", BinaryType.PYTHON),
        ("Application/ZIP", BinaryType.ZIP),
    ],
)
async def test_the_content_type_says_what_an_upload_is(
    content_type: str, kind: BinaryType, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/binaries/new", content=ZIP, headers={"content-type": content_type})
    assert reply.status_code == 201
    assert reply.json() == {"status": "SUCCESS"}
    assert fake.binaries["new"].binary_type is kind
    assert fake.contents["new"] == ZIP


@pytest.mark.parametrize(
    ("headers", "named"),
    [({"content-type": "application/json"}, "application/json"), ({}, "(no content type)")],
)
async def test_another_content_type_is_415_and_the_message_lists_those_accepted(
    headers: dict[str, str], named: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/binaries/new", content=ZIP, headers=headers)
    assert reply.status_code == 415
    assert reply.json()["code"] == "unsupported-binary-type"
    assert reply.json()["result"].startswith(f"Unsupported binary type {named}; accepted are ")
    assert "application/python-wheel (Wheel)" in reply.json()["result"]
    assert "new" not in fake.binaries


async def test_an_upload_that_is_no_archive_is_400(http: httpx.AsyncClient) -> None:
    reply = await http.post("/binaries/new", content=b"no zip", headers={"content-type": "application/zip"})
    assert reply.status_code == 400
    assert reply.json() == {
        "status": "ERROR",
        "result": "Binary is not of the right format",
        "code": "bad-binary",
    }


async def test_a_failing_store_is_500_storage_failure(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.failure = StorageFailure("can't save binary: new in database")
    reply = await http.post("/binaries/new", content=ZIP, headers={"content-type": "application/zip"})
    assert (reply.status_code, reply.json()["status"]) == (500, "Storage Failure")
    assert reply.json()["result"]["message"] == "can't save binary: new in database"


async def test_delete_answers_success_then_404(http: httpx.AsyncClient) -> None:
    reply = await http.delete("/binaries/app")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS"})
    reply = await http.delete("/binaries/app")
    assert (reply.status_code, reply.json()["result"]) == (404, "can't find binary with name app")


async def test_a_binary_in_use_cannot_be_deleted(http: httpx.AsyncClient) -> None:
    job_id = (await http.post("/jobs?appName=app&classPath=m.Waits")).json()["jobId"]
    reply = await http.delete("/binaries/app")
    assert reply.status_code == 403
    assert reply.json()["result"] == f"Binary is in use by job(s): {job_id}"
    assert reply.json()["code"] == "binary-in-use"


async def test_jars_takes_any_zip_as_a_jar_and_lists_jars_alone(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/jars/old", content=ZIP, headers={"content-type": "text/plain"})
    assert reply.status_code == 200
    assert reply.json() == {"status": "SUCCESS", "result": "Jar uploaded"}
    assert fake.binaries["old"].binary_type is BinaryType.JAR
    assert fake.contents["old"] == ZIP
    listed = (await http.get("/jars")).json()
    assert listed.keys() == {"old"}
    assert TIME.fullmatch(listed["old"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"something else"])
async def test_jars_refuses_what_is_no_archive_in_its_own_words(
    content: bytes, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/jars/old", content=content)
    assert reply.status_code == 400
    assert reply.json() == {"status": "ERROR", "result": "Jar is not of the right format", "code": "bad-binary"}
    assert "old" not in fake.binaries


@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a+b", "a+b"),
        ("a%20b", "a b"),
        ("%C3%A9t%C3%A9", "été"),
        ("50%25", "50%"),
    ],
)
async def test_names_are_decoded_after_the_path_is_split(
    spelled: str, name: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post(f"/binaries/{spelled}", content=ZIP, headers={"content-type": "application/zip"})
    assert reply.status_code == 201
    assert name in fake.binaries
    assert (await http.get(f"/binaries/{spelled}")).json()["app-name"] == name
