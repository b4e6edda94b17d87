"""Routes of uploaded code: `/binaries`, and `/jars`, the same for jars alone with its older replies."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rayjobs.errors import BadBinary, UnsupportedBinaryType
from rayjobs.records import BinaryType
from rayjobs.service import JobService
from rayjobs.web import render
from rayjobs.web.paths import segment

CONTENT_TYPES = {
    "application/java-archive": BinaryType.JAR,
    "application/python-egg": BinaryType.EGG,
    "application/python-archive": BinaryType.EGG,
    "python-archive": BinaryType.EGG,
    "application/python-wheel": BinaryType.WHEEL,
    "application/zip": BinaryType.ZIP,
    "text/x-python": BinaryType.PYTHON,
    "application/x-python": BinaryType.PYTHON,
    "text/x-script.python": BinaryType.PYTHON,
}
_ZIP_SIGNATURE = b"PK\x03\x04"


class BinaryRoutes:
    def __init__(self, service: JobService):
        self._service = service

    def routes(self) -> list[Route]:
        return [
            Route("/binaries", self.list_all, methods=["GET"]),
            Route("/binaries/{app}", self.get, methods=["GET"]),
            Route("/binaries/{app}", self.upload, methods=["POST"]),
            Route("/binaries/{app}", self.delete, methods=["DELETE"]),
            Route("/jars", self.list_jars, methods=["GET"]),
            Route("/jars/{app}", self.upload_jar, methods=["POST"]),
        ]

    async def list_all(self, request: Request) -> Response:
        binaries = await self._service.list_binaries()
        return render.Json({binary.app_name: render.binary_fields(binary) for binary in binaries})

    async def get(self, request: Request) -> Response:
        binary = await self._service.get_binary(segment(request, "app"))
        return render.Json({"app-name": binary.app_name} | render.binary_fields(binary))

    async def upload(self, request: Request) -> Response:
        binary_type = _binary_type(request)
        async with aclosing(request.stream()) as chunks:
            await self._service.upload_binary(segment(request, "app"), binary_type, chunks)
        return render.Json(render.success(), 201)

    async def delete(self, request: Request) -> Response:
        await self._service.delete_binary(segment(request, "app"))
        return render.Json(render.success())

    async def list_jars(self, request: Request) -> Response:
        binaries = await self._service.list_binaries()
        jars = [binary for binary in binaries if binary.binary_type is BinaryType.JAR]
        return render.Json({jar.app_name: render.timestamp(jar.upload_time) for jar in jars})

    async def upload_jar(self, request: Request) -> Response:
        async with aclosing(request.stream()) as chunks, aclosing(_jar_only(chunks)) as jar:
            await self._service.upload_binary(segment(request, "app"), BinaryType.JAR, jar)
        return render.Json(render.success("Jar uploaded"))


def _binary_type(request: Request) -> BinaryType:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in CONTENT_TYPES:
        accepted = ", ".join(f"{name} ({kind})" for name, kind in CONTENT_TYPES.items())
        given = content_type or "(no content type)"
        raise UnsupportedBinaryType(f"Unsupported binary type {given}; accepted are {accepted}")
    return CONTENT_TYPES[content_type]


async def _jar_only(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes; raises `BadBinary` in the older words of `/jars` if they do not start like an archive."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) > len(_ZIP_SIGNATURE):
            break
    if len(head) <= len(_ZIP_SIGNATURE) or not head.startswith(_ZIP_SIGNATURE):
        raise BadBinary("Jar is not of the right format")
    yield head
    async for chunk in chunks:
        yield chunk
