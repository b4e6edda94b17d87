"""The table of docs/jobs.md, "Results": what a job returns, as JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from array import array
from collections import Counter, OrderedDict, UserDict, defaultdict, deque, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from pyspark import RDD
from pyspark.ml.linalg import DenseMatrix, Vectors
from pyspark.sql import DataFrame, Row

from rayjobs import hocon
from rayjobs.results import MAX_DEPTH, to_json


class Colour(Enum):
    RED = "red"
    SPAN = (1, 2)


class Level(IntEnum):
    HIGH = 3


class Word(StrEnum):
    YES = "yes"


class Text(str):
    def __str__(self) -> str:
        return "not this"


class Number(int):
    def __repr__(self) -> str:
        return "not this"


@dataclass
class Point:
    x: int
    tags: set[str] = field(default_factory=set)


Pair = namedtuple("Pair", "a b")


class Keyed:
    """What Py4J took for a dict: no Mapping, but it has keys and items."""

    def keys(self) -> list[str]:
        return ["k"]

    def __getitem__(self, key: str) -> int:
        return 7


class NotIterable:
    """Like a Spark Column: there is an `__iter__`, which raises."""

    def __iter__(self) -> Any:
        raise TypeError("Column is not iterable")


def parsed(value: object) -> Any:
    """The JSON of `value`, read by a parser that knows no NaN and no double keys."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)

    return json.loads(to_json(value), parse_constant=refuse, object_pairs_hook=once)


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (-7, -7),
        (2**200, 2**200),
        (0.1, 0.1),
        (1e300, 1e300),
        ("Ü \u2028 \U0001f600 \0", "Ü \u2028 \U0001f600 \0"),
        ([], []),
        ({}, {}),
        ([1, "a", None, [2.5], {"b": (3, 4)}], [1, "a", None, [2.5], {"b": [3, 4]}]),
        (Text("text"), "text"),
        (Number(5), 5),
        (Pair(1, {2}), [1, [2]]),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (Counter("aab"), {"a": 2, "b": 1}),
        (MappingProxyType({"a": {1}}), {"a": [1]}),
        (UserDict(a=1), {"a": 1}),
        (Keyed(), {"k": 7}),
        (hocon.tree_of({"a": {"b": [1, {"c": None}]}}), {"a": {"b": [1, {"c": None}]}}),
        (deque([1, 2]), [1, 2]),
        (range(3), [0, 1, 2]),
        (array("d", [1.5]), [1.5]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        ((word.upper() for word in "ab"), ["A", "B"]),
        ({"lazy": map(str, [1, {2}])}, {"lazy": ["1", "{2}"]}),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (Decimal("0.10"), "0.10"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, 678), "2026-01-02T03:04:05.000678"),
        (datetime(2026, 1, 2, tzinfo=UTC), "2026-01-02T00:00:00+00:00"),
        (time_of_day(3, 4), "03:04:00"),
        (timedelta(days=1, milliseconds=5), 86400.005),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (Path("/a/b"), "/a/b"),
        (b"\0\xff", "AP8="),
        (bytearray(b"\0\xff"), "AP8="),
        (memoryview(b"\0-\xff")[::2], "AP8="),
        (Colour.RED, "red"),
        (Colour.SPAN, [1, 2]),
        (Level.HIGH, 3),
        (Word.YES, "yes"),
        (Point(1, {"b", "a"}), {"x": 1, "tags": ["a", "b"]}),
    ],
    ids=repr,
)
def test_values_of_python_become_the_json_of_the_table(value, expected):
    assert parsed(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int8(-3), -3),
        (np.uint64(2**64 - 1), 2**64 - 1),
        (np.float32(0.5), 0.5),
        (np.float64(0.1), 0.1),
        (np.float64("nan"), None),
        (np.longdouble(1.5), 1.5),
        (np.bool_(True), True),
        (np.str_("a"), "a"),
        (np.bytes_(b"\0\xff"), "AP8="),
        (np.datetime64("2026-01-02T03:04:05.000000006", "ns"), "2026-01-02T03:04:05.000000006"),
        (np.datetime64("2026-01-02"), "2026-01-02"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(1500, "ms"), 1.5),
        (np.timedelta64("NaT", "s"), None),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([1.5, NAN]), [1.5, None]),
        (np.array(7), 7),
        (np.array(["2026-01-02", "NaT"], "datetime64[ns]"), ["2026-01-02T00:00:00.000000000", None]),
        (np.array([["2026-01-02"]], "datetime64[D]"), [["2026-01-02"]]),
        (np.array("2026-01-02", "datetime64[D]"), "2026-01-02"),
        (np.array([1500], "timedelta64[ms]"), [1.5]),
        (np.array([{1}, None, Decimal(2)], object), [[1], None, "2"]),
        (np.ma.masked_array([1, 2], [False, True]), [1, None]),
        (np.array([(1, "a")], [("n", int), ("s", "U1")]), [[1, "a"]]),
        ([np.int64(1), {"a": np.float64(2)}], [1, {"a": 2.0}]),
    ],
    ids=repr,
)
def test_numpy_scalars_are_numbers_and_arrays_are_arrays(value, expected):
    assert parsed(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (pd.DataFrame({"n": [1, 2], "s": ["a", None]}), [{"n": 1, "s": "a"}, {"n": 2, "s": None}]),
        (pd.DataFrame({"x": [1.5, NAN]}), [{"x": 1.5}, {"x": None}]),
        (pd.DataFrame({"n": pd.array([1, None], "Int64")}), [{"n": 1}, {"n": None}]),
        (pd.DataFrame({"t": pd.to_datetime(["2026-01-02", None])}), [{"t": "2026-01-02T00:00:00"}, {"t": None}]),
        (pd.DataFrame({"c": pd.Categorical(["a", "b"])}), [{"c": "a"}, {"c": "b"}]),
        (pd.DataFrame([[1, 2]], columns=[2026, ("a", "b")]), [{"2026": 1, '["a","b"]': 2}]),
        (pd.DataFrame({"o": [{1: {2}}]}), [{"o": {"1": [2]}}]),
        (pd.DataFrame({"a": []}), []),
        (pd.DataFrame(), []),
        (pd.Series([1, 2], index=["a", "b"]), [1, 2]),
        (pd.Index(["a", "b"]), ["a", "b"]),
        (pd.Timestamp("2026-01-02T03:04:05.000000006", tz="UTC"), "2026-01-02T03:04:05.000000006+00:00"),
        (pd.Timedelta("1.5s"), 1.5),
        (pd.Period("2026-01"), "2026-01"),
        (pd.NaT, None),
        (pd.NA, None),
    ],
    ids=lambda value: f"{type(value).__name__} {value!r}",
)
def test_pandas_frames_are_row_objects_and_series_arrays(value, expected):
    assert parsed(value) == expected


