"""A number in a file that every process of the node sees grow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rayjobs.change_count import ChangeCount

GROW_TWICE = """
import sys
from pathlib import Path
from rayjobs.change_count import ChangeCount
count = ChangeCount(Path(sys.argv[1]))
count.grow()
count.grow()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "binaries.changes"


def test_it_begins_at_nothing_and_grows_by_one(path: Path) -> None:
    count = ChangeCount(path)
    assert count.read() == 0
    count.grow()
    count.grow()
    assert count.read() == 2
    count.close()


def test_a_reader_sees_each_change_and_its_reading_is_none(path: Path) -> None:
    writer, reader = ChangeCount(path), ChangeCount(path)
    for expected in range(1, 300):  # past the first byte
        writer.grow()
        assert reader.read() == reader.read() == expected
    writer.close()
    reader.close()


def test_the_changes_of_another_process_count_and_outlive_it(path: Path) -> None:
    reader = ChangeCount(path)
    for expected in (2, 4):
        subprocess.run([sys.executable, "-c", GROW_TWICE, str(path)], check=True)
        assert reader.read() == expected
    reader.close()
