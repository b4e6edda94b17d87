"""docs/api.md holds every route, and every content type of an upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from rayjobs.web.binaries import CONTENT_TYPES
from rayjobs.web.openapi import described_routes
from tests.web.fake_service import FakeService

DOCS = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


def _routes() -> set[str]:
    """As in `GET /jobs`."""
    return {f"{method} {path}" for method, path in described_routes(create_app(FakeService(), Settings()).routes)}


def test_every_route_has_a_heading_and_every_heading_a_route() -> None:
    headings = {line[5:-1] for line in DOCS.splitlines() if line.startswith("### `")}
    assert headings == _routes()


@pytest.mark.parametrize("content_type", CONTENT_TYPES)
def test_every_content_type_of_an_upload_is_named(content_type: str) -> None:
    assert f"`{content_type}`" in DOCS
