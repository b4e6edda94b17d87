"""One of several processes that serve HTTP on one socket; uvicorn starts them, and starts those that die again."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from starlette.applications import Starlette

from rayjobs import cluster
from rayjobs.cluster_service import ClusterService
from rayjobs.settings import Settings
from rayjobs.web.app import create_app


@dataclass(frozen=True)
class HttpWorker:
    """Called in the new process: joins Ray, and makes the application."""

    settings: Settings
    ray_address: str

    def __call__(self) -> Starlette:
        threading.Thread(target=_end_with_parent, daemon=True).start()
        with _signals_kept():
            cluster.join(self.ray_address)
        return create_app(ClusterService(self.settings.max_binary_bytes, self.settings.max_data_bytes), self.settings)


def _end_with_parent() -> None:
    """Who serves without its parent would hold the port, and nobody could end it."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """uvicorn's handlers stay: joining Ray would put one in place of them that ends the process at once."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
