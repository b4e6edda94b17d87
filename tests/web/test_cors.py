"""CORS: what a browser is told on behalf of pages of other sites, those that the settings name and all others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.routing import Route

from rayjobs.settings import Settings
from rayjobs.web import cors
from rayjobs.web.app import create_app
from tests.web.fake_service import FakeService

PAGE = "https://dashboard.example"
FOREIGN = "https://evil.example"


@pytest.fixture
async def http(fake: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    """A service that lets pages of `PAGE` and of one more site in."""
    app = create_app(fake, Settings(allowed_origins=f"{PAGE}, http://localhost:3000", max_body_bytes=1000))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


def _preflight(method: str, origin: str = PAGE) -> dict[str, str]:
    return {"Origin": origin, "Access-Control-Request-Method": method}


def _cors_headers(reply: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in reply.headers.items() if name == "vary" or name.startswith("access-")}


SHARED = {
    "access-control-allow-origin": PAGE,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": "Allow, Location",
    "vary": "Origin",
}


@pytest.mark.parametrize("method", cors.METHODS)
@pytest.mark.parametrize("path", ["/jobs", "/contexts/ctx", "/nothing"])
async def test_a_preflight_of_an_allowed_page_is_200_for_every_method(
    method: str, path: str, http: httpx.AsyncClient
) -> None:
    asked = _preflight(method) | {"Access-Control-Request-Headers": "content-type, x-mine, authorization"}
    reply = await http.options(path, headers=asked)
    assert reply.status_code == 200
    assert reply.headers["access-control-allow-origin"] == PAGE
    assert reply.headers["access-control-allow-credentials"] == "true"
    assert reply.headers["access-control-allow-methods"] == "DELETE, GET, HEAD, OPTIONS, POST, PUT"
    assert reply.headers["access-control-allow-headers"] == "content-type, x-mine, authorization"
    assert reply.headers["access-control-max-age"] == "1800"
    assert "Origin" in reply.headers["vary"].split(", ")


def test_a_preflight_knows_the_methods_of_all_routes() -> None:
    routes = [route for route in create_app(FakeService(), Settings()).routes if isinstance(route, Route)]
    assert {method for route in routes for method in route.methods or ()} <= set(cors.METHODS)


async def test_a_page_outside_may_ask_a_service_of_the_private_network(http: httpx.AsyncClient) -> None:
    asked = _preflight("GET") | {"Access-Control-Request-Private-Network": "true"}
    reply = await http.options("/jobs", headers=asked)
    assert (reply.status_code, reply.headers["access-control-allow-private-network"]) == (200, "true")


@pytest.mark.parametrize(
    ("method", "url", "status"),
    [
        ("GET", "/jobs", 200),
        ("HEAD", "/jobs", 200),
        ("PUT", "/contexts?reset=reboot", 200),
        ("DELETE", "/contexts/ctx", 200),
        ("POST", "/contexts/ctx?_method=DELETE", 200),
        ("POST", "/contexts/1st", 400),
        ("GET", "/jobs/none", 404),
        ("GET", "/nothing", 404),
        ("PUT", "/jobs", 405),
        ("OPTIONS", "/jobs", 405),
        ("POST", "/binaries/new", 415),
        ("POST", "/contexts/ctx?_method=FETCH", 501),
    ],
)
async def test_an_allowed_page_may_read_every_reply(
    method: str, url: str, status: int, http: httpx.AsyncClient
) -> None:
    reply = await http.request(method, url, headers={"Origin": PAGE})
    assert reply.status_code == status
    assert _cors_headers(reply) == SHARED


async def test_an_allowed_page_may_read_that_its_body_is_too_long(http: httpx.AsyncClient) -> None:
    reply = await http.post("/jobs", content=b"x" * 2000, headers={"Origin": PAGE})
    assert (reply.status_code, _cors_headers(reply)) == (413, SHARED)


async def test_an_allowed_page_may_read_that_the_service_failed(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.failure = LookupError("inside")
    reply = await http.get("/contexts", headers={"Origin": PAGE})
    assert (reply.status_code, reply.json()["code"], _cors_headers(reply)) == (500, "internal-error", SHARED)


async def test_an_allowed_page_may_read_that_it_asked_under_a_wrong_name(http: httpx.AsyncClient) -> None:
    reply = await http.get("/jobs", headers={"Origin": PAGE, "Host": "evil.example"})
    assert (reply.status_code, reply.json()["code"], _cors_headers(reply)) == (403, "foreign-origin", SHARED)


async def test_every_allowed_origin_is_answered_with_itself(http: httpx.AsyncClient) -> None:
    reply = await http.get("/jobs", headers={"Origin": "http://localhost:3000"})
    assert reply.headers["access-control-allow-origin"] == "http://localhost:3000"


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://localhost"}])
async def test_programs_and_our_own_pages_get_no_header_of_cors(
    headers: dict[str, str], http: httpx.AsyncClient
) -> None:
    for url in ("/jobs", "/nothing"):
        assert _cors_headers(await http.get(url, headers=headers)) == {}


@pytest.mark.parametrize(
    "origin", [FOREIGN, "null", "http://[", f"{PAGE}:8443", f"{PAGE}.evil.example", "http://dashboard.example"]
)
async def test_all_other_pages_stay_refused_preflights_included(
    origin: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    asked = await http.options("/contexts/ctx", headers=_preflight("DELETE", origin))
    done = await http.delete("/contexts/ctx", headers={"Origin": origin})
    for reply in (asked, done):
        assert (reply.status_code, reply.json()["code"], _cors_headers(reply)) == (403, "foreign-origin", {})
    assert "ctx" in fake.contexts


async def test_without_the_setting_no_page_of_another_site_is_let_in(fake: FakeService) -> None:
    transport = httpx.ASGITransport(create_app(fake, Settings()))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        replies = [
            await client.options("/jobs", headers=_preflight("GET")),
            await client.get("/jobs", headers={"Origin": PAGE}),
        ]
    assert [(reply.status_code, _cors_headers(reply)) for reply in replies] == [(403, {}), (403, {})]
