"""Ray, in one place: joining a cluster, our actors' names and options, spawning, finding, calling them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import socket
from collections.abc import Awaitable
from typing import Any, TypeVar

import ray
from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available
from ray.actor import ActorHandle
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from rayjobs.errors import ActorGone, RayJobsError
from rayjobs.placement import NodeShare
from rayjobs.settings import Settings
from rayjobs.spark import jvm

NAMESPACE = "rayjobs"
SUPERVISOR = "supervisor"
STORE = "job-store"
CONNECT_TIMEOUT_S = 5.0
PRESTARTED_KEPT_S = 3600
RETRY_S = 1.0
PING_TIMEOUT_S = 5.0
"""An actor that takes longer than that for a question it answers from memory does not answer."""

T = TypeVar("T")

AtWork = tuple[ActorHandle, Awaitable[None]]
"""A runner's actor, and what is over when the runner has died, and raises why."""


def context_actor_name(context_name: str) -> str:
    """The name under which `ray.get_actor` finds a context."""
    return f"context:{context_name}"


def spark_namespace(context_id: str) -> str:
    """The Ray namespace of a context's executors, whose names RayDP fixes."""
    return f"rayjobs-spark-{context_id}"


def worker_environment() -> dict[str, str]:
    """What Ray's processes must have in their environment for contexts to start in them; see `rayjobs env`."""
    return jvm.java_environment() | {"RAY_AUTH_MODE": "token"}


def join(address: str) -> None:
    """Make this process a driver on the cluster at `address`; raises ConnectionError if none answers."""
    _refuse_silent(address)
    _use_token_if_there_is_one()
    ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level="ERROR")


def _refuse_silent(address: str) -> None:
    """Ray itself tries for minutes before it says that nobody is there."""
    host, _, port = address.rpartition(":")
    if host and port.isdigit():
        try:
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise ConnectionError(f"no Ray cluster answers at {address}: {error.strerror or error}") from None


def _use_token_if_there_is_one() -> None:
    """Authenticate with `~/.ray/auth_token` at explicit addresses too.

    Symptom: "Authentication token is missing or incorrect" though the token is there. Cause: Ray 2.60 turns token
    authentication on by itself for the address `auto` only, and reads RAY_AUTH_MODE once, when it is imported.
    RAY_AUTH_MODE in the environment still wins. Can go when ray.init does the same for every address; every test
    on a real Ray fails without it.
    """
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def leave() -> None:
    """End this process's part in the cluster; detached actors stay."""
    ray.shutdown()


def dashboard_url() -> str | None:
    """Where Ray's dashboard is, None on a cluster without one."""
    url = ray._private.worker._global_node.webui_url
    return f"http://{url}" if url else None


def node_id() -> str:
    """The Ray node that this process is on."""
    return ray.get_runtime_context().get_node_id()


def actor_id() -> str | None:
    """The id of the actor that this process is, if it is one. Asked without a cluster, Ray would start one."""
    return ray.get_runtime_context().get_actor_id() if ray.is_initialized() else None


async def call(reply: Awaitable[T]) -> T:
    """What an actor's method returned; raises our own error as itself, `ActorGone` for an actor that cannot answer."""
    try:
        return await reply
    except RayError as error:
        raise _translated(error) from None


def wait(reply: Any, timeout_s: float | None = None) -> Any:
    """`call` for code without an event loop."""
    try:
        return ray.get(reply, timeout=timeout_s)
    except RayError as error:
        raise _translated(error) from None


def _translated(error: RayError) -> Exception:
    """Ray says that an actor is gone in many ways: killed for memory, never placed, its environment not made, ..."""
    if isinstance(error, RayTaskError):
        return error.cause if isinstance(error.cause, RayJobsError) else error
    if isinstance(error, TimeoutError):
        return error
    return ActorGone(str(error))


async def ask(reply: Awaitable[T]) -> T:
    """`call` for what is answered from memory; raises `TimeoutError` after `PING_TIMEOUT_S`."""
    async with asyncio.timeout(PING_TIMEOUT_S):
        return await call(reply)


async def outlived(handle: ActorHandle) -> Any:
    """What the actor's `lifetime` returns when it is over; raises `ActorGone` if it died.

    An actor whose connection broke is asked again before it counts as dead.
    """
    while True:
        try:
            return await call(handle.lifetime.remote())
        except ActorGone:
            if not await _answers(handle):
                raise
            await asyncio.sleep(RETRY_S)


async def _answers(handle: ActorHandle) -> bool:
    try:
        await ask(handle.ping.remote())
    except (ActorGone, TimeoutError):
        return False
    return True


async def find(name: str) -> ActorHandle:
    """The actor of that name, looked up off the event loop, which the look-up would block; raises `ActorGone`."""
    return await asyncio.get_running_loop().run_in_executor(None, find_now, name)


def find_now(name: str) -> ActorHandle:
    """`find` for code without an event loop. Asked for an actor without a cluster, Ray would start one."""
    if not ray.is_initialized():
        raise ActorGone("not on a Ray cluster")
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        raise ActorGone(f"no actor named {name} in the namespace {NAMESPACE}") from None


def kill(handle: ActorHandle) -> None:
    """End the actor's process at once, and for good; nothing happens to one that is gone."""
    with contextlib.suppress(RayError, ValueError):
        ray.kill(handle, no_restart=True)


async def end(name: str, handle: ActorHandle) -> None:
    """Kill the actor and wait until its name is free again, which Ray does a moment later."""
    kill(handle)
    with contextlib.suppress(ActorGone):
        while (await find(name))._actor_id == handle._actor_id:
            await asyncio.sleep(0.01)


