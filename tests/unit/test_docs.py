"""The docs hold every setting, state and command, and their links lead somewhere."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from rayjobs.cli import build_parser
from rayjobs.settings import SettingInfo, setting_infos
from rayjobs.states import ContextState, JobState

ROOT = Path(__file__).parents[2]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _table(page: str, first_heading: str) -> list[list[str]]:
    """The cells of the rows under the table whose first column has that heading."""
    lines = page.splitlines()
    [start] = [n for n, line in enumerate(lines) if line.startswith(f"| {first_heading} |")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
    return rows


def _commands() -> set[str]:
    [commands] = [action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return set(commands.choices)


def _links(page: Path) -> list[str]:
    """Relative links, without their anchors; what stands in code is none."""
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [path for path in (target.partition("#")[0] for target in targets) if path and "://" not in path]


@pytest.mark.parametrize("info", setting_infos(), ids=lambda info: info.key)
def test_a_setting_has_a_row_with_its_variable_default_and_meaning(info: SettingInfo) -> None:
    row = [f"`{info.key}`", f"`{info.env}`", f"`{json.dumps(info.default)}`", info.meaning]
    assert row in _table(OPERATING, "key")


def test_the_table_of_settings_has_no_other_row() -> None:
    assert [row[0] for row in _table(OPERATING, "key")] == [f"`{info.key}`" for info in setting_infos()]


@pytest.mark.parametrize(("heading", "states"), [("context state", ContextState), ("job state", JobState)])
def test_the_table_of_states_has_all_states_and_no_other(
    heading: str, states: type[ContextState] | type[JobState]
) -> None:
    named = [state for row in _table(ARCHITECTURE, heading) for state in row[0].split(", ")]
    assert sorted(named) == sorted(states)


def test_the_table_of_commands_has_all_commands_and_no_other() -> None:
    assert {row[0] for row in _table(OPERATING, "command")} == {f"`rayjobs {name}`" for name in _commands()}


def test_the_readme_leads_to_every_page_of_the_docs() -> None:
    """Step by step; a folder that is linked leads to what is in it."""
    reached, found = set(), {ROOT / "README.md"}
    while found:
        reached |= found
        linked = {(page.parent / link).resolve() for page in found for link in _links(page)}
        found = {page for page in PAGES if page in linked or page.parent in linked} - reached
    assert reached == set(PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_relative_link_leads_to_a_file_that_is_there(page: Path) -> None:
    assert [link for link in _links(page) if not (page.parent / link).exists()] == []


def test_no_placeholder_is_left_in_the_docs() -> None:
    left = {page.name: re.findall(r"^[A-Z]+_[A-Z_]+$", page.read_text(), flags=re.MULTILINE) for page in PAGES}
    assert len(left) >= 5
    assert {name: found for name, found in left.items() if found} == {}
