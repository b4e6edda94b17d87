"""What a runner that holds some binaries is good for."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from rayjobs.records import BinaryInfo, BinaryType
from rayjobs.runners import RunnerSlot

START = datetime(2026, 1, 2, tzinfo=UTC)
A = BinaryInfo("a", BinaryType.JAR, START, "a" * 64, 1)
B = BinaryInfo("b", BinaryType.JAR, START, "b" * 64, 1)
C = BinaryInfo("c", BinaryType.JAR, START, "c" * 64, 1)
NEW_A, NEW_B = (replace(old, upload_time=START + timedelta(milliseconds=1)) for old in (A, B))


def a_runner(*binaries: BinaryInfo) -> RunnerSlot:
    return RunnerSlot("etl/runner-1", None, binaries)  # type: ignore[arg-type]


def test_a_runner_holds_the_versions_that_it_took_on_in_their_order() -> None:
    assert a_runner(A, B).holds((A, B))
    for others in ((A,), (B, A), (A, B, C), (NEW_A, B), (A, NEW_B)):
        assert not a_runner(A, B).holds(others)


def test_a_spare_runner_holds_nothing_and_is_never_outdated() -> None:
    assert not a_runner().holds((A,))
    assert not a_runner().is_outdated_by((NEW_A,))


@pytest.mark.parametrize("newer", [(NEW_A,), (NEW_B,), (C, NEW_B)])
def test_a_runner_is_outdated_by_a_newer_version_of_anything_it_holds(newer: tuple[BinaryInfo, ...]) -> None:
    assert a_runner(A, B).is_outdated_by(newer)


def test_a_runner_is_not_outdated_by_what_it_holds_by_others_or_by_older_versions() -> None:
    assert not a_runner(A, B).is_outdated_by((B, C))
    assert not a_runner(NEW_A, B).is_outdated_by((A,))