def ensure_store(settings: Settings) -> ActorHandle:
    """The cluster's job store, started on this node (its data directory is here) unless there is one."""
    from rayjobs.store.store import Store

    return _ensure(Store, STORE).remote(str(settings.data_path), settings.inline_result_bytes)


def ensure_supervisor(settings: Settings) -> ActorHandle:
    """The cluster's supervisor, started on this node unless there is one."""
    from rayjobs.supervisor import Supervisor

    return _ensure(Supervisor, SUPERVISOR).remote(settings)


def _ensure(actor_class: type, name: str) -> Any:
    """One of a kind on the cluster. Ray starts it again when it dies, and meanwhile holds the calls to it back.

    A call that was under way is made again, so each method must bear that.
    """
    return _as_actor(actor_class).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=-1,
        scheduling_strategy=_on_node(node_id()),
    )


async def node_shares() -> list[NodeShare]:
    """The living nodes of the cluster: their resources, and what of them is free."""
    return await asyncio.get_running_loop().run_in_executor(None, _node_shares)


def _node_shares() -> list[NodeShare]:
    free = ray._private.state.available_resources_per_node()
    return [NodeShare(node["Resources"], free.get(node["NodeID"], {})) for node in ray.nodes() if node["Alive"]]


def host_actor_name(host_id: str) -> str:
    """The name under which `ray.get_actor` finds a Spark host."""
    return f"spark:{host_id}"


async def host_ids() -> set[str]:
    """Ids of the Spark hosts that there are."""
    names = await asyncio.get_running_loop().run_in_executor(None, ray.util.list_named_actors)
    return {name.removeprefix("spark:") for name in names if name.startswith("spark:")}


async def node_of(handle: ActorHandle) -> str:
    """The Ray node that the actor is on."""
    find_out = ray._private.state.state.actor_table
    actor = await asyncio.get_running_loop().run_in_executor(None, find_out, handle._actor_id.hex())
    return actor["Address"]["NodeID"]


def spawn_context(
    context_name: str, settings: Settings, info: Any, host: ActorHandle | None = None, node: str | None = None
) -> ActorHandle:
    """A new context's actor, which answers once Ray has placed it; its Spark starts with `initialise`.

    One that uses a `host` must be on its `node`.
    """
    from rayjobs.context import Context

    return _detached(Context, context_actor_name(context_name), settings, node).remote(settings, info, host)


def spawn_host(host_id: str, settings: Settings) -> ActorHandle:
    """A new Spark host's actor; its Spark starts with `initialise`."""
    from rayjobs.spark_host import SparkHost

    return _detached(SparkHost, host_actor_name(host_id), settings, None).remote(settings, host_id)


def _detached(actor_class: type, name: str, settings: Settings, node: str | None) -> Any:
    variables = _context_variables()
    return _as_actor(actor_class).options(
        name=name,
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=0,
        max_restarts=0,
        runtime_env={"env_vars": variables} if variables else None,
        scheduling_strategy=_on_node(node) if node else None,
    )


@functools.cache
def _as_actor(actor_class: type) -> Any:
    """It as a class of Ray's, made once: of each one that is new to it, Ray (2.60) disassembles all code, for 35 ms."""
    return ray.remote(actor_class)


async def prestart_workers(count: int) -> None:
    """Have this node's raylet start that many Python workers ahead, for actors of this process's Ray job.

    An actor in a worker that is up starts in 0.3 s, else in 0.7 s. Ray (2.60) has no Python call for it, and tasks that
    finish do not help: a detached actor never gets the worker of another one's task. So this is the raylet's own call.
    """
    await asyncio.get_running_loop().run_in_executor(None, _prestart_workers, count)


def _prestart_workers(count: int) -> None:
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.common_pb2 import Language
    from ray.core.generated.node_manager_pb2 import PrestartWorkersRequest
    from ray.core.generated.node_manager_pb2_grpc import NodeManagerServiceStub

    node = ray._private.worker._global_node
    request = PrestartWorkersRequest(
        language=Language.PYTHON,
        job_id=ray.JobID.from_hex(ray.get_runtime_context().get_job_id()).binary(),
        keep_alive_duration_secs=PRESTARTED_KEPT_S,
        num_workers=count,
    )
    with init_grpc_channel(f"{node.node_ip_address}:{node.node_manager_port}") as channel:
        NodeManagerServiceStub(channel).PrestartWorkers(request, timeout=CONNECT_TIMEOUT_S)


def spawn_runner(name: str, session: jvm.SessionAddress) -> ActorHandle:
    """A runner beside the actor that calls this: same node, dies with it; attached to the application of `session`."""
    from rayjobs.runner import Runner

    options = _as_actor(Runner).options(
        name=name,
        namespace=NAMESPACE,
        num_cpus=0,
        max_restarts=0,
        max_concurrency=1,
        scheduling_strategy=_on_node(node_id()),
    )
    return options.remote(session)


def set_title(title: str) -> None:
    """What `ps` and Ray's dashboard show as this process."""
    ray._raylet.setproctitle(f"ray::{title}")


def show_job(name: str, job_id: str) -> None:
    """Have Ray's dashboard show a job of this context, as an actor task of that name, until it is over."""
    ray.get_runtime_context().current_actor.job_over.options(name=name).remote(job_id)


def _on_node(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


def _context_variables() -> dict[str, str]:
    """For clusters whose `ray start` lacked them; the executors' side still needs `rayjobs env` there."""
    needed = worker_environment()
    wanted = {key: needed[key] for key in ("PYSPARK_PYTHON", "JDK_JAVA_OPTIONS")}
    return {key: value for key, value in wanted.items() if os.environ.get(key) != value}
