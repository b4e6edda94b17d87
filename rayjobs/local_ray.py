"""A Ray cluster on this machine that belongs to one data directory, and outlives the server that started it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rayjobs import cluster
from rayjobs.settings import Settings

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


class RayNotStarted(RuntimeError):
    """`ray start` ended, or did not come up in time; the message holds the end of its output."""


@dataclass(frozen=True)
class LocalRay:
    """What `ray.json` in the data directory says: enough to join this Ray again, and to end it."""

    address: str
    pid: int
    started: float
    temp_dir: str


def find(data_dir: Path) -> LocalRay | None:
    """The Ray that was started for this data directory, if its process still lives."""
    try:
        ray = LocalRay(**json.loads(_record(data_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return ray if _process(ray) else None


def start(settings: Settings, progress: Callable[[str], None]) -> LocalRay:
    """Start Ray's head on this machine, in a session of its own; raises `RayNotStarted`.

    It binds to this machine's own address, asks callers for a token, and has a CPU budget, not a measure: a
    second small context must be schedulable on a laptop.
    """
    ensure_token()
    temp_dir = Path(tempfile.mkdtemp(prefix="rayjobs-ray-"))
    log_file = settings.data_path / "ray.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            _command(settings, temp_dir),
            env=os.environ | cluster.worker_environment(settings) | _ray_variables(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = _await_address(process, temp_dir, log_file, progress)
    ray = LocalRay(address, process.pid, psutil.Process(process.pid).create_time(), str(temp_dir))
    _record(settings.data_path).write_text(json.dumps(asdict(ray)))
    return ray


def stop(ray: LocalRay, data_dir: Path) -> None:
    """End this Ray and all it runs, by its own process and session; returns when they are gone."""
    process = _process(ray)
    if process:
        members = process.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        _, alive = psutil.wait_procs([process, *members], timeout=STOP_TIMEOUT_S)
        for left in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
        psutil.wait_procs(alive, timeout=STOP_TIMEOUT_S)
    shutil.rmtree(ray.temp_dir, ignore_errors=True)
    _record(data_dir).unlink(missing_ok=True)


def ensure_token() -> None:
    """Ray's processes and clients authenticate with the token in `~/.ray/auth_token`; made at first start."""
    if os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError), open(path, "x", opener=_owner_only) as file:
        file.write(secrets.token_hex(32))


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _record(data_dir: Path) -> Path:
    return data_dir / "ray.json"


def _process(ray: LocalRay) -> psutil.Process | None:
    """Its process, unless the pid went to another one."""
    try:
        process = psutil.Process(ray.pid)
        same = abs(process.create_time() - ray.started) < 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def _command(settings: Settings, temp_dir: Path) -> list[str]:
    budget = settings.ray_num_cpus or max(32, 8 * (os.cpu_count() or 1))
    taken: set[int] = set()
    dashboard = _free_port(settings.ray_dashboard_port, taken)
    return [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
        "--port=0",
        "--node-ip-address=127.0.0.1",
        f"--temp-dir={temp_dir}",
        f"--num-cpus={budget}",
        f"--object-store-memory={settings.ray_object_store_bytes}",
        "--include-dashboard=true",
        f"--dashboard-port={dashboard}",
        f"--dashboard-agent-listen-port={_free_port(0, taken)}",
        f"--ray-client-server-port={_free_port(0, taken)}",
        "--min-worker-port=0",
        "--max-worker-port=0",
    ]


def _ray_variables() -> dict[str, str]:
    """No worker per CPU of the budget at the first driver (seconds of a small machine), no wait for proxies at the end."""
    return {"RAY_prestart_worker_first_driver": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}


def _free_port(wanted: int, taken: set[int]) -> int:
    """`wanted` if it is free, else any free port that is not in `taken`, which gets it."""
    for candidate in (wanted, 0, 0, 0, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            port = probe.getsockname()[1]
        if port not in taken:
            taken.add(port)
            return port
    raise RayNotStarted("no free port on this machine")


def _await_address(
    process: subprocess.Popen[bytes], temp_dir: Path, log_file: Path, progress: Callable[[str], None]
) -> str:
    """Ray writes its address to a file once its parts are up."""
    said = temp_dir / "ray_current_cluster"
    begun = time.monotonic()
    while not (said.exists() and said.read_text().strip()):
        waited = time.monotonic() - begun
        if process.poll() is not None or waited > START_TIMEOUT_S:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            shutil.rmtree(temp_dir, ignore_errors=True)
            end = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
            raise RayNotStarted(f"Ray did not start; the end of {log_file}:\n{end}")
        progress(f"starting Ray ({waited:.0f} s)")
        time.sleep(0.1)
    return said.read_text().strip()
