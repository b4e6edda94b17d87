"""Pages of other sites that the settings name may call the service: CORS, off unless they name any."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
EXPOSED_HEADERS = ("Allow", "Location")
MAX_AGE_S = 1800


class AllowedOrigins:
    """ASGI middleware: answers preflights of `origins`, and lets their pages read every reply, errors included.

    Replies to all others are as without it.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]):
        self._app = app
        self._origins = origins
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=("*",),
            allow_credentials=True,
            allow_private_network=True,
            expose_headers=EXPOSED_HEADERS,
            max_age=MAX_AGE_S,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_allowed = scope["type"] == "http" and Headers(scope=scope).get("origin") in self._origins
        await (self._cors if is_allowed else self._app)(scope, receive, send)
