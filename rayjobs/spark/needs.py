"""What a context's settings ask of the cluster: its executors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rayjobs.errors import BadConfig


@dataclass(frozen=True)
class SparkNeeds:
    """What a context asks of the cluster: executors, cores each, memory each (Spark's notation, like 512m)."""

    executors: int
    cores: int
    memory: str


def needs_of(settings: dict[str, Any], cpu_count: int) -> SparkNeeds:
    """The executors that context settings describe; by default one with up to four of the machine's cores.

    Raises `BadConfig` for a number that is none.
    """
    executors = _positive(settings, "spark.executor.instances", 1)
    total = _positive(settings, "num-cpu-cores", min(4, cpu_count))
    cores = _positive(settings, "spark.executor.cores", max(1, total // executors))
    memory = str(settings.get("spark.executor.memory", settings.get("memory-per-node", "512m")))
    if not (memory[:-1].isdigit() and memory[-1].lower() in "kmgt"):
        raise BadConfig(f"memory-per-node: {memory!r} is not an amount like 512m or 2g")
    return SparkNeeds(executors, cores, memory)


def _positive(settings: dict[str, Any], key: str, default: int) -> int:
    given = settings.get(key, default)
    try:
        number = int(given)
    except (TypeError, ValueError):
        number = 0
    if number < 1:
        raise BadConfig(f"{key}: {given!r} is not a whole number above 0")
    return number
