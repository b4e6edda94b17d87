"""Whether a cluster has room for a context's executors: asked before a JVM is started, answered in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from rayjobs.spark.needs import SparkNeeds

Resources = Mapping[str, float]


class Room(Enum):
    NOW = "now"
    LATER = "once others give theirs back"
    NEVER = "never on the nodes that there are"


@dataclass(frozen=True)
class NodeShare:
    """One node's resources by name, as Ray counts them (`CPU`, `memory` in bytes, ...): all, and what is free."""

    total: Resources
    free: Resources


def room_for(needs: SparkNeeds, nodes: list[NodeShare]) -> Room:
    """Whether the executors fit on the free shares, or at least on the whole nodes."""
    if _fitting(needs.per_executor, [node.free for node in nodes]) >= needs.executors:
        return Room.NOW
    if _fitting(needs.per_executor, [node.total for node in nodes]) >= needs.executors:
        return Room.LATER
    return Room.NEVER


def shortage(needs: SparkNeeds, nodes: list[NodeShare], holders: Mapping[str, SparkNeeds]) -> str:
    """What is needed, what there is, and which contexts hold how much of it, for the person who asked."""
    needed = needs.per_executor
    largest = max(nodes, key=lambda node: _key(node.total), default=NodeShare({}, {}))
    freest = max(nodes, key=lambda node: _key(node.free), default=NodeShare({}, {}))
    held = ", ".join(f"{name} ({held.executors} x {_text(held.per_executor)})" for name, held in holders.items())
    return (
        f"it needs {needs.executors} executor(s) of {_text(needed)} each; "
        f"the largest node has {_text(_of(largest.total, needed))}, "
        f"the largest free share is {_text(_of(freest.free, needed))}; held by contexts: {held or 'none'}"
    )


def _fitting(one: Resources, shares: list[Resources]) -> int:
    """How many executors fit on these nodes together."""
    return sum(min(int(share.get(name, 0) / amount) for name, amount in one.items() if amount) for share in shares)


def _key(share: Resources) -> tuple[float, float]:
    return share.get("CPU", 0), share.get("memory", 0)


def _of(share: Resources, wanted: Resources) -> Resources:
    return {name: share.get(name, 0) for name in wanted}


def _text(amounts: Resources) -> str:
    parts = []
    for name, amount in amounts.items():
        if name == "CPU":
            parts.append(f"{amount:g} core(s)")
        elif name == "memory":
            parts.append(f"{amount / 2**20:.0f} MiB")
        else:
            parts.append(f"{amount:g} {name}")
    return " and ".join(parts)
