"""HOCON as posted by strangers: what it means, and that it reads nothing but itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from pyhocon import ConfigFactory, ConfigTree

from rayjobs import hocon, trees
from rayjobs.errors import BadConfig

SECRET = "RAYJOBS_TEST_SECRET"

# Nothing but the text


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    path = tmp_path / "other.conf"
    path.write_text("secret = 42")
    return path


@pytest.fixture
def requests() -> Iterator[list[str]]:
    """The paths asked of a web server, the first item is its own address."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"secret = 42")

        def log_message(self, *args: Any) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        asked.append(f"http://127.0.0.1:{server.server_port}")
        yield asked
        server.shutdown()


INCLUDES = [
    'include "{}"',
    'INCLUDE "{}"',
    '  include\t"{}" // and on',
    'include file("{}")',
    'include url("file://{}")',
    'include "file://{}"',
    'include required("{}")',
    'include required(file("{}"))',
    'include package("rayjobs:{}")',
    '{{ include "{}" }}',
    'a {{ b = 1, include "{}" }}',
    'a = 1\ninclude "{}"',
    'a = include "{}"',
    'a = [include "{}"]',
    'a = [1, {{ include "{}" }}]',
    'a = http://x include "{}"',
    'a = "x" include "{}"',
]


@pytest.mark.parametrize("text", INCLUDES)
def test_an_include_is_refused(text: str, conf: Path) -> None:
    for path in (conf, conf.parent / "*.conf", "/etc/passwd", conf.parent / "missing"):
        with pytest.raises(BadConfig, match=r"^Cannot parse config: includes are refused$"):
            hocon.parse(text.format(path))


def test_an_include_of_an_address_asks_nobody(requests: list[str]) -> None:
    address = requests[0]
    for text in (f'include url("{address}/x.conf")', f'include "{address}/x.conf"'):
        with pytest.raises(BadConfig, match=r"^Cannot parse config: includes are refused$"):
            hocon.parse(text)
    assert requests == [address]
    assert ConfigFactory.parse_string(f'include url("{address}/x.conf")') == {"secret": 42}
    assert requests == [address, "/x.conf"]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("include = 1", {"include": 1}),
        ("include { a = 1 }", {"include": {"a": 1}}),
        ("included = 1", {"included": 1}),
        ('a = "include \\"x\\""', {"a": 'include "x"'}),
        ('a = 1 # include "x"', {"a": 1}),
        ("a = we include file x", {"a": "we include file x"}),
    ],
)
def test_the_word_include_alone_is_none(text: str, value: object) -> None:
    assert hocon.parse(text) == value


def test_the_environment_is_not_there_to_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    for text in (f"a = ${{{SECRET}}}", f"{SECRET} = ${{{SECRET}}}/x", f"a {{ b = [x${{{SECRET}}}] }}"):
        assert "s3cret" in str(ConfigFactory.parse_string(text))
        with pytest.raises(BadConfig, match=SECRET) as refused:
            hocon.parse(text)
        assert "s3cret" not in refused.value.message


def test_the_environment_is_no_optional_source_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    assert hocon.parse(f"a = ${{?{SECRET}}}, b = 1") == {"b": 1}
    assert hocon.parse(f"{SECRET} = ${{?{SECRET}}}") == {}
    assert hocon.parse(f"{SECRET} = mine, a = ${{?{SECRET}}}") == {SECRET: "mine", "a": "mine"}


def test_pyhocon_itself_stays_as_jobs_know_it(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SECRET, "s3cret")
    with pytest.raises(BadConfig):
        hocon.parse(f'include "{conf}"')
    tree = ConfigFactory.parse_string(f'include "{conf}"\na = ${{{SECRET}}}\nb = 10 s')
    assert (tree["secret"], tree["a"], tree["b"].seconds) == (42, "s3cret", 10)


# What a text means


@pytest.mark.parametrize("text", ["", " \n\t", "{}", "# a word\n// another"])
def test_a_blank_text_is_an_empty_object(text: str) -> None:
    assert hocon.parse(text) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1", {"a": 1}),
        ("a : 1, b = 2.5\nc = -3e2", {"a": 1, "b": 2.5, "c": -300.0}),
        ("a = true, b = false, c = null", {"a": True, "b": False, "c": None}),
        ("a = some words", {"a": "some words"}),
        ('a = "1", b = """x\ny"""', {"a": "1", "b": "x\ny"}),
        ("a.b.c = 1, a { d = 2 }", {"a": {"b": {"c": 1}, "d": 2}}),
        ("a { b = 1 }\na { c = 2 }", {"a": {"b": 1, "c": 2}}),
        ("a = 1, a = 2", {"a": 2}),
        ("a = [1, x, [2], {b = 3}]", {"a": [1, "x", [2], {"b": 3}]}),
        ("a = [null, [null], {b = [null]}]", {"a": [None, [None], {"b": [None]}]}),
        ("a = http://host:80/x", {"a": "http://host:80/x"}),
        ('a = "http://host:80/x?y"', {"a": "http://host:80/x?y"}),
        ("größe = 1", {"größe": 1}),
        ('"größe 日本" = 1', {"größe 日本": 1}),
    ],
)
def test_hocon_becomes_plain_values(text: str, value: dict[str, Any]) -> None:
    assert hocon.parse(text) == value


