"""The HTTP application: all routes over one service."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.errors import ServerErrorMiddleware

from rayjobs.service import JobService
from rayjobs.settings import Settings
from rayjobs.web.binaries import BinaryRoutes
from rayjobs.web.callbacks import CallbackRoutes
from rayjobs.web.contexts import ContextRoutes
from rayjobs.web.cors import AllowedOrigins
from rayjobs.web.data import DataRoutes
from rayjobs.web.docs_page import DocsRoutes
from rayjobs.web.errors import HANDLERS, internal_error
from rayjobs.web.health import HealthRoutes
from rayjobs.web.jobs import JobRoutes
from rayjobs.web.method_override import MethodOverride
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
            *DataRoutes(service).routes(),
            *CallbackRoutes(service).routes(),
            *DocsRoutes().routes(),
        ],
        middleware=[
            Middleware(AllowedOrigins, origins=settings.origins),
            Middleware(OwnOrigin, hosts=hosts_of(settings), origins=settings.origins),
            # Starlette's own one is the outermost of all, where a reply gets no headers of `AllowedOrigins` any more.
            Middleware(ServerErrorMiddleware, handler=internal_error),
            Middleware(MethodOverride),
            Middleware(RawPaths),
        ],
        exception_handlers=HANDLERS,
    )
    # `/binaries//` is no route, not a detour to one.
    app.router.redirect_slashes = False
    return app
