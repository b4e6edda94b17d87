"""docs/api.md holds every route and every error code, with the status it has."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.routing import Route

from rayjobs.errors import RayJobsError
from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from rayjobs.web.binaries import CONTENT_TYPES
from rayjobs.web.errors import INTERNAL_ERROR, METHOD_NOT_ALLOWED, NO_SUCH_ROUTE, answer_for
from tests.web.fake_service import FakeService

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def _routes() -> set[str]:
    """As in `GET /jobs`; HEAD comes with GET and needs no words of its own."""
    routes = [route for route in create_app(FakeService(), Settings()).routes if isinstance(route, Route)]
    return {f"{method} {route.path}" for route in routes for method in (route.methods or set()) - {"HEAD"}}


def _statuses(kind: type[RayJobsError] = RayJobsError) -> dict[str, int]:
    statuses = {kind.code: answer_for(kind).status_code}
    for child in kind.__subclasses__():
        statuses |= _statuses(child)
    return statuses


STATUSES = _statuses() | {NO_SUCH_ROUTE: 404, METHOD_NOT_ALLOWED: 405, INTERNAL_ERROR: 500}


def test_every_route_has_a_heading_and_every_heading_a_route() -> None:
    headings = {line[5:-1] for line in DOCS.splitlines() if line.startswith("### `")}
    assert headings == _routes()


@pytest.mark.parametrize("code", STATUSES)
def test_every_error_code_stands_in_the_table_with_its_status(code: str) -> None:
    assert f"\n| `{code}` | {STATUSES[code]} |" in DOCS


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_every_content_type_of_an_upload_is_named(content_type: str) -> None:
    assert f"`{content_type}`" in DOCS
