"""docs/errors.md holds every code, in its family, with the HTTP status, `status` text and kind of result it has."""

from __future__ import annotations

import re
from pathlib import Path

from rayjobs.errors import RayJobsError
from rayjobs.web.errors import INTERNAL_ERROR, METHOD_NOT_ALLOWED, NO_SUCH_ROUTE, answer_for

DOCS = (Path(__file__).parents[2] / "docs" / "errors.md").read_text()
ROW = re.compile(
    r"^\| `([a-z-]+)` \| (\d+) \| `([^`]+)` \| (text|exception|exception, without `stack`) \|", re.MULTILINE
)

Row = tuple[str, int, str, str]
OF_THE_SERVER: set[Row] = {
    (NO_SUCH_ROUTE, 404, "ERROR", "text"),
    (METHOD_NOT_ALLOWED, 405, "ERROR", "text"),
    (INTERNAL_ERROR, 500, "ERROR", "exception, without `stack`"),
}


def _family(root: type[RayJobsError]) -> set[type[RayJobsError]]:
    return {root}.union(*(_family(child) for child in root.__subclasses__()))


def _row_of(kind: type[RayJobsError]) -> Row:
    answer = answer_for(kind)
    return kind.code, answer.status_code, answer.text, "exception" if answer.as_exception else "text"


def _rows(text: str) -> list[Row]:
    return [(code, int(status), name, result) for code, status, name, result in ROW.findall(text)]


def _sections() -> dict[str, str]:
    """By the code in the heading, or by the heading."""
    _, *sections = re.split(r"^## ", DOCS, flags=re.MULTILINE)
    return {re.sub(r"^`(.+)`: .*", r"\1", section.partition("\n")[0]): section for section in sections}


def test_every_error_has_a_row_that_says_how_it_is_answered_and_no_row_is_without_one() -> None:
    assert sorted(_rows(DOCS)) == sorted({_row_of(kind) for kind in _family(RayJobsError)} | OF_THE_SERVER)


def test_every_line_of_the_tables_is_such_a_row() -> None:
    assert len(_rows(DOCS)) == len(re.findall(r"^\| `[a-z]+(?:-[a-z]+)*` \| \d", DOCS, flags=re.MULTILINE))


def test_errors_stand_with_their_family() -> None:
    sections = _sections()
    for family in RayJobsError.__subclasses__():
        wanted = {_row_of(kind) for kind in _family(family)}
        if family.code == "service-failure":
            wanted.add(_row_of(RayJobsError))
        assert set(_rows(sections.pop(family.code))) == wanted
    assert set(_rows(sections.pop("Of the HTTP server itself"))) == OF_THE_SERVER
    assert sections == {}
