"""Paths whose segments are split before they are decoded, so that `%2F` inside a name is a slash in the name."""

from __future__ import annotations

from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send


class RawPaths:
    """ASGI middleware: routes see each segment percent-encoded, and no trailing slash.

    Servers decode the whole path, after which a slash in a name cannot be told from one between segments.
    The scope is copied: servers write the path they decoded themselves to their access log.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "path": _normal(scope.get("raw_path") or quote(scope["path"]).encode())}
        await self._app(scope, receive, send)


def segment(request: Request, name: str) -> str:
    """The decoded text of the path segment that the route calls `name`."""
    return unquote(request.path_params[name])


def _normal(raw_path: bytes) -> str:
    """One spelling for each path: `/%6Aobs/` becomes `/jobs`, `/binaries/a%2fb` becomes `/binaries/a%2Fb`."""
    path = "/".join(quote(unquote(part), safe="") for part in raw_path.decode("utf-8", "replace").split("/"))
    return path.removesuffix("/") or "/"
