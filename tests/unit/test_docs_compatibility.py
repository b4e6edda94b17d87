"""docs/compatibility.md gives each row a verdict; the tests that it and other pages name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VERDICTS = {"same", "better on purpose", "not yet", "not applicable"}


def _rows() -> list[list[str]]:
    """Of all tables with a verdict: there, here, how or why, test."""
    lines = (ROOT / "docs" / "compatibility.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines if line.startswith("| ")]
    return [row for row in cells if len(row) == 4 and row[0] != "there"]


def _tests_in(file: Path) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), flags=re.MULTILINE))


def test_every_row_has_one_of_the_verdicts_and_all_are_used() -> None:
    assert len(_rows()) > 150
    assert {row[1] for row in _rows()} == VERDICTS


def test_what_is_better_or_not_applicable_says_how_or_why() -> None:
    assert [row for row in _rows() if row[1] in ("better on purpose", "not applicable") and not row[2]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_test_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text())
    files = {file: _tests_in(ROOT / file) for file, _ in named}
    assert [f"{file}::{test}" for file, test in named if test not in files[file]] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_test_that_a_page_names_without_its_file_is_there(page: Path) -> None:
    everywhere = set().union(*(_tests_in(file) for file in (ROOT / "tests").rglob("test_*.py")))
    assert set(re.findall(r"`(test_\w+)`", page.read_text())) <= everywhere
