"""The OpenAPI document of an application, from its routes and what is said of each in the tables of operations."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import BaseRoute, Route

from rayjobs import __version__
from rayjobs.web.openapi_errors import JsonObject
from rayjobs.web.openapi_operation import Tag
from rayjobs.web.openapi_operations import OPERATIONS
from rayjobs.web.openapi_schemas import SCHEMAS

_TAGS = {
    Tag.BINARIES: "uploaded code",
    Tag.CONTEXTS: "Spark sessions that stay warm",
    Tag.JOBS: "runs of uploaded code, in a context or in one of their own",
    Tag.DATA: "files for jobs to read",
    Tag.SERVICE: "the service itself",
}
_DESCRIPTION = """
The job service for Spark on Ray, with the API of spark-jobserver.

- Names in a path are one segment, percent-encoded: `%2F` is a slash inside a name.
- Booleans may also be `yes`, `on`, `1` and `no`, `off`, `0`, in any case. An empty parameter counts as absent,
  of a repeated one the last counts, unknown ones are ignored.
- Configurations are HOCON, whatever the content type; they may be `http.max-body-bytes` long.
- `HEAD` answers like `GET`, without the body. A `POST` with `_method=DELETE` is a `DELETE`.
- Every error is JSON with a stable `code`. An unknown path is 404 `no-such-route`, a wrong method 405
  `method-not-allowed`.
"""


def described_routes(routes: Sequence[BaseRoute]) -> list[tuple[str, str]]:
    """Method and path of what the document is about. `HEAD` comes with `GET` and needs no words of its own."""
    found = [route for route in routes if isinstance(route, Route) and route.include_in_schema]
    return [(method, route.path_format) for route in found for method in (route.methods or set()) - {"HEAD"}]


def document(routes: Sequence[BaseRoute]) -> JsonObject:
    """OpenAPI 3.1; raises KeyError for a route of which the tables say nothing."""
    paths: dict[str, JsonObject] = {}
    responses: JsonObject = {}
    for method, path in described_routes(routes):
        operation = OPERATIONS[method, path]
        paths.setdefault(path, {})[method.lower()] = operation.described(method)
        responses |= {reply.name: reply.described() for reply in operation.error_replies(method)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "rayjobs", "version": __version__, "description": _DESCRIPTION.strip()},
        "servers": [{"url": "/"}],
        "tags": [{"name": tag, "description": said} for tag, said in _TAGS.items()],
        "paths": paths,
        "components": {"schemas": SCHEMAS, "responses": responses},
    }