@pytest.mark.parametrize(
    "given", ["512m", "10 s", "5 days", "1 h", "2g", "100ms", "1.5 h", "10 s of it", "1m and 2s", "2 w"]
)
def test_amounts_and_durations_are_text(given: str) -> None:
    assert hocon.parse(f"a = {given}, b = [{given}]") == {"a": given, "b": [given]}


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"a": None, "b": [True, 1, -2.5, 1e300, 2**70], "c": {"d": {}, "e": []}},
        {"text": 'é ü 日本 😀 " \\ / \n \t \x00 ${a} #x // y'},
        {"a.b": 1, "a": {"c.d": 2}},
        {'"quoted"': 1, "$x:y=z": 2, "a b": 3, " ": 4},
    ],
)
@pytest.mark.parametrize("ascii_only", [True, False])
def test_json_is_read_as_json(value: dict[str, Any], ascii_only: bool) -> None:
    assert hocon.parse(json.dumps(value, ensure_ascii=ascii_only, indent=1)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'{"a": "\u00e9\/\b\f"}', {"a": "é/\b\f"}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ('{"a": {"b": 1, "c": {"d": 1}}, "a": {"c": {"e": 2}}}', {"a": {"b": 1, "c": {"d": 1, "e": 2}}}),
        ('{"a": {"b": 1}, "a": 2}', {"a": 2}),
        ('{"a": NaN, "b": -Infinity}', {"a": "NaN", "b": "-Infinity"}),
    ],
)
def test_json_means_what_it_means_in_hocon(text: str, value: dict[str, Any]) -> None:
    assert hocon.parse(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a = 1, b = ${a}", {"a": 1, "b": 1}),
        ("b = ${a.c}, a { c = [1] }", {"b": [1], "a": {"c": [1]}}),
        ("a = x, b = ${a}/y", {"a": "x", "b": "x/y"}),
        ("a { b = 1 }, c = ${a} { d = 2 }", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("a = 1, a = ${?b}", {"a": 1}),
        ("b = ${?a}, c = 1", {"c": 1}),
        ('a = "${b}"', {"a": "${b}"}),
    ],
)
def test_substitutions_are_resolved_within_the_text(text: str, value: dict[str, Any]) -> None:
    assert hocon.parse(text) == value


@pytest.mark.parametrize("text", ["a = ${b}", "a = ${b}, b = ${a}", "a = [x${b.c}]", "a = ${a}"])
def test_a_substitution_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match=r"^Cannot parse config: Cannot resolve .*\$\{"):
        hocon.parse(text)


@pytest.mark.parametrize("text", ["[]", "[1, 2]", "[{a = 1}]", "1", '"a"', "null", "true"])
def test_anything_but_an_object_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match=r"^Cannot parse config: expected an object such as \{a = 1\}$"):
        hocon.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "a = {",
        "a = }",
        "=",
        "a",
        "a = [1",
        '{"a": "x',
        '{"a": 1}}',
        "a = ${",
        "a = 1 } b",
        '"a" "b" = 1',
        'a."b.c" = 1',
        'a.b -+="a"""',
        "a = ${?a}, b = 1",
        "a = [1] {b = 2}",
        '{"": 1}',
        '{"a": {"": 1}}',
        '"" = 1',
        '{"a": ' + "[" * 100_000,
        "a = " + "[" * 100_000,
    ],
)
def test_a_broken_text_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match=r"^Cannot parse config: ."):
        hocon.parse(text)


def test_a_refused_text_leaves_nothing_behind_for_the_next() -> None:
    for broken in ("a = {", "a = ${b}", 'include "x"'):
        with pytest.raises(BadConfig):
            hocon.parse(broken)
        assert hocon.parse("a = 1\nb { c = 2 }") == {"a": 1, "b": {"c": 2}}


# Keys with dots


def test_a_dot_in_a_quoted_key_makes_no_path() -> None:
    assert hocon.parse('"a.b" = 1') == {"a.b": 1}
    assert hocon.parse('a.b = 1, "a.b" = 2') == {"a": {"b": 1}, "a.b": 2}
    assert hocon.parse('a { "b.c" { d = 1 } }') == {"a": {"b.c": {"d": 1}}}


# Objects laid on each other


