"""`/contexts`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest

from tests.web.fake_service import FakeService


@pytest.mark.parametrize("path", ["/contexts", "/contexts/"])
async def test_the_list_is_an_array_of_names(path: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(path)
    assert (reply.status_code, reply.json()) == (200, ["ctx"])


async def test_one_context_has_text_values_and_no_end_yet(http: httpx.AsyncClient, fake: FakeService) -> None:
    started = datetime(2013, 5, 29, tzinfo=UTC)
    fake.contexts["ctx"] = replace(fake.contexts["ctx"], id="c1", start_time=started)
    expected = {
        "id": "c1",
        "name": "ctx",
        "startTime": "2013-05-29T00:00:00.000Z",
        "endTime": "Empty",
        "state": "RUNNING",
    }
    assert (await http.get("/contexts/ctx")).json() == expected
    ended = started.replace(microsecond=7000)
    fake.contexts["ctx"] = replace(fake.contexts["ctx"], end_time=ended, application_id="app-1", ui_url="http://ui")
    more = {"endTime": "2013-05-29T00:00:00.007Z", "applicationId": "app-1", "url": "http://ui"}
    assert (await http.get("/contexts/ctx")).json() == expected | more


async def test_an_unknown_context_is_404(http: httpx.AsyncClient) -> None:
    reply = await http.get("/contexts/none")
    assert (reply.status_code, reply.json()["code"]) == (404, "no-such-context")
    assert reply.json()["result"] == "can't find context with name none"


async def test_a_created_context_answers_initialized(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/contexts/new")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS", "result": "Context initialized"})
    assert fake.contexts["new"].settings == {}


async def test_a_name_in_use_is_400(http: httpx.AsyncClient) -> None:
    reply = await http.post("/contexts/ctx")
    assert reply.status_code == 400
    assert reply.json() == {"status": "ERROR", "result": "context ctx exists", "code": "context-exists"}


@pytest.mark.parametrize("name", ["1st", "_x", "%2Fx", "-x"])
async def test_a_name_must_start_with_a_letter(name: str, http: httpx.AsyncClient) -> None:
    reply = await http.post(f"/contexts/{name}", content="{ not = [parsable")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-context-name")
    assert reply.json()["result"] == "context name must start with letters"


async def test_any_unicode_letter_may_start_a_name(http: httpx.AsyncClient, fake: FakeService) -> None:
    assert (await http.post("/contexts/été")).status_code == 200
    assert "été" in fake.contexts


async def test_query_parameters_are_settings_and_the_last_of_a_name_wins(
    http: httpx.AsyncClient, fake: FakeService
) -> None:
    await http.post("/contexts/new?spark.executor.instances=1&numCores=2&memPerNode=1g&x=a&x=b")
    expected = {"spark.executor.instances": "1", "num-cpu-cores": "2", "memory-per-node": "1g", "x": "b"}
    assert fake.contexts["new"].settings == expected


@pytest.mark.parametrize(
    "body",
    [
        "spark.context-settings { num-cpu-cores = 3, spark.executor.instances = 2 }",
        "spark { context-settings { num-cpu-cores = 3, spark { executor { instances = 2 } } } }",
        '{"spark.context-settings": {"num-cpu-cores": 3, "spark.executor.instances": 2}}',
        "spark.context-settings { numCores = 3, spark.executor.instances = 2 }, other = 1",
    ],
)
async def test_settings_of_the_body_win_over_the_query_in_every_spelling(
    body: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    await http.post("/contexts/new?num-cpu-cores=1&keep=me", content=body)
    assert fake.contexts["new"].settings == {"num-cpu-cores": 3, "spark.executor.instances": 2, "keep": "me"}


async def test_a_body_that_does_not_parse_is_400(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post("/contexts/new", content="{ not = [parsable")
    assert (reply.status_code, reply.json()["code"]) == (400, "bad-config")
    assert "new" not in fake.contexts


async def test_a_stopped_context_answers_stopped_then_404(http: httpx.AsyncClient) -> None:
    reply = await http.delete("/contexts/ctx?force=true")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS", "result": "Context stopped"})
    reply = await http.delete("/contexts/ctx")
    assert (reply.status_code, reply.json()["result"]) == (404, "context ctx not found")


async def test_a_slow_stop_answers_202_with_the_path_to_poll(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.stops_slowly = True
    await http.post("/contexts/a%2Fb")
    reply = await http.delete("/contexts/a%2Fb?force=false")
    assert (reply.status_code, reply.content) == (202, b"")
    assert reply.headers["location"] == "/contexts/a%2Fb"
    assert (await http.get(reply.headers["location"])).json()["name"] == "a/b"


async def test_a_malformed_force_is_400(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.delete("/contexts/ctx?force=maybe")
    message = "The query parameter 'force' was malformed: 'maybe' is not a valid Boolean value"
    assert reply.status_code == 400
    assert reply.json() == {"status": "ERROR", "result": message, "code": "bad-parameter"}
    assert "ctx" in fake.contexts


@pytest.mark.parametrize(("query", "forced"), [("", False), ("?force=true", True)])
async def test_force_reaches_the_service(query: str, forced: bool, http: httpx.AsyncClient, fake: FakeService) -> None:
    assert (await http.delete(f"/contexts/ctx{query}")).status_code == 200
    assert fake.forced == [forced]


@pytest.mark.parametrize(
    ("query", "waits", "said"),
    [
        ("reset=reboot", True, "Context reset"),
        ("reset=reboot&sync=true", True, "Context reset"),
        ("reset=reboot&sync=false", False, "Context reset requested"),
    ],
)
async def test_a_reset_says_whether_it_waited(
    query: str, waits: bool, said: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.put(f"/contexts?{query}")
    assert (reply.status_code, reply.json()) == (200, {"status": "SUCCESS", "result": said})
    assert fake.resets == [waits]


async def test_a_reset_of_another_kind_or_of_none_is_refused(http: httpx.AsyncClient, fake: FakeService) -> None:
    missing, other = await http.put("/contexts"), await http.put("/contexts?reset=all")
    assert missing.status_code == 404
    assert missing.json()["result"] == "Request is missing required query parameter 'reset'"
    assert (other.status_code, other.json()["code"]) == (400, "bad-parameter")
    assert fake.resets == []


async def test_a_starting_context_says_what_it_waits_for(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.contexts["ctx"] = replace(fake.contexts["ctx"], waits_for="it needs 4 core(s)")
    assert (await http.get("/contexts/ctx")).json()["waitsFor"] == "it needs 4 core(s)"
