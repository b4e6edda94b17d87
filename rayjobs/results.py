"""What a job returned, as JSON text: the code behind the table in docs/jobs.md, "Results".

A value is reduced, layer by layer, to None, bool, int, float, str, list, tuple and dict; json's encoder writes
those. Containers of such scalars alone pass untouched, tested at C's speed: that keeps large results cheap.
The classes of numpy, pandas and pyspark are known by name, so that a job without them never imports them.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import cache
from math import isfinite
from pathlib import PurePath
from typing import Any
from uuid import UUID

MAX_DEPTH = 200
_LONGEST_PATH = 12

_TEXT = frozenset({str})
_SCALARS = frozenset({type(None), bool, int, float, str})

# Only trees come to the encoder: `_plain` has refused what holds itself.
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))


def to_json(value: object) -> str:
    """A job's result as compact JSON text that UTF-8 can hold: lone surrogates stand as JSON escapes.

    Raises `TypeError` for what has no JSON form, is nested too deeply or would lose a field; its message says
    where in the result that stood, as in `result["thing"][2]`. Iterators are used up.
    """
    try:
        text = _text(_plain(value, 0))
    except _NoForm as refusal:
        raise TypeError(str(refusal)) from None
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class _NoForm(Exception):
    """Why a value has no JSON form; `path` grows from the value outwards while this passes its containers."""

    def __init__(self, why: str):
        super().__init__(why)
        self.path: list[str] = []

    def __str__(self) -> str:
        path = self.path[::-1]
        if len(path) > _LONGEST_PATH:
            half = _LONGEST_PATH // 2
            path[half:-half] = ["…"]
        return f"result{''.join(path)} {self.args[0]}"


def _no_form(value: object, advice: str = "convert it to text, numbers, lists, dicts or rows first") -> _NoForm:
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return _NoForm(f"is of the type {name}, which has no JSON form: {advice}")


def _text(plain: Any) -> str:
    try:
        return _ENCODER.encode(plain)
    except ValueError:
        return _ENCODER.encode(_without_nan(plain))


def _without_nan(plain: Any) -> Any:
    """JSON has no NaN and no infinities: they become null."""
    if isinstance(plain, float):
        return plain if isfinite(plain) else None
    if isinstance(plain, dict):
        return {name: _without_nan(item) for name, item in plain.items()}
    if isinstance(plain, (list, tuple)):
        return [_without_nan(item) for item in plain]
    return plain


def _plain(value: Any, depth: int) -> Any:
    """`value` as scalars, lists, tuples and dicts of exactly these classes; keys are text."""
    kind = type(value)
    if kind in _SCALARS:
        return value
    if depth == MAX_DEPTH:
        raise _NoForm(f"is nested more than {MAX_DEPTH} levels deep; does something in it hold itself?")
    if kind is dict:
        return _object(value, depth + 1)
    if kind is list or kind is tuple:
        return _array(value, depth + 1)
    return _plain(_simplifier_of(kind)(value), depth + 1)


def _array(items: Sequence[Any], depth: int) -> Sequence[Any]:
    if _SCALARS.issuperset(map(type, items)):
        return items
    plain = []
    try:
        for item in items:
            plain.append(item if type(item) in _SCALARS else _plain(item, depth))
    except _NoForm as refusal:
        refusal.path.append(f"[{len(plain)}]")
        raise
    return plain


def _object(items: dict[Any, Any], depth: int) -> dict[str, Any]:
    if not _TEXT.issuperset(map(type, items)):
        items = dict(zip(_distinct(_names(items, depth)), items.values(), strict=True))
    if _SCALARS.issuperset(map(type, items.values())):
        return items
    plain = {}
    try:
        for name, item in items.items():
            plain[name] = item if type(item) in _SCALARS else _plain(item, depth)
    except _NoForm as refusal:
        refusal.path.append(f"[{_text(name)}]")
        raise
    return plain


def _names(keys: Iterable[Any], depth: int = 0) -> list[str]:
    """Keys as text: a text as it is, anything else as its JSON, so `1`, `true`, `null`, `["a",1]`."""
    try:
        plain = _array(list(keys), depth)
    except _NoForm as refusal:
        refusal.path.append(".keys()")
        raise
    return [key if isinstance(key, str) else _text(key) for key in plain]


def _distinct(names: Sequence[str]) -> Sequence[str]:
    if len(set(names)) < len(names):
        twice = next(name for name, count in Counter(names).items() if count > 1)
        raise _NoForm(f"has more than one field whose name as text is {_text(twice)}: rename one")
    return names


@cache
def _simplifier_of(kind: type) -> Callable[[Any], Any]:
    """What takes one layer off a value of that class. Foreign classes come first: many subclass Python's own."""
    for base in kind.__mro__:
        if found := _FOREIGN.get(f"{base.__module__}.{base.__qualname__}"):
            return found
    for base, found in _OWN.items():
        if issubclass(kind, base):
            return found
    if is_dataclass(kind):
        return _fields_of_dataclass
    if hasattr(kind, "keys") and hasattr(kind, "__getitem__"):
        return lambda mapping: {key: mapping[key] for key in mapping.keys()}  # noqa: SIM118
    return _items


