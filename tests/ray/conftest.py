"""Tests that look at the service from Ray's side."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rayjobs import cluster
from tests.service import Service


@pytest.fixture
def on_ray(service: Service) -> Iterator[None]:
    """This process as one more driver on the service's cluster."""
    cluster.join(service.ray_address)
    yield
    cluster.leave()