def test_spark_rows_are_objects_at_any_depth():
    row = Row(id=1, inner=Row(when=date(2026, 1, 2), many=[Row(a=1)]), map={Row(k=1): None})
    expected = {"id": 1, "inner": {"when": "2026-01-02", "many": [{"a": 1}]}, "map": {'{"k":1}': None}}
    assert parsed([row, {"row": row}]) == [expected, {"row": expected}]


def test_fields_keep_their_order():
    assert to_json(Row(z=1, a=2)) == '{"z":1,"a":2}'
    assert to_json({"z": 1, "a": {2}}) == '{"z":1,"a":[2]}'


def test_spark_rows_without_names_are_arrays():
    assert parsed([Row("a", 1), Row("a", {1})]) == [["a", 1], ["a", [1]]]


def test_vectors_and_matrices_of_spark_are_arrays_of_numbers():
    values = [Vectors.dense(1, 2), Vectors.sparse(3, {1: 2.0}), DenseMatrix(2, 2, [1, 2, 3, 4])]
    assert parsed(values) == [[1, 2], [0, 2, 0], [[1, 3], [2, 4]]]


def test_a_spark_frame_is_collected():
    class Frame(DataFrame):
        """The real one needs a JVM; tests/acceptance has it."""

        def __init__(self) -> None:
            pass

        def collect(self) -> list[Row]:
            return [Row(n=1, s={"x"}), Row(n=2, s=None)]

    assert parsed({"frame": Frame()}) == {"frame": [{"n": 1, "s": ["x"]}, {"n": 2, "s": None}]}


def test_an_rdd_is_refused_with_what_to_do():
    rdd = RDD.__new__(RDD)
    with pytest.raises(TypeError, match=r"^result\[1\] is of the type pyspark\.rdd\.RDD, .* return its collect\(\) or"):
        to_json([1, rdd])


@pytest.mark.parametrize("number", [NAN, INFINITY, -INFINITY, Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity")])
def test_what_json_has_no_number_for_is_null(number):
    assert parsed(number) is None
    assert parsed({"a": [1.5, number, {"b": (number, "x")}]}) == {"a": [1.5, None, {"b": [None, "x"]}]}


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (1, "1"),
        (1.5, "1.5"),
        (True, "true"),
        (None, "null"),
        (NAN, "null"),
        (("a", 1), '["a",1]'),
        (frozenset({2, 1}), "[1,2]"),
        (date(2026, 1, 2), "2026-01-02"),
        (Decimal("1.0"), "1.0"),
        (Colour.RED, "red"),
        (Text("text"), "text"),
        (np.int64(4), "4"),
        (np.str_("s"), "s"),
        (b"\0\xff", "AP8="),
    ],
    ids=repr,
)
def test_keys_become_text(key, text):
    assert parsed({key: {1}, "other": 2}) == {text: [1], "other": 2}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({1: "a", "1": "b"}, "1"),
        ({None: 1, "null": 2}, "null"),
        ({date(2026, 1, 2): 1, "2026-01-02": 2}, "2026-01-02"),
        (Row("id", "id")(1, 2), "id"),
        (pd.DataFrame([[1, 2]], columns=["id", "id"]), "id"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), "1"),
    ],
    ids=repr,
)
def test_fields_of_the_same_name_are_refused_rather_than_lost(value, name):
    with pytest.raises(TypeError, match=rf'^result\["a"\]\[0\] has more than one field .* "{name}": rename one$'):
        to_json({"a": [value]})


