"""Callbacks of jobs: the URL that a request gives, and the routes that show and repeat a callback."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rayjobs.errors import BadParameter
from rayjobs.records import Callback
from rayjobs.service import JobService
from rayjobs.web import params, render
from rayjobs.web.paths import segment


class CallbackRoutes:
    def __init__(self, service: JobService):
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route("/jobs/{id}/callback", self.get, methods=["GET"]),
            Route("/jobs/{id}/callback", self.resend, methods=["POST"]),
        ]

    async def get(self, request: Request) -> Response:
        return render.Json(_fields(await self._service.get_callback(segment(request, "id"))))

    async def resend(self, request: Request) -> Response:
        return render.Json(_fields(await self._service.resend_callback(segment(request, "id"))), 202)


def callback_url(request: Request) -> str | None:
    """The request's `callbackUrl`, None without one; raises `BadParameter` unless it is http or https and has a host.

    Clients of spark-jobserver encode it once more than other parameters.
    """
    given = params.text(request, "callbackUrl")
    if given is None:
        return None
    for url in (given, unquote(given)):
        if _is_http(url):
            return url
    raise BadParameter("Callback Url has to be 'http'/'https'")


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        is_plain = url.isprintable() and " " not in url
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and is_plain
    except ValueError:
        return False


def _fields(callback: Callback) -> dict[str, Any]:
    fields = {
        "jobId": callback.job_id,
        "url": _without_password(callback.url),
        "state": callback.state,
        "attempts": callback.attempts,
        "lastAttempt": callback.last_attempt and render.timestamp(callback.last_attempt),
        "lastStatus": callback.last_status,
        "lastError": callback.last_error,
        "nextAttempt": callback.next_attempt and render.timestamp(callback.next_attempt),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _without_password(url: str) -> str:
    """The URL with stars for the name and password before its host."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"***@{host}")) if at else url
