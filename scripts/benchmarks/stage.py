"""The real parts that rows share: a service on a Ray of its own, contexts, uploaded jobs; made when first asked for."""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rayjobs import cluster
from scripts.benchmarks.measured import Series
from scripts.benchmarks.progress import counted

T = TypeVar("T")

APP = "bench"
JOBS = Path(__file__).parent / "jobs" / "bench_jobs.py"
CONTEXT = "bench"
STOP_TIMEOUT_S = 150.0
HTTP_TIMEOUT_S = 600.0
PAUSE_S = 1.0
"""Between contexts that one after another asks for."""


@dataclass
class Service:
    """One `rayjobs serve`, up and answering."""

    process: subprocess.Popen[str]
    url: str
    ray_address: str
    data_dir: Path

    @cached_property
    def http(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=HTTP_TIMEOUT_S)


@dataclass
class Stage:
    """Ends what it made when it is closed. `scale` multiplies the numbers of runs."""

    scale: float = 1.0
    _ends: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _made: dict[Any, Any] = field(default_factory=dict)

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.close()

    def runs(self, usual: int) -> int:
        """How often to measure what is usually measured so often."""
        return max(1, round(usual * self.scale))

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What `make` returned when this was first asked for."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    def lasting(self, key: str, part: Callable[[], contextlib.AbstractContextManager[T]]) -> T:
        """A part that stays up until the stage is closed."""
        return self.once(key, lambda: self._ends.enter_context(part()))

    @property
    def service(self) -> Service:
        """The service that most rows share, of the default settings."""
        return self.lasting("service", lambda: serving(""))

    @property
    def http(self) -> httpx.Client:
        return self.service.http

    @property
    def context(self) -> str:
        """The name of a warm context of two cores, on the shared service."""

        def warm() -> str:
            create_context(self.http, CONTEXT, "num-cpu-cores=2")
            run_job(self.http, "bench_jobs.Range", CONTEXT)
            return CONTEXT

        return self.once("context", warm)


@contextlib.contextmanager
def serving(settings: str, fill: Callable[[Path], None] | None = None) -> Iterator[Service]:
    """A service of its own with these settings, that has `jobs/bench_jobs.py` as the binary `bench`.

    `fill` puts into its data directory what is to be there before it starts.
    """
    with tempfile.TemporaryDirectory(prefix="rayjobs-bench-", ignore_cleanup_errors=True) as name:
        data_dir = Path(name) / "data"
        data_dir.mkdir()
        if fill:
            fill(data_dir)
        config, log = Path(name) / "rayjobs.conf", Path(name) / "serve.log"
        config.write_text("ray.dashboard-port = 0\n" + settings)
        process = _serve(data_dir, config, log)
        try:
            said = _said(process, log)
            service = Service(process, said["serving on "], said["Ray at "], data_dir)
            upload(service.http, APP, zip_of(JOBS))
            yield service
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)


def _serve(data_dir: Path, config: Path, log: Path) -> subprocess.Popen[str]:
    """In a session of its own: Ctrl-C is for the benchmark, which then ends the service in order."""
    command = [sys.executable, "-m", "rayjobs", "serve", "--port", "0", "--data-dir", str(data_dir)]
    with log.open("w") as file:
        return subprocess.Popen(
            [*command, "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            start_new_session=True,
        )


def _said(process: subprocess.Popen[str], log: Path) -> dict[str, str]:
    """Addresses out of the lines that a server prints, the last of which says where it serves."""
    said: dict[str, str] = {}
    assert process.stdout
    for line in process.stdout:
        for key in ("Ray at ", "serving on "):
            if key in line:
                said[key] = line.split(key)[1].strip()
        if "serving on " in said:
            return said
    raise RuntimeError(f"the service did not start:\n{log.read_text()}")


@contextlib.contextmanager
def on_ray(address: str) -> Iterator[None]:
    """This process is a driver on that Ray meanwhile."""
    cluster.join(address)
    try:
        yield
    finally:
        cluster.leave()


def zip_of(*files: Path) -> bytes:
    """A binary of these files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return content.getvalue()


def upload(http: httpx.Client, app: str, content: bytes) -> None:
    _expect(http.post(f"/binaries/{app}", content=content, headers={"Content-Type": "application/zip"}), 201)


def create_context(http: httpx.Client, name: str, settings: str = "num-cpu-cores=1&memory-per-node=1g") -> None:
    _expect(http.post(f"/contexts/{name}?{settings}"), 200)


def delete_context(http: httpx.Client, name: str) -> None:
    """Deleted, and gone."""
    reply = http.delete(f"/contexts/{name}")
    while reply.status_code == 202:
        time.sleep(0.1)
        reply = http.delete(f"/contexts/{name}")
    if reply.status_code != 404:
        _expect(reply, 200)


def run_job(http: httpx.Client, class_path: str, context: str | None, app: str = APP, **config: Any) -> Any:
    """The result of a sync job."""
    job = {"appName": app, "classPath": class_path, "sync": "true", "timeout": int(HTTP_TIMEOUT_S)}
    reply = _expect(http.post("/jobs", params=job | ({"context": context} if context else {}), json=config), 200)
    if reply["status"] != "FINISHED":
        raise RuntimeError(f"{class_path}: {reply}")
    return reply["result"]


def awaited(what: Callable[[], T], timeout_s: float, why: str) -> T:
    """The first value of `what` that is true; raises `RuntimeError` with `why`."""
    deadline = time.monotonic() + timeout_s
    while not (value := what()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"{why} within {timeout_s:g} s")
        time.sleep(0.1)
    return value


def timed(step: Callable[[], Any]) -> float:
    """Seconds that `step` takes."""
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def repeated(step: Callable[[], Any], runs: int, warm_up: int = 0) -> Series:
    """`step` timed so often, after runs that do not count."""
    for _ in range(warm_up):
        step()
    return Series([timed(step) for _ in counted(runs)], "s", warm_up)


def in_turn(ours: Callable[[], Any], other: Callable[[], float], runs: int, warm_up: int = 0) -> tuple[Series, Series]:
    """Both, one after the other, so that what disturbs the machine disturbs both; `other` says its own seconds."""
    for _ in range(warm_up):
        ours()
        other()
    pairs = [(timed(ours), other()) for _ in counted(runs)]
    return Series([a for a, _ in pairs], "s", warm_up), Series([b for _, b in pairs], "s", warm_up)


def _expect(reply: httpx.Response, status: int) -> Any:
    if reply.status_code != status:
        raise RuntimeError(f"{reply.request.method} {reply.request.url}: {reply.status_code} {reply.text}")
    return reply.json()
