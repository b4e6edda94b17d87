"""The app behind a real uvicorn on a socket: streaming, raw paths, HEAD, clients that go away."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import uvicorn

from rayjobs.settings import Settings
from rayjobs.states import JobState
from rayjobs.web.app import create_app
from tests.web.fake_service import FakeService

ZIP_TYPE = {"content-type": "application/zip"}


async def _until(what: Callable[[], object], timeout_s: float = 10.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not what():
            await asyncio.sleep(0.01)


@pytest.fixture
async def port(fake: FakeService) -> AsyncIterator[int]:
    app = create_app(fake, Settings())
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve())
    await _until(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield client


async def _send_and_leave(port: int, request: bytes, when: Callable[[], object]) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    await writer.drain()
    await _until(when)
    writer.close()
    await writer.wait_closed()


async def test_an_upload_reaches_the_service_while_it_is_still_being_sent(
    client: httpx.AsyncClient, fake: FakeService
) -> None:
    async def content() -> AsyncIterator[bytes]:
        yield b"PK\x03\x04 first"
        await asyncio.wait_for(fake.first_chunk_seen.wait(), 10)
        yield b" second"

    fake.first_chunk_seen.clear()
    reply = await client.post("/binaries/a%2Fb", content=content(), headers=ZIP_TYPE)
    assert reply.status_code == 201
    assert fake.contents["a/b"] == b"PK\x03\x04 first second"


async def test_an_encoded_slash_stays_inside_its_name(client: httpx.AsyncClient, fake: FakeService) -> None:
    assert (await client.post("/contexts/a%2Fb%20c")).status_code == 200
    assert (await client.get("/contexts/a%2Fb%20c")).json()["name"] == "a/b c"
    assert (await client.get("/contexts/a/b%20c")).json()["code"] == "no-such-route"
    fake.stops_slowly = True
    assert (await client.delete("/contexts/a%2fb%20c")).headers["location"] == "/contexts/a%2Fb%20c"


async def test_head_is_get_without_the_body(client: httpx.AsyncClient) -> None:
    for path in ("/binaries", "/contexts/ctx", "/jobs", "/healthz", "/", "/jobs/none"):
        got, asked = await client.get(path), await client.head(path)
        assert asked.status_code == got.status_code
        assert asked.headers["content-length"] == got.headers["content-length"]
        assert asked.content == b""


async def test_a_refused_upload_leaves_the_connection_usable(client: httpx.AsyncClient) -> None:
    reply = await client.post("/binaries/new", content=b"x" * 2**20, headers={"content-type": "text/html"})
    assert reply.status_code == 415
    assert (await client.get("/healthz")).status_code == 200


async def test_an_upload_whose_client_leaves_is_not_stored(
    port: int, fake: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    fake.first_chunk_seen.clear()
    head = b"POST /binaries/half HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/zip\r\nContent-Length: 1000\r\n\r\n"
    await _send_and_leave(port, head + b"PK\x03\x04 half", fake.first_chunk_seen.is_set)
    await _until(lambda: fake.aborted_uploads)
    assert "half" not in fake.binaries
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_sync_job_whose_client_leaves_runs_to_its_end(
    port: int, client: httpx.AsyncClient, fake: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    release = asyncio.Event()

    async def program(config: dict[str, object]) -> str:
        await release.wait()
        return "done"

    fake.programs["m.Released"] = program
    request = b"POST /jobs?appName=app&classPath=m.Released&sync=true HTTP/1.1\r\n"
    request += b"Host: localhost\r\nContent-Length: 0\r\n\r\n"
    await _send_and_leave(port, request, lambda: fake.jobs)
    release.set()
    [job_id] = fake.jobs
    await _until(lambda: fake.jobs[job_id].state is JobState.FINISHED)
    assert (await client.get(f"/jobs/{job_id}")).json()["result"] == "done"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
