"""A sync request of two minutes, made by `test_contexts.py` early in a session, and looked at by `test_waiting.py`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import pytest

from tests.service import Api

SECONDS = 125


@pytest.fixture(scope="session")
def two_minutes(service) -> Iterator[Future[httpx.Response]]:
    """Its reply, in time; in a context of its own, where it takes no slot of others."""
    with service.client() as client, ThreadPoolExecutor(1) as waiter:
        client.timeout = httpx.Timeout(SECONDS + 60)
        api = Api(client)
        api.upload_jobs("waiting", "hello")
        assert client.post("/contexts/waiting?context-per-jvm=false").status_code == 200
        config = f"seconds = {SECONDS}"
        yield waiter.submit(
            api.start, "waiting", "hello.Sleep", "waiting", config, sync="true", timeout=300, jobId="two-minutes"
        )
        # Tests of crashes may have started the server anew, elsewhere.
        with service.client() as closing:
            closing.delete("/contexts/waiting?force=true")
