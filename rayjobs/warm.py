"""What a Python worker of a Ray of ours does until it is needed: import what contexts and runners are made of.

A context starts a tenth of a second sooner in a worker that has, a runner a quarter.
"""

from __future__ import annotations

import importlib
import threading
import time

import ray

HOOK = {"__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "rayjobs.warm.import_ahead"}
"""Environment of Ray (2.60) that has it call that in each worker; `worker_process_setup_hook` sets it for one job's.

Can go when Ray's workers can be made from a process that has its imports already.
"""

PATIENCE_S = 0.5
"""Who was not needed by then was started ahead: what an actor needs at once, it imports itself, and no more of ours."""


def import_ahead() -> None:
    """Returns at once."""
    threading.Thread(target=_import_unless_needed, name="import-ahead", daemon=True).start()


def _import_unless_needed() -> None:
    _import_what_ray_needs()
    time.sleep(PATIENCE_S)
    if ray.get_runtime_context().get_actor_id() is None:
        for module in ("rayjobs.context", "rayjobs.runner"):
            importlib.import_module(module)


def _import_what_ray_needs() -> None:
    """Ray (2.60) imports Pydantic and PyArrow when it first unpacks an argument: 0.1 s of every actor's start."""
    ray._private.worker.global_worker.get_serialization_context()
