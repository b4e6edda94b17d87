"""The store's SQL: `SCHEMA`, and `QUERIES` by the names that `queries.sql` gives them."""

from __future__ import annotations

import re
from importlib import resources

_FILES = resources.files(__package__)

SCHEMA = _FILES.joinpath("schema.sql").read_text()


def _named(text: str) -> dict[str, str]:
    _, *parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


QUERIES = _named(_FILES.joinpath("queries.sql").read_text())
