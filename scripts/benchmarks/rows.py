"""The rows there are, in the order in which they run: each a function from the stage to what it measured."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass

from scripts.benchmarks.amounts import readable
from scripts.benchmarks.measured import Measured
from scripts.benchmarks.stage import Stage

NOUNS = ("start", "latency", "throughput", "history", "memory", "transfer", "executors", "peers")
"""The modules that have rows, in order."""


class Skipped(Exception):
    """A row that cannot run on this machine; the message says why."""


@dataclass(frozen=True)
class Goal:
    """What a row is to reach, in words and as a test of its result."""

    text: str
    is_met: Callable[[Measured], bool]


@dataclass(frozen=True)
class Row:
    name: str
    what: str
    measure: Callable[[Stage], Measured]
    goal: Goal | None = None


ROWS: dict[str, Row] = {}


def row(name: str, what: str, goal: Goal | None = None) -> Callable[[Callable[[Stage], Measured]], Callable]:
    """Makes a function the row `name`."""

    def register(measure: Callable[[Stage], Measured]) -> Callable[[Stage], Measured]:
        ROWS[name] = Row(name, what, measure, goal)
        return measure

    return register


def all_rows() -> dict[str, Row]:
    """Every row of every noun."""
    for noun in NOUNS:
        importlib.import_module(f"scripts.benchmarks.{noun}")
    return ROWS


def chosen(names: list[str], rows: dict[str, Row]) -> list[Row]:
    """The rows of these names, or that begin so, in their own order; all for no name. Raises `ValueError`."""
    found = {match for name in names for match in _matches(name, rows)}
    return [row for row in rows.values() if not names or row.name in found]


def _matches(name: str, rows: dict[str, Row]) -> list[str]:
    matches = [name] if name in rows else [row for row in rows if row.startswith(name)]
    if not matches:
        raise ValueError(f"no row is called {name}, or begins so; --list shows them all")
    return matches


def at_most(times: float, other: str) -> Goal:
    """Our median is at most so many times that of `other`."""
    return Goal(f"<= {times:.3g}x {other}", lambda measured: measured.ratio(other) <= times)


def at_least(times: float, other: str) -> Goal:
    """Our median is at least so many times that of `other`."""
    return Goal(f">= {times:.3g}x {other}", lambda measured: measured.ratio(other) >= times)


def median_within(limit_s: float) -> Goal:
    """Our median takes at most so long."""
    return Goal(f"<= {readable(limit_s, 's')}", lambda measured: measured.ours.median <= limit_s)


def p95_within(limit_s: float) -> Goal:
    """95 of 100 runs take at most so long."""
    return Goal(f"p95 <= {readable(limit_s, 's')}", lambda measured: measured.ours.percentile(95) <= limit_s)


def rate_of(jobs_per_s: float) -> Goal:
    """Our median rate is at least that."""
    return Goal(f">= {jobs_per_s:g} jobs/s", lambda measured: measured.ours.median >= jobs_per_s)
