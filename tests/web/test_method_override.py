"""`_method`: a POST that is taken for another method."""

from __future__ import annotations

import httpx
import pytest

from tests.web.fake_service import FakeService


@pytest.mark.parametrize("verb", ["DELETE", "delete", "Delete"])
async def test_a_post_with_another_method_is_a_request_of_that_method(
    verb: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post(f"/contexts/ctx?_method={verb}")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS", "result": "Context stopped"})
    assert "ctx" not in fake.contexts


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/contexts?_method=PUT&reset=reboot", {"status": "SUCCESS", "result": "Context reset"}),
        ("/contexts?_method=GET", ["ctx"]),
        ("/binaries/app?force=1&_method=delete", {"status": "SUCCESS"}),
        ("/jobs?limit=3&_method=get", []),
    ],
)
async def test_the_other_parameters_are_those_of_the_method_it_is_taken_for(
    url: str, expected: object, http: httpx.AsyncClient
) -> None:
    reply = await http.post(url)
    assert (reply.status_code, reply.json()) == (200, expected)


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT"])
async def test_only_a_post_is_taken_for_another_method(method: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    """A link or an image of any page makes a browser send a GET."""
    reply = await http.request(method, "/contexts/ctx?_method=DELETE")
    assert reply.status_code == (405 if method == "PUT" else 200)
    assert "ctx" in fake.contexts
    assert fake.forced == []


@pytest.mark.parametrize("verb", ["FETCH", "DELETE2", "%20", "*"])
async def test_what_is_no_http_method_is_501(verb: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post(f"/contexts/ctx?_method={verb}")
    assert (reply.status_code, reply.json()["status"], reply.json()["code"]) == (501, "ERROR", "unknown-method")
    assert reply.json()["result"].startswith("The query parameter '_method' was malformed: '")
    assert "ctx" in fake.contexts


async def test_a_method_that_the_path_does_not_have_is_405(http: httpx.AsyncClient) -> None:
    reply = await http.post("/contexts/ctx?_method=PATCH")
    assert (reply.status_code, reply.json()["code"]) == (405, "method-not-allowed")
    assert reply.headers["allow"] == "DELETE, GET, HEAD, POST"


async def test_of_several_the_last_one_counts_and_an_empty_one_is_absent(
    http: httpx.AsyncClient, fake: FakeService
) -> None:
    assert (await http.post("/contexts/one?_method=DELETE&_method=post")).status_code == 200
    assert (await http.post("/contexts/two?_method=")).status_code == 200
    assert {"one", "two"} < fake.contexts.keys()


async def test_it_is_no_setting_of_a_context(http: httpx.AsyncClient, fake: FakeService) -> None:
    await http.post("/contexts/new?_method=POST&num-cpu-cores=2")
    assert fake.contexts["new"].settings == {"num-cpu-cores": "2"}


async def test_a_foreign_page_is_refused_whatever_the_method(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/contexts/ctx?_method=DELETE", headers={"Origin": "https://evil.example"})
    assert (reply.status_code, reply.json()["code"]) == (403, "foreign-origin")
    assert "ctx" in fake.contexts
