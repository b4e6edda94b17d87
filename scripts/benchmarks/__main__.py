"""Measure rayjobs beside what one would use instead: all rows, or those whose names are given, or begin so.

A run of all rows writes docs/performance.json, and from it the table and pictures of docs/performance.md. What a JSON
file has of other rows stays in it if it is of the same machine and versions. Exit status 1: a row failed, or is worse
than in the file that it was compared with.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from scripts.benchmarks import compare, machine, plots, report
from scripts.benchmarks.amounts import readable
from scripts.benchmarks.progress import ProgressHandler, log
from scripts.benchmarks.results import Outcome, Results, outcome_of
from scripts.benchmarks.rows import Row, all_rows, chosen
from scripts.benchmarks.stage import Stage

DOCS = Path(__file__).parents[2] / "docs"
JSON = DOCS / "performance.json"


def main() -> int:
    """The exit status."""
    parser = _parser()
    options = parser.parse_args()
    rows = all_rows()
    try:
        to_run = chosen(options.rows, rows)
        old = Results.load(options.compare).measured if options.compare else {}
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if options.list:
        print(*map(_about, to_run), sep="\n")
        return 0
    file = options.json or (JSON if not options.rows and options.scale >= 1 else None)
    results = Results.of_machine(machine.facts(), file)
    _measure(to_run, list(rows), options.scale, results, file)
    if file and file.resolve() == JSON:
        report.write(results, DOCS / "performance.md", plots.draw(results.measured, DOCS / "pictures"))
    new = {row.name: results.measured[row.name] for row in to_run if row.name in results.measured}
    has_regressed = _compare(old, new) if options.compare else False
    return int(has_regressed or any(results.outcomes[row.name].error for row in to_run))


def _measure(to_run: list[Row], order: list[str], scale: float, results: Results, file: Path | None) -> None:
    """One row after the other into `results`; the file is whole after each, whatever happens to the next."""
    handler = _show_progress()
    commit = machine.commit()  # before the file, which may be part of the repository, differs from it
    with Stage(scale) as stage:
        for number, row in enumerate(to_run, 1):
            handler.enter(f"row {number} of {len(to_run)}: {row.name}")
            outcome = outcome_of(row, stage, commit)
            handler.leave()
            print(_line(row.name, outcome), flush=True)
            results.put(row.name, outcome, order)
            if file:
                results.save(file)


def _show_progress() -> ProgressHandler:
    handler = ProgressHandler()
    log.setLevel("INFO")
    log.addHandler(handler)
    return handler


def _compare(old: compare.Rows, new: compare.Rows) -> bool:
    """Print row by row what has changed; whether anything is worse."""
    found = list(compare.changes(old, new))
    print(f"\n{'row':26} {'old':>12} {'new':>12} {'ratio':>7}", *found, sep="\n")
    return any(change.is_regression for change in found)


def _about(row: Row) -> str:
    return f"{row.name:26} {row.what}{f'; goal: {row.goal.text}' if row.goal else ''}"


def _line(name: str, outcome: Outcome) -> str:
    """A row's result for a terminal."""
    if outcome.measured is None:
        return f"{name:26} {f'failed: {outcome.error}' if outcome.error else f'skipped: {outcome.skipped}'}"
    ours = outcome.measured.ours
    others = [f"{outcome.measured.ratio(other):.2f}x {other}" for other in outcome.measured.others]
    met = {True: "met", False: "NOT MET", None: ""}[outcome.is_met]
    amount = readable(ours.median, ours.unit)
    return "  ".join(filter(None, [f"{name:26}", f"{amount:>10}", report.spread(ours), ", ".join(others), met]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("scripts/bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="a row's name, or how names begin; none: all rows")
    parser.add_argument("--list", action="store_true", help="show rows, what they measure and their goals")
    parser.add_argument("--scale", type=float, default=1.0, metavar="F", help="multiplies the numbers of runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where results go; all rows: docs/performance.json")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="older results to compare with")
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
