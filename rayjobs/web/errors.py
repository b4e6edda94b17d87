"""Errors as HTTP: one table says which status, and which `status` text, each class of errors gets.

Every error body has `status`, `result` and `code`. `result` is a text, or, for errors that carry an exception of
user code or of the cluster, `{message, errorClass, stack}`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Match
from starlette.types import ExceptionHandler

from rayjobs import errors
from rayjobs.errors import ErrorData, RayJobsError, error_data_of
from rayjobs.web import render

log = logging.getLogger(__name__)

NO_SUCH_ROUTE = "no-such-route"
METHOD_NOT_ALLOWED = "method-not-allowed"
INTERNAL_ERROR = "internal-error"
# What nginx logs for it; nobody reads this answer.
_CLIENT_CLOSED_REQUEST = 499


@dataclass(frozen=True)
class Answer:
    status_code: int
    text: str = "ERROR"
    as_exception: bool = False


# A class that is not here is answered like its nearest base.
ANSWERS: dict[type[RayJobsError], Answer] = {
    RayJobsError: Answer(500, as_exception=True),
    errors.BadRequest: Answer(400),
    errors.UnsupportedBinaryType: Answer(415),
    errors.TooLarge: Answer(413),
    errors.ForeignOrigin: Answer(403),
    errors.UnknownMethod: Answer(501),
    errors.JobLoadingFailed: Answer(400, "JOB LOADING FAILED", as_exception=True),
    errors.ValidationFailed: Answer(400, "VALIDATION FAILED", as_exception=True),
    errors.NotFound: Answer(404),
    errors.Conflict: Answer(409),
    errors.BinaryInUse: Answer(403),
    errors.NoSlotsAvailable: Answer(503, "NO SLOTS AVAILABLE"),
    errors.ServiceFailure: Answer(500, as_exception=True),
    errors.ContextInitError: Answer(500, "CONTEXT INIT ERROR", as_exception=True),
    errors.ContextDeleteError: Answer(500, "CONTEXT DELETE ERROR", as_exception=True),
    errors.StorageFailure: Answer(500, "Storage Failure", as_exception=True),
    errors.ActorGone: Answer(503),
    errors.ContextRestarting: Answer(503),
    errors.ServiceStarting: Answer(503),
}


def answer_for(kind: type[RayJobsError]) -> Answer:
    return next(ANSWERS[base] for base in kind.__mro__ if base in ANSWERS)


def response_for(error: RayJobsError) -> Response:
    answer = answer_for(type(error))
    result = render.error_fields(error_data_of(error)) if answer.as_exception else error.message
    return render.Json({"status": answer.text, "result": result, "code": error.code}, answer.status_code)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, RayJobsError)
    return response_for(error)


async def _no_such_route(request: Request, error: Exception) -> Response:
    message = "The requested resource could not be found."
    return render.Json({"status": "ERROR", "result": message, "code": NO_SUCH_ROUTE}, 404)


async def _method_not_allowed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    allowed = ", ".join(_methods_of(request))
    message = f"HTTP method not allowed, supported methods: {allowed}"
    content = {"status": "ERROR", "result": message, "code": METHOD_NOT_ALLOWED}
    return render.Json(content, 405, {"Allow": allowed})


async def _client_gone(request: Request, error: Exception) -> Response:
    log.info("%s %r: the client went away before its body was read", request.method, request.scope["path"])
    return Response(status_code=_CLIENT_CLOSED_REQUEST)


async def internal_error(request: Request, error: Exception) -> Response:
    """The server logs the traceback, since Starlette raises the error again after this; clients get none."""
    kind = type(error).__name__
    log.error("%s %r failed with %s: %s", request.method, request.scope["path"], kind, error)
    result = render.error_fields(ErrorData("There was an internal server error.", kind, ""))
    return render.Json({"status": "ERROR", "result": result, "code": INTERNAL_ERROR}, 500)


def _methods_of(request: Request) -> list[str]:
    """Of all routes with the request's path: Starlette itself names those of the first one only."""
    app: Starlette = request.app
    matching = [route for route in app.routes if route.matches(request.scope)[0] is not Match.NONE]
    return sorted({method for route in matching for method in getattr(route, "methods", None) or ()})


HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    404: _no_such_route,
    405: _method_not_allowed,
    RayJobsError: _ours,
    ClientDisconnect: _client_gone,
}
