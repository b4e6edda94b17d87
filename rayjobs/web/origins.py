"""Requests that a browser makes for somebody else's page are refused: whoever can post a job can run code here."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from rayjobs.errors import ForeignOrigin
from rayjobs.settings import Settings
from rayjobs.web.errors import response_for


class OwnOrigin:
    """ASGI middleware. Refuses requests whose `Origin` is another site's and not among `origins`, and, if `hosts` is
    given, those for a `Host` that is not among them: a name that its owner made point at this machine.

    A browser sends a simple POST from any page to any address it can reach, a loopback address included.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, origins: frozenset[str]):
        self._app = app
        self._hosts = hosts
        self._origins = origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = scope["type"] == "http" and self._problem(Headers(scope=scope))
        if problem:
            await response_for(ForeignOrigin(problem))(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _problem(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self._hosts is not None and host and _name(f"//{host}") not in self._hosts:
            return f"this service is not known as {host}: add the name to http.allowed-hosts"
        if origin is not None and origin not in self._origins and not _is_of(origin, host):
            return f"requests from web pages of {origin} are refused"
        return None


def hosts_of(settings: Settings) -> frozenset[str] | None:
    """The names that requests may be for; None, any, for a service that was told to listen to other machines."""
    if not _is_loopback(settings.host):
        return None
    names = {name.strip().lower() for name in settings.allowed_hosts.split(",") if name.strip()}
    return frozenset({"localhost", "127.0.0.1", "::1", settings.host.lower(), *names})


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_of(origin: str, host: str) -> bool:
    try:
        return urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _name(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None
