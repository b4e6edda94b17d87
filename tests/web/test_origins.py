"""Whom the service answers: not a browser that acts for another site's page, nor one that was led here by a name."""

from __future__ import annotations

import httpx
import pytest

from rayjobs.settings import Settings
from rayjobs.web.origins import hosts_of
from tests.web.fake_service import FakeService


async def test_a_page_of_another_site_cannot_start_anything(http: httpx.AsyncClient, fake: FakeService) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        reply = await http.post("/contexts/theirs?num-cpu-cores=1", headers={"Origin": origin})
        assert (reply.status_code, reply.json()["code"]) == (403, "foreign-origin")
        assert origin in reply.json()["result"]
    assert "theirs" not in fake.contexts


async def test_our_own_pages_and_programs_are_answered(http: httpx.AsyncClient) -> None:
    assert (await http.get("/jobs", headers={"Origin": "http://localhost"})).status_code == 200
    assert (await http.get("/jobs")).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8090", "localhost.evil.example", "[", ""])
async def test_a_name_that_is_not_ours_is_refused(http: httpx.AsyncClient, host: str) -> None:
    reply = await http.get("/jobs", headers={"Host": host})
    assert reply.status_code == (403 if host else 200)


@pytest.mark.parametrize("host", ["localhost:8090", "127.0.0.1:8090", "[::1]:8090", "LOCALHOST"])
async def test_names_of_this_machine_are_ours(http: httpx.AsyncClient, host: str) -> None:
    assert (await http.get("/jobs", headers={"Host": host})).status_code == 200


def test_names_are_checked_on_loopback_addresses_only() -> None:
    assert hosts_of(Settings(host="0.0.0.0")) is None
    assert hosts_of(Settings(host="10.1.2.3")) is None
    assert "jobs.example" in (hosts_of(Settings(host="127.0.0.1", allowed_hosts="a.b, Jobs.example")) or ())
