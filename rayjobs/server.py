"""The composition root: settings, then Ray, then the actors, then the HTTP app."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.supervisors import Multiprocess

from rayjobs import cluster, local_ray
from rayjobs.cluster_service import ClusterService
from rayjobs.errors import ActorGone
from rayjobs.http_worker import HttpWorker
from rayjobs.predefined import upload_predefined
from rayjobs.settings import Settings
from rayjobs.start_anew import Handover, RayWatch, handed_over
from rayjobs.web.app import create_app

ACTOR_START_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 120.0
BACKLOG = 2048


def serve(settings: Settings, say: Callable[[str], None], progress: Callable[[str], None]) -> None:
    """Serve HTTP until SIGINT or SIGTERM; then a Ray that we own goes down, after its contexts.

    We own the Ray of our data directory unless another server of that directory lives; one that the settings
    name is never ours. When a Ray that we own ends before us, we start anew.
    """
    settings.data_path.mkdir(parents=True, exist_ok=True)
    _unwind_on_sigterm()
    before = handed_over()
    with _http_socket(settings, before) as listener, local_ray.ownership(settings.data_path) as is_owner:
        ray = _local_ray(settings, is_owner, progress)
        watch = RayWatch(ray, listener, say, before.tries if before else 0) if ray and is_owner else None
        try:
            with watch.watching() if watch else contextlib.nullcontext():
                service = _joined(settings, ray, progress)
                listener.listen(BACKLOG)
                _announce(settings, listener, ray, say)
                _serve_http(service, settings, listener, ray.address if ray else settings.ray_address, watch)
        except KeyboardInterrupt:
            pass
        finally:
            if ray and is_owner:
                say("stopping: contexts first, then Ray")
                _take_down(ray, settings)
            cluster.leave()
        say("stopped")


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """End all contexts and our actors on the cluster; and the server and Ray of our data directory.

    Raises ConnectionError if there is no cluster at the address in the settings.
    """
    if settings.ray_address:
        local_ray.ensure_token()
        cluster.join(settings.ray_address)
        _end_service()
        cluster.leave()
    elif server := local_ray.owner(settings.data_path):
        server.send_signal(signal.SIGTERM)
        server.wait(SHUTDOWN_TIMEOUT_S)
    elif ray := local_ray.find(settings.data_path):
        cluster.join(ray.address)
        _take_down(ray, settings)
    else:
        say(f"nothing runs for the data directory {settings.data_path}")
        return
    say("stopped")


def _unwind_on_sigterm() -> None:
    """SIGTERM ends us like Ctrl-C, through every `finally`; Ray and uvicorn put handlers of their own in between."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _http_socket(settings: Settings, before: Handover | None) -> socket.socket:
    """Bound first of all, so that a taken port is an error at once, before anything was started.

    The one that the program before us had goes on, with the requests that wait on it.
    Its protocol is named because asyncio sets TCP_NODELAY only where it is: 40 ms of each reply otherwise.
    """
    if before:
        return socket.socket(fileno=before.socket_fd)
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another --port, 0 for any"
        ) from None
    return listener


def _local_ray(settings: Settings, is_owner: bool, progress: Callable[[str], None]) -> local_ray.LocalRay | None:
    """The Ray of our data directory, started if need be; None if the settings name a cluster to join instead."""
    if settings.ray_address:
        return None
    if not is_owner:
        return local_ray.wait_for(settings.data_path, progress)
    return local_ray.find(settings.data_path) or local_ray.start(settings, progress)


def _joined(settings: Settings, ray: local_ray.LocalRay | None, progress: Callable[[str], None]) -> ClusterService:
    """Become a driver on the cluster, and make sure that it has our job store and our supervisor."""
    local_ray.ensure_token()
    address = ray.address if ray else settings.ray_address
    progress(f"joining Ray at {address}")
    cluster.join(address)
    _unwind_on_sigterm()
    progress("starting the job store")
    cluster.wait(cluster.ensure_store(settings).ping.remote(), ACTOR_START_TIMEOUT_S)
    service = ClusterService(settings.max_binary_bytes, settings.max_data_bytes)
    # Before there is a supervisor: predefined contexts, which it starts, may have them on their class path.
    asyncio.run(_upload_predefined(service, settings))
    progress("starting the supervisor")
    cluster.wait(cluster.ensure_supervisor(settings).ready.remote(), ACTOR_START_TIMEOUT_S)
    return service


async def _upload_predefined(service: ClusterService, settings: Settings) -> None:
    try:
        await upload_predefined(service, settings.predefined_binaries)
    finally:
        service.close()


def _announce(
    settings: Settings, listener: socket.socket, ray: local_ray.LocalRay | None, say: Callable[[str], None]
) -> None:
    say(f"data in {settings.data_path}")
    say(f"Ray at {ray.address if ray else settings.ray_address}")
    if url := cluster.dashboard_url():
        say(f"Ray dashboard on {url}")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    say(f"serving on http://{host}:{listener.getsockname()[1]}")


def _serve_http(
    service: ClusterService, settings: Settings, listener: socket.socket, ray_address: str, watch: RayWatch | None
) -> None:
    options = {"log_level": "warning", "access_log": False, "timeout_graceful_shutdown": 5}
    if settings.http_processes == 1:
        server = uvicorn.Server(uvicorn.Config(create_app(service, settings), **options))
        if watch:
            watch.serves(lambda: server.should_exit)
        server.run(sockets=[listener])
        return
    worker = HttpWorker(settings, ray_address)
    config = uvicorn.Config(worker, factory=True, workers=settings.http_processes, **options)
    processes = Multiprocess(config, sockets=[listener])
    if watch:
        watch.serves(processes.should_exit.is_set)
    try:
        processes.run()
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _unwind_on_sigterm()


def _take_down(ray: local_ray.LocalRay, settings: Settings) -> None:
    """End the service in order, then Ray; Ray also if that order fails or a second signal cuts it short."""
    try:
        _end_service()
    finally:
        cluster.leave()
        local_ray.stop(ray, settings.data_path)


def _end_service() -> None:
    """Stop the contexts (their jobs' infos saved), then the actors; what is gone already is no failure."""
    with contextlib.suppress(ActorGone):
        supervisor = cluster.find_now(cluster.SUPERVISOR)
        cluster.wait(supervisor.shutdown.remote(), SHUTDOWN_TIMEOUT_S)
        cluster.kill(supervisor)
    with contextlib.suppress(ActorGone):
        store = cluster.find_now(cluster.STORE)
        cluster.wait(store.close.remote(), SHUTDOWN_TIMEOUT_S)
        cluster.kill(store)
