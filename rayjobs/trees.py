"""Trees of plain dicts, what configurations are once they are read: merged, and flattened to dotted paths."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, objects merged key by key; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def names_of(given: object) -> list[str]:
    """Names from a list, or from one text with commas between them."""
    parts = given if isinstance(given, list) else str(given).split(",")
    return [name for part in parts if (name := str(part).strip())]


def flatten(tree: dict[str, Any], whole: Collection[str] = ()) -> dict[str, Any]:
    """The leaves of `tree` by dotted path: `{"a": {"b": 1}}` becomes `{"a.b": 1}`; so does `{"a.b": 1}`.

    Objects at the paths in `whole` stay what they are.
    """
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict) and key not in whole:
            below = {path.removeprefix(f"{key}.") for path in whole if path.startswith(f"{key}.")}
            leaves |= {f"{key}.{path}": leaf for path, leaf in flatten(value, below).items()}
        else:
            leaves[key] = value
    return leaves
