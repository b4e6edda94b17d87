"""The HTTP application: all routes over one service."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware

from rayjobs.service import JobService
from rayjobs.settings import Settings
from rayjobs.web.binaries import BinaryRoutes
from rayjobs.web.contexts import ContextRoutes
from rayjobs.web.errors import HANDLERS
from rayjobs.web.health import HealthRoutes
from rayjobs.web.jobs import JobRoutes
from rayjobs.web.origins import OwnOrigin, hosts_of
from rayjobs.web.paths import RawPaths


def create_app(service: JobService, settings: Settings) -> Starlette:
    """The ASGI application that serves `service`; settings in use: those of `http.`, `sync_timeout_s`."""
    app = Starlette(
        routes=[
            *HealthRoutes(service).routes(),
            *BinaryRoutes(service).routes(),
            *ContextRoutes(service, settings).routes(),
            *JobRoutes(service, settings).routes(),
        ],
        middleware=[Middleware(OwnOrigin, hosts=hosts_of(settings)), Middleware(RawPaths)],
        exception_handlers=HANDLERS,
    )
    # `/binaries//` is no route, not a detour to one.
    app.router.redirect_slashes = False
    return app
