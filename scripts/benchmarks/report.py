"""The results in the docs: a table, notes and pictures between two marks of docs/performance.md."""

from __future__ import annotations

from pathlib import Path

from scripts.benchmarks.amounts import figures, readable
from scripts.benchmarks.measured import Measured, Series
from scripts.benchmarks.results import Outcome, Results

BEGIN = "<!-- bench:begin -->"
END = "<!-- bench:end -->"
ENOUGH_FOR_P99 = 100
HEADINGS = ("row", "rayjobs: median (p99; range)", "instead", "ratio", "goal", "met", "runs + warm-up")


def write(results: Results, page: Path, pictures: dict[str, str]) -> None:
    """Replace the page's section; `pictures` are captions by file name, in the folder `pictures` beside it."""
    page.write_text(with_section(page.read_text() if page.exists() else "", section(results, pictures)))


def with_section(text: str, section: str) -> str:
    """`text` with what stands between the marks replaced; without marks, they come under its first heading."""
    marked = f"{BEGIN}\n{section}\n{END}"
    if BEGIN in text and END in text:
        before, rest = text.split(BEGIN, 1)
        return before + marked + rest.split(END, 1)[1]
    heading, _, rest = text.partition("\n")
    return f"{heading}\n\n{marked}\n{rest}"


def section(results: Results, pictures: dict[str, str]) -> str:
    """All of it in Markdown."""
    shown = [f"![{caption}](pictures/{file})" for file, caption in pictures.items()]
    return "\n\n".join([_about(results), table(results.outcomes), *_notes(results.measured), *shown])


def table(outcomes: dict[str, Outcome]) -> str:
    """A line per row, in Markdown."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *(_cells(name, outcome) for name, outcome in outcomes.items())]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(name: str, outcome: Outcome) -> tuple[str, ...]:
    about = f"`{name}`: {outcome.what}"
    if outcome.measured is None:
        said = f"failed: {outcome.error}" if outcome.error else f"skipped: {outcome.skipped}"
        return about, said.replace("|", "\\|"), "", "", outcome.goal, "", ""
    ours, others = outcome.measured.ours, outcome.measured.others
    return (
        about,
        f"{readable(ours.median, ours.unit)} {spread(ours)}".strip(),
        "<br>".join(f"{name}: {readable(series.median, series.unit)}" for name, series in others.items()),
        "<br>".join(f"{figures(outcome.measured.ratio(other))}x" for other in others),
        outcome.goal,
        {True: "yes", False: "**no**", None: ""}[outcome.is_met],
        f"{len(ours.values)} + {ours.warm_up}",
    )


def spread(series: Series) -> str:
    """What a reader can make of so many values: p99 of hundreds of times, the range of a few, nothing of one."""
    if len(series.values) == 1:
        return ""
    lowest, highest = (readable(value, series.unit) for value in (min(series.values), max(series.values)))
    has_p99 = series.unit == "s" and len(series.values) >= ENOUGH_FOR_P99
    p99 = f"p99 {readable(series.percentile(99), series.unit)}; " if has_p99 else ""
    return f"({p99}{lowest} to {highest})"


def _notes(measured: dict[str, Measured]) -> list[str]:
    """One list, or nothing."""
    lines = [f"- `{name}`: {row.note}" for name, row in measured.items() if row.note]
    return ["\n".join(lines)] if lines else []


def _about(results: Results) -> str:
    of = results.machine
    versions = ", ".join(
        f"{name} {of[name]}" for name in ("rayjobs", "ray", "raydp", "pyspark", "duckdb", "java", "python")
    )
    commits = sorted({outcome.commit for outcome in results.outcomes.values()})
    dates = sorted(outcome.date[:10] for outcome in results.outcomes.values())
    days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Measured by `scripts/bench` on {days}, commit {', '.join(commits)}: {of['cores']} cores of an {of['cpu']}, "
        f"{of['memory_gib']} GiB, {of['system']}; {versions}. Ours and what one would use instead take turns in the "
        "same run; a ratio is our median by the other one. All values: [performance.json](performance.json)."
    )
