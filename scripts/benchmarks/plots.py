"""Pictures of the results: SVG, the same for the same results."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.benchmarks.amounts import figures
from scripts.benchmarks.compare import Rows
from scripts.benchmarks.measured import HIGHER_IS_BETTER, Measured, Series

STYLE = {
    "svg.hashsalt": "rayjobs",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
WIDTH_INCHES, HEIGHT_INCHES, BAR_INCHES = 7.5, 3.0, 0.25
_THOUSANDS = {"": 1, "k": 1000, "m": 1_000_000}


def draw(rows: Rows, folder: Path) -> dict[str, str]:
    """Draw those that there are results for; captions by file name."""
    pictures = (
        ("ratios.svg", "How many times better than what one would use instead", gains(rows), _bars),
        ("latency.svg", "Latency of no-op jobs", latencies(rows), _shares),
        ("clients.svg", "No-op jobs per second by number of clients", rates(rows), _rates),
        ("history.svg", "Listing and submitting by number of jobs in the store", histories(rows), _histories),
    )
    for file, _, data, paint in pictures:
        if data:
            _save(folder / file, data, paint)
    return {file: caption for file, caption, data, _ in pictures if data}


def gains(rows: Rows) -> list[tuple[str, float]]:
    """Row and what it was measured beside: how many times less time or memory, or more work, it is; the best first."""
    found = [(f"{name}: {other}", _gain(row, other)) for name, row in rows.items() for other in row.others]
    return sorted(found, key=lambda gain: -gain[1])


def _gain(row: Measured, other: str) -> float:
    return row.ratio(other) if row.ours.unit in HIGHER_IS_BETTER else 1 / row.ratio(other)


def latencies(rows: Rows) -> dict[str, list[float]]:
    """Of each no-op row: milliseconds that 0, 1, ... 100 percent of the jobs stay within."""
    return {
        name: [rows[name].ours.percentile(percent) * 1000 for percent in range(101)]
        for name in ("noop-http", "noop-ray")
        if name in rows
    }


def rates(rows: Rows) -> dict[int, Series]:
    """Jobs per second by number of clients."""
    found = {re.fullmatch(r"noop-clients-(\d+)", name): row for name, row in rows.items()}
    return {int(match[1]): row.ours for match, row in found.items() if match}


def histories(rows: Rows) -> dict[str, dict[int, float]]:
    """Median milliseconds by number of jobs in the store, of each thing done; 0 is the store that had none."""
    found: dict[str, dict[int, float]] = {}
    for name, row in rows.items():
        if match := re.fullmatch(r"(list|submit)-(\d+)([km]?)", name):
            medians = found.setdefault(match[1], {})
            medians[int(match[2]) * _THOUSANDS[match[3]]] = row.ours.median * 1000
            [empty_store] = row.others.values()
            medians[0] = empty_store.median * 1000
    return {name: dict(sorted(medians.items())) for name, medians in found.items()}


def _save(file: Path, data: Any, paint: Callable[[Any, Any], None]) -> None:
    """matplotlib is imported only here: it takes a second, and `--list` needs none."""
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    with matplotlib.rc_context(STYLE):
        height = BAR_INCHES * len(data) + 0.8 if paint is _bars else HEIGHT_INCHES
        figure, axes = pyplot.subplots(figsize=(WIDTH_INCHES, height))
        paint(data, axes)
        file.parent.mkdir(exist_ok=True)
        figure.savefig(file, metadata={"Date": None, "Creator": None})
        pyplot.close(figure)


def _bars(data: list[tuple[str, float]], axes: Any) -> None:
    labels, values = [label for label, _ in data], [value for _, value in data]
    colours = ["tab:blue" if value >= 1 else "tab:orange" for value in values]
    # From 1 on, to the right or to the left.
    bars = axes.barh(labels, [value - 1 for value in values], left=1, color=colours)
    axes.bar_label(bars, [f"{figures(value)}x" for value in values], padding=3)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.margins(x=0.15, y=0.02)
    axes.invert_yaxis()
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("times better (1: the same)")


def _shares(data: dict[str, list[float]], axes: Any) -> None:
    for name, milliseconds in data.items():
        axes.plot(milliseconds, range(len(milliseconds)), label=name)
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis)
    axes.set(xlabel="ms", ylabel="% of jobs within that", ylim=(0, 101))
    axes.grid(alpha=0.3, which="both")
    axes.legend(loc="lower right")


def _rates(data: dict[int, Series], axes: Any) -> None:
    medians = [series.median for series in data.values()]
    down = [series.median - min(series.values) for series in data.values()]
    up = [max(series.values) - series.median for series in data.values()]
    axes.errorbar(list(data), medians, yerr=[down, up], marker="o", capsize=3)
    axes.set_xscale("log", base=2)
    axes.set_xticks(list(data), [str(clients) for clients in data])
    axes.set(xlabel="clients", ylabel="jobs/s (bars: slowest and fastest second)")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _histories(data: dict[str, dict[int, float]], axes: Any) -> None:
    for name, medians in data.items():
        axes.plot([f"{jobs:,}" for jobs in medians], list(medians.values()), marker="o", label=name)
    highest = max(max(medians.values()) for medians in data.values())
    axes.set(xlabel="jobs in the store", ylabel="ms (median)", ylim=(0, 1.2 * highest))
    axes.grid(alpha=0.3)
    axes.legend()


def _plain_ticks(axis: Any) -> None:
    """1, 2, 5, 10 in place of powers."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
