"""The Python client of spark-jobserver, and jobs as its users write and pack them: neither is changed for rayjobs.

`SjsClient` sends what that client sends and reads what it reads, request by request.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service import JOBS, eventually


class HttpFailure(Exception):
    def __init__(self, details: str):
        super().__init__(details)
        self.details = details


class NotFound(HttpFailure):
    pass


class SjsClient:
    """Every error body must be an object with a text `status`; what is not JSON is an error of its own."""

    def __init__(self, http: httpx.Client):
        self._http = http

    def _ask(self, method: str, path: str, **request: Any) -> httpx.Response:
        reply = self._http.request(method, path, **request)
        if reply.is_error:
            details = reply.json()["status"]
            assert isinstance(details, str)
            raise (NotFound if reply.status_code == 404 else HttpFailure)(details)
        return reply

    def create_app(self, name: str, blob: bytes, content_type: str) -> Any:
        self._ask("POST", f"/binaries/{name}", content=blob, headers={"Content-Type": content_type})
        return self.get_app(name)

    def get_app(self, name: str) -> Any:
        apps = self._ask("GET", "/binaries").json()
        if name not in apps:
            raise NotFound(name)
        return apps[name]

    def delete_app(self, name: str) -> None:
        self._ask("DELETE", f"/binaries/{name}")

    def create_context(self, name: str, params: dict[str, str]) -> None:
        self._ask("POST", f"/contexts/{name}", params=params)

    def contexts(self) -> list[str]:
        return self._ask("GET", "/contexts").json()

    def delete_context(self, name: str) -> None:
        self._ask("DELETE", f"/contexts/{name}")

    def create_job(
        self, app: str, class_path: str, conf: Any = None, ctx: str | None = None, sync: bool = False
    ) -> Any:
        """A dict is form-encoded, which for one key is HOCON by chance; a text is sent as it is."""
        params = {"appName": app, "classPath": class_path}
        params |= {"context": ctx} if ctx else {}
        params |= {"sync": "true"} if sync else {}
        body = {"data": conf} if isinstance(conf, dict) else {"content": conf or ""}
        return self._ask("POST", "/jobs", params=params, **body).json()

    def get_job(self, job_id: str) -> Any:
        return self._ask("GET", f"/jobs/{job_id}").json()

    def jobs(self, **params: Any) -> list[Any]:
        return self._ask("GET", "/jobs", params=params).json()

    def delete_job(self, job_id: str) -> Any:
        return self._ask("DELETE", f"/jobs/{job_id}").json()

    def job_config(self, job_id: str) -> dict[str, Any]:
        return self._ask("GET", f"/jobs/{job_id}/config").json()


@pytest.fixture
def sjs(service) -> Iterator[SjsClient]:
    with service.client() as http:
        yield SjsClient(http)


def _built(folder: Path, command: str, pattern: str) -> bytes:
    """Packed as users pack them, by setuptools."""
    shutil.copytree(JOBS / "eggs", folder)
    subprocess.run([sys.executable, "setup.py", "-q", command], cwd=folder, check=True, capture_output=True)
    [built] = (folder / "dist").glob(pattern)
    return built.read_bytes()


@pytest.fixture(scope="module")
def egg(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _built(tmp_path_factory.mktemp("eggs") / "styles", "bdist_egg", "*.egg")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _built(tmp_path_factory.mktemp("wheels") / "styles", "bdist_wheel", "*.whl")


def _ended(job: dict[str, Any]) -> dict[str, Any] | None:
    return None if job["status"] in ("STARTED", "RUNNING") else job


def test_apps_come_and_go(sjs, egg):
    assert sjs.create_app("client-app", egg, "application/python-archive") is not None
    sjs.delete_app("client-app")
    for call in (sjs.get_app, sjs.delete_app):
        with pytest.raises(NotFound):
            call("client-app")


def test_contexts_come_and_go(sjs):
    sjs.create_context("client-ctx", {"num-cpu-cores": "1", "memory-per-node": "512m"})
    assert "client-ctx" in sjs.contexts()
    with pytest.raises(HttpFailure):
        sjs.create_context("client-ctx", {})
    sjs.delete_context("client-ctx")
    assert "client-ctx" not in sjs.contexts()
    with pytest.raises(NotFound):
        sjs.delete_context("client-ctx")
    with pytest.raises(HttpFailure):
        sjs.create_context("1st", {})


def test_jobs_are_created_polled_listed_and_killed(sjs, egg, context):
    sjs.create_app("client-jobs", egg, "application/python-archive")
    done = sjs.create_job("client-jobs", "sessions.SessionsJob", {"limit": "5"}, context, sync=True)
    assert (done["result"], done["status"]) == ({"sum": 10, "cores": "2"}, "FINISHED")
    started = sjs.create_job("client-jobs", "sessions.SessionsJob", "limit = 4", context)
    assert {"jobId", "status", "context"} <= set(started)
    ended = eventually(lambda: (job := sjs.get_job(started["jobId"]))["status"] == "FINISHED" and job)
    assert {"jobId", "status", "duration", "classPath", "startTime", "context", "result"} <= set(ended)
    assert ended["result"]["sum"] == 6 and ended["duration"].endswith(" secs")
    assert sjs.job_config(started["jobId"]) == {"limit": 4}
    assert sjs.job_config(sjs.create_job("client-jobs", "sessions.SessionsJob", {"limit": "3"}, context)["jobId"]) == {
        "limit": 3
    }
    assert [job["jobId"] for job in sjs.jobs(limit=50)].count(started["jobId"]) == 1
    with pytest.raises(NotFound):
        sjs.delete_job(started["jobId"])
    with pytest.raises(NotFound):
        sjs.get_job("no-such-job")
    with pytest.raises(NotFound):
        sjs.create_job("client-jobs", "sessions.SessionsJob", ctx="no-such-context")
    with pytest.raises(NotFound):
        sjs.create_job("no-such-app", "sessions.SessionsJob", ctx=context)


def test_a_job_refused_by_its_validate_is_an_http_failure(sjs, egg, context):
    sjs.create_app("client-refused", egg, "application/python-archive")
    with pytest.raises(HttpFailure) as refused:
        sjs.create_job("client-refused", "lengths.LengthsJob", ctx=context)
    assert refused.value.details == "VALIDATION FAILED"


def test_a_wheel_runs_as_an_egg_does(sjs, wheel, context):
    sjs.create_app("styles-wheel", wheel, "application/python-wheel")
    assert sjs.create_job("styles-wheel", "sessions.SessionsJob", "limit = 3", context, sync=True)["result"]["sum"] == 3


@pytest.mark.parametrize(
    ("factory", "class_path", "config", "result"),
    [
        ("PythonSparkContextFactory", "lengths.LengthsJob", "input.strings = [a, bb, cc]", {"1": 1, "2": 2}),
        (
            "PythonSQLContextFactory",
            "averages.AveragesJob",
            "input.data = [[red, 1], [blue, 4], [red, 2]]",
            [["blue", 4.0], ["red", 1.5]],
        ),
        ("PythonHiveContextFactory", "warehouse.WarehouseJob", "input.amounts = [5, 7]", [[1, 7], [2, 5]]),
        ("PythonSessionContextFactory", "sessions.SessionsJob", "limit = 4", {"sum": 6, "cores": "1"}),
    ],
)
def test_jobs_in_every_style_of_context_run_as_they_are(sjs, egg, factory, class_path, config, result):
    """The factories of the versions that had them; HOCON as in that project's documentation."""
    sjs.create_app("styles", egg, "application/python-archive")
    sharing = str(factory == "PythonHiveContextFactory").lower()
    params = {"context-factory": f"spark.jobserver.python.{factory}", "num-cpu-cores": "1", "context-per-jvm": sharing}
    sjs.create_context("style", params)
    try:
        job = sjs.create_job("styles", class_path, config, "style")
        ended = eventually(lambda: _ended(sjs.get_job(job["jobId"])))
        assert (ended["status"], ended.get("result")) == ("FINISHED", result)
    finally:
        sjs.delete_context("style")
