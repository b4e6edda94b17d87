"""Measured amounts as a reader wants them: three figures and a unit of fitting size."""

from __future__ import annotations

_STEPS = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "bytes": ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "bytes")),
    "jobs/s": ((1.0, "jobs/s"),),
    "MB/s": ((1.0, "MB/s"),),
}


def readable(value: float, unit: str) -> str:
    """`value`, which is in `unit` (s, bytes, jobs/s, MB/s): 0.00512 s is 5.12 ms."""
    size, name = next((step for step in _STEPS[unit] if value >= step[0]), _STEPS[unit][-1])
    return f"{figures(value / size)} {name}"


def figures(value: float) -> str:
    """Three significant figures; of a thousand and more, all before the point."""
    return f"{value:.0f}" if abs(value) >= 999.5 else f"{value:#.3g}".rstrip(".")
