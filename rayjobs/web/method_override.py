"""The query parameter `_method`: other methods for clients, forms and proxies that know GET and POST alone."""

from __future__ import annotations

from starlette.datastructures import QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from rayjobs.errors import UnknownMethod
from rayjobs.web.errors import response_for

PARAMETER = "_method"
_METHODS = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"})


class MethodOverride:
    """ASGI middleware: a POST with `_method=<method>`, in any case, is taken for a request of that method.

    A GET stays one: links and images of any page make a browser send those, and they must not delete anything.
    The scope is copied: a server asks its own whether the reply that it sends has a body.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = _given(scope)
        if given and given.upper() not in _METHODS:
            unknown = UnknownMethod(f"The query parameter '{PARAMETER}' was malformed: '{given}' is not an HTTP method")
            await response_for(unknown)(scope, receive, send)
        else:
            await self._app({**scope, "method": given.upper()} if given else scope, receive, send)


def _given(scope: Scope) -> str | None:
    """The last value of the parameter; None where it does not count, or is empty."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return None
    return QueryParams(scope["query_string"]).get(PARAMETER) or None