def _items(value: Any) -> list[Any]:
    """Whatever can be iterated over. Having `__iter__` is not enough: that of a Spark Column raises."""
    try:
        iterator = iter(value)
    except TypeError:
        raise _no_form(value) from None
    return list(iterator)


def _sorted(items: Iterable[Any]) -> list[Any]:
    try:
        return sorted(items)
    except Exception:  # whatever the items' own comparison raises
        return list(items)


def _fields_of_dataclass(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _fields_of_row(row: Any) -> Any:
    """A Spark Row made without names is an array."""
    names = getattr(row, "__fields__", None)
    return tuple(row) if names is None else dict(zip(_distinct(names), row, strict=False))


def _rows_of_pandas(frame: Any) -> list[dict[str, Any]]:
    """Not `to_dict("records")`: of columns with the same name, that keeps one."""
    names = _distinct(_names(frame.columns))
    columns = [frame.iloc[:, place].tolist() for place in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _items_of_numpy(array: Any) -> Any:
    """numpy's own `tolist` makes bare integers of times in nanoseconds; iterating keeps the scalars' class."""
    if array.dtype.kind not in "mM":
        return array.tolist()
    return list(array) if array.ndim else array[()]


def _seconds_of_numpy(delta: Any) -> float:
    return float(delta / type(delta)(1, "s"))


def _refuse_rdd(rdd: Any) -> Any:
    raise _no_form(rdd, "return its collect() or take(n)")


_OWN: dict[type, Callable[[Any], Any]] = {
    Enum: lambda member: member.value,
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    dict: lambda mapping: dict(mapping.items()),
    list: list,
    tuple: tuple,
    set: _sorted,
    frozenset: _sorted,
    Decimal: lambda number: str(number) if number.is_finite() else None,
    date: lambda moment: moment.isoformat(),
    time: time.isoformat,
    timedelta: lambda delta: delta.total_seconds(),
    UUID: str,
    PurePath: str,
    bytes: lambda content: b64encode(content).decode(),
    bytearray: bytes,
    memoryview: bytes,
}

_FOREIGN: dict[str, Callable[[Any], Any]] = {
    "numpy.datetime64": lambda moment: None if str(moment) == "NaT" else str(moment),
    "numpy.timedelta64": _seconds_of_numpy,
    "numpy.longdouble": float,
    "numpy.clongdouble": complex,
    "numpy.generic": lambda scalar: scalar.item(),
    "numpy.ndarray": _items_of_numpy,
    "pandas._libs.missing.NAType": lambda _: None,
    "pandas._libs.tslibs.nattype.NaTType": lambda _: None,
    "pandas._libs.tslibs.period.Period": str,
    "pandas.core.frame.DataFrame": _rows_of_pandas,
    "pandas.core.series.Series": lambda series: series.tolist(),
    "pyspark.ml.linalg.Matrix": lambda matrix: matrix.toArray(),
    "pyspark.ml.linalg.Vector": lambda vector: vector.toArray(),
    "pyspark.mllib.linalg.Matrix": lambda matrix: matrix.toArray(),
    "pyspark.mllib.linalg.Vector": lambda vector: vector.toArray(),
    "pyspark.rdd.RDD": _refuse_rdd,
    "pyspark.sql.connect.dataframe.DataFrame": lambda frame: frame.collect(),
    "pyspark.sql.dataframe.DataFrame": lambda frame: frame.collect(),
    "pyspark.sql.types.Row": _fields_of_row,
}
