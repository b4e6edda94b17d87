"""Two results beside each other: what has become slower, or bigger, than it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from scripts.benchmarks.amounts import readable
from scripts.benchmarks.measured import HIGHER_IS_BETTER, Measured, Series

TOLERANCE = 1.10

Rows = dict[str, Measured]
"""What was measured, by row."""


@dataclass(frozen=True)
class Change:
    """Our series of one row, then and now."""

    row: str
    old: Series
    new: Series

    @property
    def ratio(self) -> float:
        """The new median by the old one."""
        return self.new.median / self.old.median

    @property
    def is_regression(self) -> bool:
        """Worse by more than a tenth, and the middle halves of both do not even touch: no mere spread."""
        worse, better = (self.old, self.new) if self.new.unit in HIGHER_IS_BETTER else (self.new, self.old)
        apart = worse.percentile(25) > better.percentile(75)
        return apart and worse.median > TOLERANCE * better.median

    def __str__(self) -> str:
        old, new = (readable(series.median, series.unit) for series in (self.old, self.new))
        return f"{self.row:26} {old:>12} {new:>12} {self.ratio:6.2f}x{'  REGRESSION' if self.is_regression else ''}"


def changes(old: Rows, new: Rows) -> Iterator[Change]:
    """Of each row that both have, in the same unit."""
    for name, measured in new.items():
        if name in old and old[name].ours.unit == measured.ours.unit:
            yield Change(name, old[name].ours, measured.ours)
