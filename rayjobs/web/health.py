"""Routes about the service itself: is it well, and what is it."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rayjobs import __version__
from rayjobs.service import JobService
from rayjobs.web import render


class HealthRoutes:
    def __init__(self, service: JobService):
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route("/", self.about, methods=["GET"]),
            Route("/healthz", self.health, methods=["GET"]),
        ]

    async def about(self, request: Request) -> Response:
        paths = ["/binaries", "/contexts", "/jobs", "/data", "/healthz", "/openapi.json", "/docs"]
        return render.Json({"service": "rayjobs", "version": __version__, "routes": paths})

    async def health(self, request: Request) -> Response:
        await self._service.check_health()
        return render.Json(render.success())
