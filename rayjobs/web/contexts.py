"""Routes of contexts: list, look at, create, stop."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rayjobs import context_settings
from rayjobs.errors import BadContextName
from rayjobs.service import JobService
from rayjobs.settings import Settings
from rayjobs.web import method_override, params, render
from rayjobs.web.paths import segment


class ContextRoutes:
    def __init__(self, service: JobService, settings: Settings):
        self._service = service
        self._settings = settings

    def routes(self) -> list[Route]:
        return [
            Route("/contexts", self.list_all, methods=["GET"]),
            Route("/contexts", self.reset, methods=["PUT"]),
            Route("/contexts/{name}", self.get, methods=["GET"]),
            Route("/contexts/{name}", self.create, methods=["POST"]),
            Route("/contexts/{name}", self.stop, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        return render.Json(await self._service.list_contexts())

    async def reset(self, request: Request) -> Response:
        wait = params.waits_for_reset(request)
        await self._service.reset_contexts(wait)
        return render.Json(render.success("Context reset" if wait else "Context reset requested"))

    async def get(self, request: Request) -> Response:
        return render.Json(render.context_fields(await self._service.get_context(segment(request, "name"))))

    async def create(self, request: Request) -> Response:
        body = await params.body_text(request, self._settings.max_body_bytes)
        name = segment(request, "name")
        if not name[0].isalpha():
            raise BadContextName("context name must start with letters")
        config = await params.config_of(body)
        query = {key: value for key, value in request.query_params.items() if key != method_override.PARAMETER}
        settings = context_settings.plain_names(query) | context_settings.posted(config)
        await self._service.create_context(name, settings)
        return render.Json(render.success("Context initialized"))

    async def stop(self, request: Request) -> Response:
        force = params.boolean(request, "force")
        if await self._service.stop_context(segment(request, "name"), force):
            return render.Json(render.success("Context stopped"))
        return Response(status_code=202, headers={"Location": request.scope["path"]})
