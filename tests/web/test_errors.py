"""Each error class as HTTP: status, envelope, code."""

from __future__ import annotations

import logging

import httpx
import pytest

from rayjobs import errors
from rayjobs.errors import ErrorData, RayJobsError
from tests.web.fake_service import FakeService

PLAIN = {
    errors.BadRequest: (400, "ERROR"),
    errors.BadConfig: (400, "ERROR"),
    errors.BadParameter: (400, "ERROR"),
    errors.BadBinary: (400, "ERROR"),
    errors.UnsupportedBinaryType: (415, "ERROR"),
    errors.TooLarge: (413, "ERROR"),
    errors.ForeignOrigin: (403, "ERROR"),
    errors.UnknownMethod: (501, "ERROR"),
    errors.BadContextName: (400, "ERROR"),
    errors.BadDataFileName: (400, "ERROR"),
    errors.ContextExists: (400, "ERROR"),
    errors.InvalidJobType: (400, "ERROR"),
    errors.NotFound: (404, "ERROR"),
    errors.NoSuchBinary: (404, "ERROR"),
    errors.NoSuchContext: (404, "ERROR"),
    errors.NoSuchJob: (404, "ERROR"),
    errors.NoSuchClass: (404, "ERROR"),
    errors.NoRunningJob: (404, "ERROR"),
    errors.NoSuchCallback: (404, "ERROR"),
    errors.NoSuchDataFile: (404, "ERROR"),
    errors.Conflict: (409, "ERROR"),
    errors.BinaryInUse: (403, "ERROR"),
    errors.ContextStopping: (409, "ERROR"),
    errors.JobExists: (409, "ERROR"),
    errors.JobNotOver: (409, "ERROR"),
    errors.NoSlotsAvailable: (503, "NO SLOTS AVAILABLE"),
    errors.ActorGone: (503, "ERROR"),
    errors.ContextRestarting: (503, "ERROR"),
    errors.ServiceStarting: (503, "ERROR"),
}
WITH_EXCEPTION = {
    errors.RayJobsError: (500, "ERROR"),
    errors.ValidationFailed: (400, "VALIDATION FAILED"),
    errors.JobLoadingFailed: (400, "JOB LOADING FAILED"),
    errors.ServiceFailure: (500, "ERROR"),
    errors.ContextInitError: (500, "CONTEXT INIT ERROR"),
    errors.NotEnoughResources: (500, "CONTEXT INIT ERROR"),
    errors.ContextDeleteError: (500, "CONTEXT DELETE ERROR"),
    errors.StorageFailure: (500, "Storage Failure"),
    errors.IllegalTransition: (500, "ERROR"),
}


def _tree(root: type[RayJobsError] = RayJobsError) -> set[type[RayJobsError]]:
    return {root}.union(*(_tree(child) for child in root.__subclasses__()))


def test_every_error_class_is_tested_here() -> None:
    assert _tree() == PLAIN.keys() | WITH_EXCEPTION.keys()


@pytest.mark.parametrize("kind", PLAIN)
async def test_a_plain_error_has_its_message_as_result(
    kind: type[RayJobsError], http: httpx.AsyncClient, fake: FakeService
) -> None:
    fake.failure = kind("what went wrong")
    reply = await http.get("/contexts")
    status, text = PLAIN[kind]
    assert reply.status_code == status
    assert reply.json() == {"status": text, "result": "what went wrong", "code": kind.code}
    assert reply.headers["content-type"] == "application/json"


@pytest.mark.parametrize("kind", WITH_EXCEPTION)
async def test_an_error_with_an_exception_has_it_as_result(
    kind: type[RayJobsError], http: httpx.AsyncClient, fake: FakeService
) -> None:
    fake.failure = kind("ours", ErrorData("theirs", "KeyError", "Traceback"))
    reply = await http.get("/contexts")
    status, text = WITH_EXCEPTION[kind]
    result = {"message": "theirs", "errorClass": "KeyError", "stack": "Traceback"}
    assert reply.status_code == status
    assert reply.json() == {"status": text, "result": result, "code": kind.code}


async def test_without_an_exception_the_result_names_our_own_class(http: httpx.AsyncClient, fake: FakeService) -> None:
    fake.failure = errors.ContextInitError("no Java")
    result = (await http.get("/contexts")).json()["result"]
    assert result == {"message": "no Java", "errorClass": "ContextInitError", "stack": ""}


@pytest.mark.parametrize("path", ["/nothing", "/jobsfoo", "/binaries/a/b", "/jobs/a/b", "/binaries//", "//jobs"])
async def test_an_unknown_path_is_404_no_such_route(path: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(f"http://localhost{path}")
    message = "The requested resource could not be found."
    assert reply.status_code == 404
    assert reply.json() == {"status": "ERROR", "result": message, "code": "no-such-route"}


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "GET, HEAD, POST"),
        ("DELETE", "/jobs", "GET, HEAD, POST"),
        ("POST", "/binaries", "GET, HEAD"),
        ("PUT", "/binaries/app", "DELETE, GET, HEAD, POST"),
        ("DELETE", "/jars/app", "POST"),
        ("DELETE", "/contexts", "GET, HEAD, PUT"),
    ],
)
async def test_a_wrong_method_is_405_with_all_methods_of_the_path(
    method: str, path: str, allowed: str, http: httpx.AsyncClient
) -> None:
    reply = await http.request(method, path)
    message = f"HTTP method not allowed, supported methods: {allowed}"
    assert (reply.status_code, reply.headers["allow"]) == (405, allowed)
    assert reply.json() == {"status": "ERROR", "result": message, "code": "method-not-allowed"}


async def test_an_unexpected_exception_is_500_logged_and_without_traceback(
    http: httpx.AsyncClient, fake: FakeService, caplog: pytest.LogCaptureFixture
) -> None:
    fake.failure = LookupError("secret inside")
    with caplog.at_level(logging.ERROR, "rayjobs.web.errors"):
        reply = await http.get("/contexts")
    result = {"message": "There was an internal server error.", "errorClass": "LookupError", "stack": ""}
    assert reply.status_code == 500
    assert reply.json() == {"status": "ERROR", "result": result, "code": "internal-error"}
    assert "GET '/contexts' failed with LookupError: secret inside" in caplog.text
