"""Routes of data files: list, upload, delete, delete them all."""

from __future__ import annotations

from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rayjobs.service import JobService
from rayjobs.web import params, render
from rayjobs.web.paths import segment


class DataRoutes:
    def __init__(self, service: JobService):
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route("/data", self.list_all, methods=["GET"]),
            Route("/data", self.reset, methods=["PUT"]),
            Route("/data/{name}", self.upload, methods=["POST"]),
            Route("/data/{name}", self.delete, methods=["DELETE"]),
        ]

    async def list_all(self, request: Request) -> Response:
        return render.Json(await self._service.list_data_files())

    async def reset(self, request: Request) -> Response:
        wait = params.waits_for_reset(request)
        await self._service.reset_data_files(wait)
        return render.Json(render.success("Data reset" if wait else "Data reset requested"))

    async def upload(self, request: Request) -> Response:
        async with aclosing(request.stream()) as chunks:
            path = await self._service.upload_data_file(segment(request, "name"), chunks)
        return render.Json({"result": {"filename": path}})

    async def delete(self, request: Request) -> Response:
        """The reply is a text, and no JSON, as in spark-jobserver: its clients have never got anything else."""
        await self._service.delete_data_file(segment(request, "name"))
        return PlainTextResponse("OK")
