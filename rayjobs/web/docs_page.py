"""The OpenAPI document, and a page to read and try it: Swagger UI, served from an installed package."""

from __future__ import annotations

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.staticfiles import StaticFiles

from rayjobs.web import render
from rayjobs.web.openapi import document
from rayjobs.web.openapi_errors import JsonObject
from rayjobs.web.paths import segment

_SCRIPT = "swagger_bundle.js"
_STYLE = "swagger_style.css"
# Without `validatorUrl`, Swagger UI shows the document to a site of its makers.
_PAGE = f"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>rayjobs: HTTP API</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/docs/{_STYLE}">
  </head>
  <body>
    <div id="page"></div>
    <script src="/docs/{_SCRIPT}"></script>
    <script>
      SwaggerUIBundle({{ url: "/openapi.json", dom_id: "#page", deepLinking: true, validatorUrl: null }});
    </script>
  </body>
</html>
"""


_NO_FRAMES = {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"}
"""The page can call every route: no other page may have it in a frame and let people click on what they do not see."""


class DocsRoutes:
    def __init__(self) -> None:
        self._document: JsonObject | None = None
        # offapi has Swagger UI 5: swagger-ui-bundle (1.1.0) has 4, which shows no OpenAPI 3.1. It is not imported, for
        # that reads megabytes that are not needed.
        self._files = StaticFiles(packages=[("offapi", "")])

    def routes(self) -> list[Route]:
        return [
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/docs", self.page, methods=["GET"]),
            Route("/docs/{file}", self.file, methods=["GET"], include_in_schema=False),
        ]

    async def openapi(self, request: Request) -> Response:
        self._document = self._document or document(request.app.routes)
        return render.Json(self._document)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(_PAGE, headers=_NO_FRAMES)

    async def file(self, request: Request) -> Response:
        name = segment(request, "file")
        if name not in (_SCRIPT, _STYLE):
            raise HTTPException(404)
        return await self._files.get_response(name, request.scope)
