"""HOCON, and so JSON, to plain dicts, lists and scalars: job configs, context settings, settings files."""

from __future__ import annotations

import json
import threading
from importlib.util import module_from_spec
from types import SimpleNamespace
from typing import Any

from pyhocon import ConfigTree, config_parser
from pyhocon.config_tree import NoneValue
from pyhocon.exceptions import ConfigException
from pyparsing import FollowedBy, Keyword, NoMatch, ParseBaseException, ParserElement, Regex

from rayjobs import trees
from rayjobs.errors import BadConfig

_UNREADABLE = (ConfigException, ParseBaseException, RuntimeError, ValueError, TypeError, AttributeError, LookupError)
"""What pyhocon raises for a text it cannot read; a RecursionError is a RuntimeError."""


def parse(text: str) -> dict[str, Any]:
    """The object that `text` describes, substitutions resolved within it; `{}` for blank text.

    Raises `BadConfig` with the parser's message, also for a number that JSON cannot hold, like 1e400. A posted text
    reads nothing of this machine: includes are refused, and the environment is no source of substitutions.
    """
    if not text.strip():
        return {}
    try:
        found = _read(text)
        json.dumps(found, allow_nan=False)
    except _UNREADABLE as error:
        raise BadConfig(f"Cannot parse config: {error}") from None
    if not isinstance(found, dict):
        raise BadConfig("Cannot parse config: expected an object such as {a = 1}")
    return found


def _read(text: str) -> Any:
    """JSON is read as JSON: pyhocon does not undo its escapes (`\\u00e9`, `\\/`), and takes a thousand times as long.

    The constants that JSON lacks are text, as in HOCON.
    """
    try:
        return json.loads(text, parse_constant=str, object_pairs_hook=_object)
    except ValueError:
        with _ONE_PARSER:
            return plain(_PARSER.parse(text))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object by HOCON's rules: of a repeated key objects are merged, else the last value counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if not key.strip('"'):
            raise BadConfig("Cannot parse config: a key without a name")
        found |= trees.merge({key: found[key]}, {key: value}) if key in found else {key: value}
    return found


def _parser_of_its_own() -> Any:
    """pyhocon's parser, less what reaches out of the text; pyhocon itself stays as jobs know it.

    Symptom: `include "/any/file"`, also by url and package, comes back as part of a job's config, `${HOME}` holds the
    server's environment, and `a = 10 s` is a relativedelta, which no JSON can hold. Cause: pyhocon (0.3.63) has no
    option against any of them, so this is a second copy of its module with three names replaced.
    Tests: the first ones of tests/unit/test_hocon.py. It can go when pyhocon has the options.
    """
    spec = config_parser.__spec__
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    vars(copy).update(Keyword=_keyword, os=SimpleNamespace(environ={}), get_period_expr=NoMatch)
    return copy.ConfigParser


def _keyword(word: str, caseless: bool = False) -> ParserElement:
    """pyparsing's `Keyword`; an `include` with something to include is refused before anything is read."""
    keyword = Keyword(word, caseless=caseless)
    if word != "include":
        return keyword
    return (keyword + FollowedBy(Regex(r'"|(required|url|file|package)[ \t]*\('))).set_parse_action(_refuse_include)


def _refuse_include() -> None:
    raise BadConfig("Cannot parse config: includes are refused")


_PARSER = _parser_of_its_own()
_ONE_PARSER = threading.Lock()
"""pyhocon changes defaults of the whole pyparsing module while it parses."""


def plain(value: Any) -> Any:
    """`value` with pyhocon's trees as dicts, its nulls as None, quotes around keys removed."""
    if isinstance(value, dict):
        return {str(key).strip('"'): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return None if isinstance(value, NoneValue) else value


def tree_of(value: dict[str, Any]) -> ConfigTree:
    """`value` as pyhocon's tree, the type that jobs receive: `config.get('a.b', default)` works on it.

    Dots in keys are paths here too. A key with characters that mean something in a path stands in quotes, as pyhocon
    itself writes it: `config['"a:b"']`.
    """
    tree = ConfigTree()
    for key, item in value.items():
        quoted = f'"{key}"'
        if ConfigTree.parse_key(key) != key.split(".") and ConfigTree.parse_key(quoted) == [quoted]:
            tree[quoted] = _branch(item)
        else:
            tree.put(key, _branch(item))
    return tree


def _branch(value: Any) -> Any:
    if isinstance(value, dict):
        return tree_of(value)
    return [_branch(item) for item in value] if isinstance(value, list) else value
