"""HOCON, and so JSON, to plain dicts, lists and scalars: job configs, context settings, settings files."""

from __future__ import annotations

from typing import Any

from pyhocon import ConfigFactory, ConfigTree
from pyhocon.exceptions import ConfigException
from pyparsing import ParseBaseException

from rayjobs.errors import BadConfig


def parse(text: str) -> dict[str, Any]:
    """The object that `text` describes, substitutions resolved; `{}` for blank text.

    Raises `BadConfig` with the parser's message. Includes are refused: a posted text must not read files.
    """
    if not text.strip():
        return {}
    try:
        tree = ConfigFactory.parse_string(text)
    except (ConfigException, ParseBaseException, RecursionError, ValueError, TypeError, OSError) as error:
        raise BadConfig(f"Cannot parse config: {error}") from None
    if not isinstance(tree, ConfigTree):
        raise BadConfig("Cannot parse config: expected an object such as {a = 1}, found a list")
    return plain(tree)


def plain(value: Any) -> Any:
    """`value` with pyhocon's trees as dicts, quotes around keys removed."""
    if isinstance(value, dict):
        return {str(key).strip('"'): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`, objects merged key by key; neither is changed."""
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        merged[key] = merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of `tree` by dotted path: `{"a": {"b": 1}}` becomes `{"a.b": 1}`."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            leaves.update(flatten(value, f"{path}."))
        else:
            leaves[path] = value
    return leaves


def tree_of(value: dict[str, Any]) -> ConfigTree:
    """`value` as pyhocon's tree, the type that jobs receive: `config.get('a.b', default)` works on it."""
    return ConfigFactory.from_dict(value)
