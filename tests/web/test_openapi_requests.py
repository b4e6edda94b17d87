"""Requests made up from the OpenAPI document, to the app over a service in memory: answered as the document says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from starlette.applications import Starlette

from rayjobs.records import BinaryType
from rayjobs.service import Submission
from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from tests.generated import described, no_defect
from tests.web.conftest import MAX_BODY_BYTES
from tests.web.fake_service import FakeService

KNOWN = {
    "path.app": ["used", "free"],
    "path.name": ["ctx", "words.txt-0.dat"],
    "path.id": ["finished", "failed", "killed", "running"],
    "query.appName": ["used"],
    "query.classPath": ["m.Echo", "m.Fails"],
    "query.context": ["ctx"],
}
SCHEMA = described(25, KNOWN, [{"include-operation-id": "startJob", "generation": {"max-examples": 100}}])
SCHEMA.app = create_app(FakeService(), Settings())


@pytest.fixture
def app() -> Starlette:
    return create_app(asyncio.run(_service()), Settings(max_body_bytes=MAX_BODY_BYTES, sync_timeout_s=5.0))


@SCHEMA.parametrize()
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_a_reply_is_as_the_document_says(case: schemathesis.Case, app: Starlette) -> None:
    case.call_and_validate(app=app, base_url="http://localhost", additional_checks=[no_defect])


async def _service() -> FakeService:
    """With something for every route to find, and a job in each state."""
    service = FakeService()
    service.programs = {"m.Echo": _echo, "m.Fails": _fail, "m.Waits": _wait}
    for name in ("used", "free"):
        await service.upload_binary(name, BinaryType.WHEEL, _chunks(b"PK\x03\x04 a wheel"))
    await service.upload_data_file("words.txt", _chunks(b"a b a"))
    await service.create_context("ctx", {})
    for job_id, program in (("finished", "Echo"), ("failed", "Fails"), ("killed", "Waits"), ("running", "Waits")):
        wait_s = 0.0 if program == "Waits" else 5.0
        url = "http://127.0.0.1:9/told"
        await service.start_job(Submission(job_id, "used", f"m.{program}", "ctx", {"a": 1}, wait_s, url))
    await service.kill_job("killed")
    return service


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _echo(config: dict[str, Any]) -> Any:
    return config


async def _fail(config: dict[str, Any]) -> Any:
    raise ValueError("boom")


async def _wait(config: dict[str, Any]) -> Any:
    await asyncio.Event().wait()