def test_merge_lays_objects_on_each_other_key_by_key() -> None:
    base = {"a": 1, "b": {"c": 1, "d": {"e": 1}}, "f": [1, 2]}
    over = {"b": {"d": {"g": 2}, "c": 3}, "f": [3], "h": None}
    assert trees.merge(base, over) == {"a": 1, "b": {"c": 3, "d": {"e": 1, "g": 2}}, "f": [3], "h": None}
    assert base == {"a": 1, "b": {"c": 1, "d": {"e": 1}}, "f": [1, 2]}
    assert over == {"b": {"d": {"g": 2}, "c": 3}, "f": [3], "h": None}


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ({}, {"a": 1}, {"a": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": {"b": 1}}, {"a": 2}, {"a": 2}),
        ({"a": 2}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"a": {"b": 1}}, {"a": None}, {"a": None}),
        ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ],
)
def test_merge_replaces_what_is_no_object_on_both_sides(
    base: dict[str, Any], over: dict[str, Any], merged: dict[str, Any]
) -> None:
    assert trees.merge(base, over) == merged


# Leaves by dotted path


def test_flatten_gives_leaves_by_dotted_path_in_order() -> None:
    leaves = trees.flatten({"a": {"b": {"c": 1}, "d": [{"e": 2}]}, "f": None, "g": {}})
    assert list(leaves.items()) == [("a.b.c", 1), ("a.d", [{"e": 2}]), ("f", None)]


def test_flatten_takes_a_key_with_dots_for_the_path_it_spells_and_the_last_of_two_counts() -> None:
    assert trees.flatten({"a.b": 1, "a": {"c.d": {"e": 2}}}) == {"a.b": 1, "a.c.d.e": 2}
    assert trees.flatten({"a": {"b": 1}, "a.b": 2}) == {"a.b": 2}
    assert trees.flatten({"a.b": 2, "a": {"b": 1}}) == {"a.b": 1}


@pytest.mark.parametrize("tree", [{"a": {"b": {"c": {"d": 1}}}}, {"a.b": {"c": {"d": 1}}}, {"a": {"b.c": {"d": 1}}}])
def test_flatten_leaves_whole_what_it_is_told_to(tree: dict[str, Any]) -> None:
    assert trees.flatten(tree | {"e": {"f": 1}}, whole={"a.b.c", "e"}) == {"a.b.c": {"d": 1}, "e": {"f": 1}}
    assert trees.flatten(tree, whole={"b.c", "a.b.cc", "x"}) == {"a.b.c.d": 1}


# What jobs receive


def test_a_tree_answers_to_dotted_paths_at_every_depth() -> None:
    tree = hocon.tree_of({"a": {"b": 1, "c": [{"d": 2}, None]}, "e": None})
    assert isinstance(tree, ConfigTree) and isinstance(tree["a"], ConfigTree)
    assert tree.get("a.b") == tree["a.b"] == tree["a"]["b"] == tree.get_int("a.b") == 1
    assert tree["a.c"][0].get("d") == 2 and tree["a.c"][1] is None
    assert tree.get("e", "default") is None
    assert tree.get("a.x", "default") == "default"
    assert "a.b" in tree and "a.x" not in tree


def test_a_tree_of_settings_by_dotted_path_answers_to_the_same_paths() -> None:
    tree = hocon.tree_of({"num-cpu-cores": 2, "spark.executor.memory": "1g", "spark.executor.cores": 1})
    assert (tree["num-cpu-cores"], tree["spark.executor.memory"], tree["spark.executor.cores"]) == (2, "1g", 1)
    assert hocon.plain(tree) == {"num-cpu-cores": 2, "spark": {"executor": {"memory": "1g", "cores": 1}}}


@pytest.mark.parametrize("key", ["http://host:80/x?y", "$", "+", "*", "a=b", "[0]", "a@b.com", ".", "a..b", ".a", "a."])
def test_a_key_that_is_no_path_stays_one_key(key: str) -> None:
    value = {key: 1, "b": {key: [{key: 2}]}}
    tree = hocon.tree_of(value)
    assert tree[f'"{key}"'] == tree.get(f'"{key}"') == 1
    assert tree["b"][f'"{key}"'][0][f'"{key}"'] == 2
    assert hocon.plain(tree) == tree.as_plain_ordered_dict() == value


def test_a_tree_is_what_pyhocon_makes_of_the_same_json() -> None:
    value = {"a": {"b c": [1, {"d": "x"}]}, "x:y": {"z": 1.5}, "größe": True, "_-/": "é"}
    assert hocon.tree_of(value) == ConfigFactory.parse_string(json.dumps(value, ensure_ascii=False))


def test_a_tree_leaves_its_source_alone() -> None:
    value = {"a": {"b": [1]}}
    hocon.tree_of(value).put("a.c", 2)
    assert value == {"a": {"b": [1]}}
