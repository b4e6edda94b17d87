"""The Spark applications that stand by, seen from Ray: whether one is ready, and whether it was taken."""

from __future__ import annotations

import asyncio

from rayjobs import cluster
from rayjobs.errors import ActorGone
from rayjobs.spark_hosts import STANDBY
from scripts.benchmarks.stage import awaited

READY_TIMEOUT_S = 120.0
GONE_TIMEOUT_S = 60.0
PING_TIMEOUT_S = 5.0


def await_ready() -> str:
    """The id of a host that stands by, once there is one."""
    return awaited(lambda: next((id for id in _ids() if _is_ready(id)), None), READY_TIMEOUT_S, "no host stands by")


def await_gone(host_id: str) -> None:
    """Returns when that host has ended, as it does with the context that took it."""
    awaited(lambda: host_id not in _ids(), GONE_TIMEOUT_S, f"{host_id} was not taken, or does not end")


def _ids() -> set[str]:
    return {id for id in asyncio.run(cluster.host_ids()) if id.startswith(STANDBY)}


def _is_ready(host_id: str) -> bool:
    """Its Spark is up, and no context has a session there."""
    try:
        host = cluster.find_now(cluster.host_actor_name(host_id))
        is_up = cluster.wait(host.ping.remote(), PING_TIMEOUT_S) is not None
        return is_up and not cluster.wait(host.sessions.remote(), PING_TIMEOUT_S)
    except (ActorGone, TimeoutError):
        return False
