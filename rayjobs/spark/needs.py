"""What a context's settings ask of the cluster: its executors."""

from __future__ import annotations

import re
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

    Raises `BadConfig` for a number or an amount of memory that is none.
    """
    executors = _positive(settings, "spark.executor.instances", 1)
    total = _positive(settings, "num-cpu-cores", min(4, cpu_count))
    cores = _positive(settings, "spark.executor.cores", max(1, total // executors))
    key = "spark.executor.memory" if "spark.executor.memory" in settings else "memory-per-node"
    memory = str(settings.get(key, "512m"))
    if not re.fullmatch(r"[1-9][0-9]*[kmgt]", memory, re.IGNORECASE | re.ASCII):
        raise BadConfig(f"{key}: {memory!r} is not an amount like 512m or 2g")
    return SparkNeeds(executors, cores, memory)


def _positive(settings: dict[str, Any], key: str, default: int) -> int:
    given = settings.get(key, default)
    try:
        number = int(str(given))
    except ValueError:
        number = 0
    if number < 1:
        raise BadConfig(f"{key}: {given!r} is not a whole number above 0")
    return number
