"""The OpenAPI document says something right of every route and every error; the page that shows it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from jsonschema import Draft202012Validator

from rayjobs import __version__
from rayjobs.errors import RayJobsError
from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from rayjobs.web.binaries import CONTENT_TYPES
from rayjobs.web.errors import INTERNAL_ERROR, METHOD_NOT_ALLOWED, NO_SUCH_ROUTE, answer_for
from rayjobs.web.openapi import described_routes, document
from rayjobs.web.openapi_operations import OPERATIONS
from tests.web.fake_service import FakeService

ROUTES = described_routes(create_app(FakeService(), Settings()).routes)
DOCUMENT: dict[str, Any] = document(create_app(FakeService(), Settings()).routes)
COMPONENTS = DOCUMENT["components"]
# A family of errors has a code of its own; no reply carries these today.
FAMILIES = {"error", "bad-request", "conflict", "service-failure"}


def _operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def _parts(part: Any, kind: type) -> Iterator[Any]:
    """Everything of that type in a part of the document, the part itself included."""
    if isinstance(part, kind):
        yield part
    items = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for item in items:
        yield from _parts(item, kind)


def _tree(root: type[RayJobsError] = RayJobsError) -> list[type[RayJobsError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _tree(child))]


def _is_valid(example: Any, schema: dict[str, Any]) -> bool:
    return Draft202012Validator({**schema, "components": COMPONENTS}).is_valid(example)


def test_the_document_is_valid_openapi_with_valid_schemas() -> None:
    schemathesis.openapi.from_dict(DOCUMENT).validate()
    for schema in COMPONENTS["schemas"].values():
        Draft202012Validator.check_schema(schema)


def test_every_route_has_an_operation_and_every_operation_a_route() -> None:
    assert sorted(ROUTES) == sorted(OPERATIONS)


def test_operations_have_names_of_their_own_fit_for_a_program() -> None:
    names = [operation["operationId"] for _, _, operation in _operations()]
    assert len(set(names)) == len(names) == len(OPERATIONS)
    assert all(re.fullmatch(r"[a-z]+([A-Z][a-z]+)*", name) for name in names)


def test_operations_stand_under_tags_that_the_document_explains() -> None:
    explained = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for _, _, operation in _operations() for tag in operation["tags"]} == explained


def test_the_parameters_of_a_path_are_described_and_no_others() -> None:
    for _, path, operation in _operations():
        described = [p["name"] for p in operation.get("parameters", []) if p["in"] == "path"]
        assert described == re.findall(r"{(\w+)}", path)


def test_paths_that_differ_in_names_only_are_one() -> None:
    shapes = [re.sub(r"{\w+}", "{}", path) for path in DOCUMENT["paths"]]
    assert len(set(shapes)) == len(shapes)


def test_every_reference_leads_to_a_component_and_every_component_is_referred_to() -> None:
    used = {part["$ref"] for part in _parts(DOCUMENT, dict) if "$ref" in part}
    assert used == {f"#/components/{kind}/{name}" for kind, named in COMPONENTS.items() for name in named}


def test_every_error_code_is_listed() -> None:
    codes = {kind.code for kind in _tree()} | {NO_SUCH_ROUTE, METHOD_NOT_ALLOWED, INTERNAL_ERROR}
    assert set(COMPONENTS["schemas"]["Error"]["properties"]["code"]["enum"]) == codes


def test_every_error_is_answered_by_some_operation_with_its_status() -> None:
    found: dict[str, set[str]] = {}
    for _, _, operation in _operations():
        for status, reply in operation["responses"].items():
            if "$ref" in reply:
                described = COMPONENTS["responses"][reply["$ref"].rpartition("/")[2]]
                _, only_these = described["content"]["application/json"]["schema"]["allOf"]
                for code in only_these["properties"]["code"]["enum"]:
                    found.setdefault(code, set()).add(status)
    wanted = {kind.code: {str(answer_for(kind).status_code)} for kind in _tree() if kind.code not in FAMILIES}
    assert found == wanted | {INTERNAL_ERROR: {"500"}}


def test_uploads_take_every_content_type_that_has_the_form_of_one() -> None:
    described = DOCUMENT["paths"]["/binaries/{app}"]["post"]["requestBody"]
    assert list(described["content"]) == [name for name in CONTENT_TYPES if "/" in name]
    assert all(f"`{name}`" in described["description"] for name in CONTENT_TYPES)


@pytest.mark.parametrize("name", COMPONENTS["schemas"])
def test_examples_of_a_schema_are_valid(name: str) -> None:
    schema = COMPONENTS["schemas"][name]
    assert [example for example in schema.get("examples", []) if not _is_valid(example, schema)] == []


def test_records_have_examples() -> None:
    assert [name for name, s in COMPONENTS["schemas"].items() if s["type"] == "object" and "examples" not in s] == []


def test_examples_of_parameters_bodies_and_replies_are_valid() -> None:
    with_example = [part for part in _parts(DOCUMENT, dict) if "example" in part]
    assert len(with_example) > 50
    assert [part for part in with_example if not _is_valid(part["example"], part["schema"])] == []


async def test_the_document_is_served(http: httpx.AsyncClient) -> None:
    reply = await http.get("/openapi.json")
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert reply.json() == DOCUMENT
    assert (reply.json()["openapi"], reply.json()["info"]["version"]) == ("3.1.0", __version__)


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
async def test_the_page_and_all_that_it_loads_come_from_us(path: str, http: httpx.AsyncClient) -> None:
    page = await http.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    loaded = re.findall(r'(?:src|href|url)(?:=|: )"([^"]*)"', page.text)
    assert loaded == ["data:,", "/docs/swagger_style.css", "/docs/swagger_bundle.js", "/openapi.json"]
    types = [(await http.get(url)).headers["content-type"] for url in loaded[1:]]
    assert types == ["text/css; charset=utf-8", "text/javascript; charset=utf-8", "application/json"]
    assert "SwaggerUIBundle" in (await http.get("/docs/swagger_bundle.js")).text


async def test_files_of_the_page_are_sent_once(http: httpx.AsyncClient) -> None:
    etag = (await http.get("/docs/swagger_style.css")).headers["etag"]
    again = await http.get("/docs/swagger_style.css", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing", "__init__.py", "redoc.js", "..%2F..%2Fbin%2Fsh", "%00"])
async def test_no_other_file_is_served(name: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(f"/docs/{name}")
    assert (reply.status_code, reply.json()["code"]) == (404, "no-such-route")


async def test_a_file_of_the_page_cannot_be_posted_to(http: httpx.AsyncClient) -> None:
    reply = await http.post("/docs/swagger_style.css")
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, HEAD")


async def test_our_page_may_call_us_and_other_pages_may_not(http: httpx.AsyncClient) -> None:
    assert (await http.get("/openapi.json", headers={"Origin": "http://localhost"})).status_code == 200
    assert (await http.get("/openapi.json", headers={"Origin": "https://evil.example"})).status_code == 403
