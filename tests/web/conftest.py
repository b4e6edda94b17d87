"""The real app over a service in memory, and a client of it that needs no socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from rayjobs.records import BinaryType
from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from tests.web.fake_service import FakeService

MAX_BODY_BYTES = 10_000


@pytest.fixture
async def fake() -> AsyncIterator[FakeService]:
    """With the app `app`, the context `ctx`, and the classes `m.Echo`, `m.Fails` and `m.Waits`."""
    service = FakeService()
    service.programs = {"m.Echo": _echo, "m.Fails": _fail, "m.Waits": _wait}
    await service.upload_binary("app", BinaryType.EGG, _chunks(b"PK\x03\x04 an egg"))
    await service.create_context("ctx", {})
    yield service
    for task in service.tasks.values():
        task.cancel()
    await asyncio.gather(*service.tasks.values(), return_exceptions=True)


@pytest.fixture
async def http(fake: FakeService) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(fake, Settings(max_body_bytes=MAX_BODY_BYTES, sync_timeout_s=5.0))
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _echo(config: dict[str, Any]) -> Any:
    return config.get("say")


async def _fail(config: dict[str, Any]) -> Any:
    raise ValueError("boom")


async def _wait(config: dict[str, Any]) -> Any:
    await asyncio.Event().wait()
