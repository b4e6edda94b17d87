"""The composition root: settings, then Ray, then the actors, then the HTTP app."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import uvicorn

from rayjobs import cluster, local_ray
from rayjobs.cluster_service import ClusterService
from rayjobs.errors import ActorGone
from rayjobs.settings import Settings
from rayjobs.web.app import create_app

ACTOR_START_TIMEOUT_S = 60.0
SHUTDOWN_TIMEOUT_S = 120.0


def serve(settings: Settings, say: Callable[[str], None], progress: Callable[[str], None]) -> None:
    """Serve HTTP until SIGINT or SIGTERM. A Ray that belongs to our data directory then goes down as well."""
    with _http_socket(settings) as listener:
        settings.data_path.mkdir(parents=True, exist_ok=True)
        own = _join(settings, progress)
        try:
            progress("starting the supervisor and the job store")
            cluster.wait(cluster.ensure_store(settings).ping.remote(), ACTOR_START_TIMEOUT_S)
            cluster.wait(cluster.ensure_supervisor(settings).ready.remote(), ACTOR_START_TIMEOUT_S)
            _announce(settings, listener, own, say)
            _serve_http(settings, listener)
        finally:
            if own:
                say("stopping: contexts first, then Ray")
                _end_service()
            cluster.leave()
            if own:
                local_ray.stop(own, settings.data_path)
            say("stopped")


def stop(settings: Settings, say: Callable[[str], None]) -> None:
    """End all contexts and our actors on the cluster, and a Ray that belongs to our data directory.

    Raises ConnectionError if there is no cluster to be found.
    """
    own = None if settings.ray_address else local_ray.find(settings.data_path)
    if not (own or settings.ray_address):
        say(f"nothing runs for the data directory {settings.data_path}")
        return
    local_ray.ensure_token()
    cluster.join(own.address if own else settings.ray_address)
    _end_service()
    cluster.leave()
    if own:
        local_ray.stop(own, settings.data_path)
    say("stopped")


def _http_socket(settings: Settings) -> socket.socket:
    """Bound first of all, so that a taken port is an error at once, before anything was started."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise OSError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another --port, 0 for any"
        ) from None
    return listener


def _join(settings: Settings, progress: Callable[[str], None]) -> local_ray.LocalRay | None:
    """Join the cluster the settings name, else the one of our data directory, started if need be: then ours."""
    local_ray.ensure_token()
    if settings.ray_address:
        progress(f"joining Ray at {settings.ray_address}")
        cluster.join(settings.ray_address)
        return None
    own = local_ray.find(settings.data_path) or local_ray.start(settings, progress)
    cluster.join(own.address)
    return own


def _announce(
    settings: Settings, listener: socket.socket, own: local_ray.LocalRay | None, say: Callable[[str], None]
) -> None:
    say(f"data in {settings.data_path}")
    if own:
        say(f"Ray at {own.address}")
    if url := cluster.dashboard_url():
        say(f"Ray dashboard on {url}")
    say(f"serving on http://{settings.host}:{listener.getsockname()[1]}")


def _serve_http(settings: Settings, listener: socket.socket) -> None:
    app = create_app(ClusterService(settings.max_binary_bytes), settings)
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=5)
    uvicorn.Server(config).run(sockets=[listener])


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