def test_a_set_that_cannot_be_sorted_is_an_array_all_the_same():
    assert sorted(parsed({1, "a", None}), key=str) == [1, None, "a"]
    assert sorted(parsed({Decimal("NaN"), Decimal(1)}), key=str) == ["1", None]


@pytest.mark.parametrize(
    ("value", "where", "kind"),
    [
        (object(), "result", "object"),
        ({"thing": [0, 1, object()]}, 'result["thing"][2]', "object"),
        (({"a\n": (i for i in [1, 2j])},), r'result[0]["a\n"][1]', "complex"),
        ([Point(object())], 'result[0]["x"]', "object"),
        (Row(a=1, b=Row(c=len)), 'result["b"]["c"]', "builtin_function_or_method"),
        (pd.DataFrame({"a": [1, object()]}), 'result[1]["a"]', "object"),
        (np.array([1 + 2j]), "result[0]", "complex"),
        (np.clongdouble(1), "result", "complex"),
        ({1: {2: object()}}, 'result["1"]["2"]', "object"),
        ({"a": {"b": 1, len: 2}}, 'result["a"].keys()[1]', "builtin_function_or_method"),
        ([NotIterable()], "result[0]", f"{__name__}.NotIterable"),
    ],
    ids=repr,
)
def test_what_has_no_json_form_is_an_error_that_says_where_and_what(value, where, kind):
    with pytest.raises(TypeError) as raised:
        to_json(value)
    assert str(raised.value).startswith(f"{where} is of the type {kind}, which has no JSON form: ")
    assert "convert it to text, numbers, lists" in str(raised.value)
    assert raised.value.__cause__ is None and raised.value.__suppress_context__


def _list_in_itself() -> object:
    value: list[Any] = []
    value += [value, value]
    return value


def _dict_in_itself() -> object:
    value: dict[str, Any] = {"x": 1}
    value["self"] = (value,)
    return value


def _nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [_list_in_itself(), _dict_in_itself(), _nested(MAX_DEPTH + 1), _nested(100_000)])
def test_cycles_and_absurd_depth_are_a_clear_error(value):
    with pytest.raises(TypeError, match=r"^result\[.*…\[.* is nested more than 200 levels deep; ") as raised:
        to_json(value)
    assert len(str(raised.value)) < 300


def test_values_may_be_nested_and_shared_up_to_the_limit():
    shared = [1, {2}]
    assert parsed({"a": shared, "b": [shared, shared]}) == {"a": [1, [2]], "b": [[1, [2]], [1, [2]]]}
    assert json.loads(to_json(_nested(MAX_DEPTH))) == _nested(MAX_DEPTH)


def test_an_error_of_the_jobs_own_generator_stays_as_it_is():
    def failing():
        yield 1
        raise LookupError("in the middle")

    with pytest.raises(LookupError, match="in the middle"):
        to_json({"a": failing()})


@pytest.mark.parametrize("value", ["\ud800", "a\udfffb ü", {"\ud83d": ["\ude00"]}])
def test_lone_surrogates_are_json_escapes(value):
    text = to_json(value)
    assert json.loads(text.encode()) == value


def test_an_int_beyond_pythons_own_limit_of_digits_is_refused():
    with pytest.raises(ValueError, match="4300 digits"):
        to_json({"a": 10**5000})


def test_text_is_compact_and_not_escaped_without_need():
    assert to_json({"ä": [1, {"b": None}]}) == '{"ä":[1,{"b":null}]}'


def test_the_value_itself_is_not_changed():
    value = {"a": [1.5, NAN, {3}], 1: {"b": (1, [date(2026, 1, 2)])}}
    before = repr(value)
    to_json(value)
    assert repr(value) == before


def test_large_plain_results_cost_little_more_than_json_alone():
    rows = [{"id": i, "name": f"name {i}", "x": i / 2, "ok": True, "n": None} for i in range(50_000)]
    plain, ours = (min(_seconds(dump, rows) for _ in range(5)) for dump in (json.dumps, to_json))
    assert ours < 5 * plain  # measured: 1.5


def _seconds(dump: Any, value: object) -> float:
    start = time.perf_counter()
    dump(value)
    return time.perf_counter() - start


def test_a_process_that_does_not_use_numpy_pandas_and_pyspark_does_not_import_them():
    code = "import sys; from rayjobs.results import to_json; to_json([{1}]); print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "pandas", "pyspark"} & set(modules)
