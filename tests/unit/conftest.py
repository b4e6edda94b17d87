"""Fixtures of the tests of the job store; some of them have a `store` of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rayjobs.errors import BadBinary
from rayjobs.records import BinaryType
from rayjobs.store import store as store_module
from rayjobs.store.store import Store
from tests.stores import INLINE_BYTES


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = Store(str(tmp_path), INLINE_BYTES)
    yield opened
    await opened.close()


@pytest.fixture
def accepted_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any content passes for any type, but for one that says it is bad."""

    def check(path: Path, binary_type: BinaryType) -> None:
        if path.read_bytes() == b"bad":
            raise BadBinary(f"not a {binary_type}")

    monkeypatch.setattr(store_module, "check_content", check)
