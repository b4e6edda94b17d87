"""What a context's settings ask of the cluster: its executors, as Ray counts them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from rayjobs.errors import BadConfig

_RESOURCE = "spark.ray.raydp_spark_executor.actor.resource."
_UNITS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


@dataclass(frozen=True)
class SparkNeeds:
    """What a context asks of the cluster: executors, cores each, memory each (Spark's notation, like 512m).

    `extra` are amounts of Ray's other resources that each executor takes, by name.
    """

    executors: int
    cores: int
    memory: str
    extra: dict[str, float] = field(default_factory=dict)

    @property
    def per_executor(self) -> dict[str, float]:
        """What RayDP asks of Ray for one executor: `CPU`, `memory` in bytes, and the extra ones."""
        memory_bytes = int(self.memory[:-1]) * _UNITS[self.memory[-1].lower()]
        return {"CPU": self.cores, "memory": memory_bytes} | self.extra


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
    return SparkNeeds(executors, cores, memory, _extra(settings))


def _extra(settings: dict[str, Any]) -> dict[str, float]:
    """RayDP's own keys for an executor's resources; its `cpu` counts in place of the cores."""
    amounts = {key.removeprefix(_RESOURCE): key for key in settings if key.startswith(_RESOURCE)}
    return {"CPU" if name == "cpu" else name: _amount(settings, key) for name, key in amounts.items()}


def _amount(settings: dict[str, Any], key: str) -> float:
    try:
        amount = float(str(settings[key]))
    except ValueError:
        amount = math.nan
    if not (math.isfinite(amount) and amount >= 0):
        raise BadConfig(f"{key}: {settings[key]!r} is not an amount")
    return amount


def _positive(settings: dict[str, Any], key: str, default: int) -> int:
    given = settings.get(key, default)
    try:
        number = int(str(given))
    except ValueError:
        number = 0
    if number < 1:
        raise BadConfig(f"{key}: {given!r} is not a whole number above 0")
    return number
