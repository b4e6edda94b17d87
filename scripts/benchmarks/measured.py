"""What a row measured: series of values, ours and others', and their ratios."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import median
from typing import Any

HIGHER_IS_BETTER = {"jobs/s", "MB/s"}


@dataclass(frozen=True)
class Series:
    """One thing measured again and again, in `unit`; `warm_up` runs before them are left out."""

    values: list[float]
    unit: str = "s"
    warm_up: int = 0

    @property
    def median(self) -> float:
        return median(self.values)

    def percentile(self, percent: float) -> float:
        """The smallest value that is not below that share of all: of few values, the largest."""
        ordered = sorted(self.values)
        return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]

    def as_json(self) -> dict[str, Any]:
        """Values to six places, and what is read most."""
        return {
            "unit": self.unit,
            "warm_up": self.warm_up,
            "runs": len(self.values),
            "median": self.median,
            "p95": self.percentile(95),
            "p99": self.percentile(99),
            "min": min(self.values),
            "max": max(self.values),
            "values": [round(value, 6) for value in self.values],
        }

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Series:
        return cls(found["values"], found["unit"], found["warm_up"])


@dataclass(frozen=True)
class Measured:
    """A row's result. `others` are what one would use instead, by name; `note` says what a reader must know."""

    ours: Series
    others: dict[str, Series] = field(default_factory=dict)
    note: str = ""

    def ratio(self, other: str) -> float:
        """Our median by that one's."""
        return self.ours.median / self.others[other].median

    def as_json(self) -> dict[str, Any]:
        others = {name: series.as_json() | {"ratio": self.ratio(name)} for name, series in self.others.items()}
        return {"ours": self.ours.as_json(), "others": others, "note": self.note}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Measured:
        others = {name: Series.from_json(series) for name, series in found["others"].items()}
        return cls(Series.from_json(found["ours"]), others, found["note"])
