"""What became of the rows, on one machine: measured, and kept as JSON."""

from __future__ import annotations

import json
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.benchmarks import machine
from scripts.benchmarks.measured import Measured
from scripts.benchmarks.rows import Row, Skipped
from scripts.benchmarks.stage import Stage


@dataclass(frozen=True)
class Outcome:
    """One row: what it `measured`, else the `error` that it failed with, or why it was `skipped`.

    `is_met` is None for a row without a goal, or without a result.
    """

    what: str
    goal: str = ""
    is_met: bool | None = None
    measured: Measured | None = None
    error: str = ""
    skipped: str = ""
    commit: str = ""
    date: str = ""

    def as_json(self) -> dict[str, Any]:
        return vars(self) | {"measured": self.measured and self.measured.as_json()}

    @classmethod
    def from_json(cls, found: dict[str, Any]) -> Outcome:
        measured = found["measured"] and Measured.from_json(found["measured"])
        return cls(**found | {"measured": measured})


@dataclass
class Results:
    """The outcomes of rows by name, and the machine that they are of."""

    machine: dict[str, str | int]
    outcomes: dict[str, Outcome] = field(default_factory=dict)

    @property
    def measured(self) -> dict[str, Measured]:
        """What was measured, by row."""
        return {name: outcome.measured for name, outcome in self.outcomes.items() if outcome.measured}

    @classmethod
    def of_machine(cls, facts: dict[str, str | int], file: Path | None) -> Results:
        """Those that the file has, if it is there and of the same machine and versions; else none."""
        if file and file.exists() and (found := cls.load(file)).machine == facts:
            return found
        return cls(facts)

    def put(self, name: str, outcome: Outcome, order: list[str]) -> None:
        """Add or replace one; rows that are not in `order` are no more."""
        all_of_them = self.outcomes | {name: outcome}
        self.outcomes = {name: all_of_them[name] for name in order if name in all_of_them}

    def save(self, file: Path) -> None:
        rows = {name: outcome.as_json() for name, outcome in self.outcomes.items()}
        file.write_text(json.dumps({"machine": self.machine, "rows": rows}, indent=1) + "\n")

    @classmethod
    def load(cls, file: Path) -> Results:
        found = json.loads(file.read_text())
        return cls(found["machine"], {name: Outcome.from_json(row) for name, row in found["rows"].items()})


def outcome_of(row: Row, stage: Stage, commit: str) -> Outcome:
    """Measure a row, at that commit. One that fails is an outcome too: the others' results must not be lost with it."""
    about = {"what": row.what, "goal": row.goal.text if row.goal else "", "commit": commit}
    try:
        measured = row.measure(stage)
    except Skipped as why:
        return Outcome(**about, skipped=str(why), date=machine.now())
    except Exception as error:
        traceback.print_exc()
        return Outcome(**about, error=f"{type(error).__name__}: {error}".splitlines()[0], date=machine.now())
    is_met = row.goal.is_met(measured) if row.goal else None
    return Outcome(**about, is_met=is_met, measured=measured, date=machine.now())
