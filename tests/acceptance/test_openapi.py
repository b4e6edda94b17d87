"""Thousands of requests made up from the OpenAPI document, to a service with all its parts: answered as it says.

Every context but `kept` asks for a thousand executors by the service's own settings, so the room check refuses it: a
request for one, or for an ad-hoc job, goes all the way to the supervisor and starts no Spark. A reset makes `kept`
again, which takes seconds, so there are few of those.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from urllib.parse import urlsplit

import hypothesis
import pytest
import requests
import schemathesis

from tests.generated import described, no_defect
from tests.service import Api, Service, eventually, serving

SETTINGS = """
ray.num-cpus = 4
contexts {
  context-settings.spark.executor.instances = 1000
  predefined { kept { num-cpu-cores = 1, spark.executor.instances = 1 } }
}
"""
# A port of ours on which nobody listens.
NOBODY = "http://127.0.0.1:9/"
KNOWN = {
    "path.app": ["jobs"],
    "path.name": ["kept"],
    "path.id": ["finished", "failed", "sleeping"],
    "query.appName": ["jobs"],
    "query.classPath": ["hello.Echo", "hello.Greet", "hello.Raise", "hello.NotAJob", "hello.Nothing"],
    "query.context": ["kept"],
}
FEW = {"generation": {"max-examples": 6}, "phases": {"coverage": {"enabled": False}, "examples": {"enabled": False}}}
MANY = {"generation": {"max-examples": 200}}
SCHEMA = described(
    110, KNOWN, [{"include-operation-id": "resetContexts", **FEW}, {"include-operation-id": "startJob", **MANY}]
)
CALLS: Counter[str] = Counter()


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with serving(tmp_path_factory.mktemp("narrow"), SETTINGS) as service:
        yield service


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


@pytest.fixture
def ready(narrow: Service) -> Iterator[Api]:
    """The context `kept`, the binary `jobs`, and a job in each of several states, whatever tests before did."""
    with narrow.client() as client:
        api = Api(client)
        api.upload_jobs("jobs", "hello")
        if client.get("/contexts/kept").status_code == 404:
            assert client.put("/contexts?reset=reboot").status_code == 200
        eventually(lambda: "kept" in client.get("/contexts").json())
        for job_id, job in (("finished", "Echo"), ("failed", "Raise"), ("sleeping", "Sleep")):
            if client.get(f"/jobs/{job_id}").status_code == 404:
                reply = api.start("jobs", f"hello.{job}", "kept", "seconds = 600", jobId=job_id, callbackUrl=NOBODY)
                assert reply.is_success, reply.text
        yield api


@SCHEMA.parametrize()
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
def test_a_reply_is_as_the_document_says(
    case: schemathesis.Case, narrow: Service, ready: Api, session: requests.Session
) -> None:
    if case.operation.label == "POST /jobs":
        _as_a_job(case)
    CALLS[case.operation.label] += 1
    case.call_and_validate(base_url=narrow.url, session=session, timeout=60, additional_checks=[no_defect])


def test_they_were_many_and_the_service_still_runs_a_job(ready: Api) -> None:
    assert sum(CALLS.values()) >= 2000, CALLS
    assert ready.http.get("/healthz").status_code == 200
    assert ready.run("jobs", "hello.Echo", "kept", "value = 1") == 1


def _as_a_job(case: schemathesis.Case) -> None:
    """Most jobs that are made up lack their code: they get it. A callback would reach somebody: it goes to us."""
    case.query = {"appName": "jobs", "classPath": "hello.Echo", **(case.query or {})}
    if urlsplit(str(case.query.get("callbackUrl"))).netloc:
        case.query["callbackUrl"] = NOBODY
