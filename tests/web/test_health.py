"""Routes about the service itself."""

from __future__ import annotations

import httpx

from rayjobs import __version__
from rayjobs.errors import ActorGone
from tests.web.fake_service import FakeService


async def test_a_healthy_service_says_success(http: httpx.AsyncClient) -> None:
    reply = await http.get("/healthz")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS"})


async def test_a_service_without_its_actors_is_503(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.failure = ActorGone("no actor named supervisor")
    reply = await http.get("/healthz")
    expected = {"status": "ERROR", "result": "no actor named supervisor", "code": "actor-gone"}
    assert (reply.status_code, reply.json()) == (503, expected)


async def test_the_root_names_service_version_and_routes(http: httpx.AsyncClient) -> None:
    about = (await http.get("/")).json()
    assert (about["service"], about["version"]) == ("rayjobs", __version__)
    assert "/jobs" in about["routes"]
