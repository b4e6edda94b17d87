"""A Ray cluster on this machine that belongs to one data directory, and outlives the server that started it."""

from __future__ import annotations

import contextlib
import fcntl
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
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO

import psutil

from rayjobs import cluster, warm
from rayjobs.settings import Settings

START_TIMEOUT_S = 90.0
STOP_TIMEOUT_S = 15.0


class RayNotStarted(RuntimeError):
    """`ray start` ended, or did not come up in time; the message holds the end of its output."""


@dataclass(frozen=True)
class LocalRay:
    """What `ray.json` in the data directory says: enough to join this Ray again, and to end it.

    `address` is empty while it starts; `started` tells its process from another one that has its pid later.
    """

    address: str
    pid: int
    started: str
    temp_dir: str


@contextlib.contextmanager
def ownership(data_dir: Path) -> Iterator[bool]:
    """True inside for the one process that may start, and takes down, the Ray of this data directory.

    False while another one lives that has it; ownership ends with the process, however that ends.
    """
    with _lock_file(data_dir).open("a+") as file:
        if _lock(file):
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield True
        else:
            yield False


def owner(data_dir: Path) -> psutil.Process | None:
    """The living process that has the ownership of this data directory's Ray."""
    try:
        with _lock_file(data_dir).open("r+") as file:
            return None if _lock(file) else psutil.Process(int(file.read()))
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None


def find(data_dir: Path) -> LocalRay | None:
    """The Ray that was started for this data directory, if its process still lives."""
    ray = _recorded(data_dir)
    return ray if ray and ray.address and lives(ray) else None


def lives(ray: LocalRay) -> bool:
    """Whether its process does: `ray start`, which ends when one of Ray's parts has."""
    return _process(ray) is not None


def wait_for(data_dir: Path, progress: Callable[[str], None]) -> LocalRay:
    """The Ray that this data directory's owner has started or is about to start; raises `RayNotStarted`."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while (ray := find(data_dir)) is None:
        if time.monotonic() > deadline:
            raise RayNotStarted(f"another rayjobs serve has {data_dir}, and no Ray runs for it")
        progress("waiting for the Ray that another rayjobs serve starts")
        time.sleep(0.2)
    return ray


def start(settings: Settings, progress: Callable[[str], None]) -> LocalRay:
    """Start Ray's head on this machine, in a session of its own; raises `RayNotStarted`.

    It binds to this machine's own address, asks callers for a token, and has a CPU budget, not a measure: a
    second small context must be schedulable on a laptop. What a Ray of ours that was killed left is ended first.
    """
    ensure_token()
    if left := _recorded(settings.data_path):
        stop(left, settings.data_path)
    temp_dir = Path(tempfile.mkdtemp(prefix="rayjobs-ray-"))
    log_file = settings.data_path / "ray.log"
    with contextlib.suppress(FileNotFoundError):
        os.replace(log_file, log_file.with_suffix(".log.1"))
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            _command(settings, temp_dir),
            env=os.environ | cluster.worker_environment() | _ray_variables(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ray = LocalRay("", process.pid, _start_of(psutil.Process(process.pid)), str(temp_dir))
    _write_record(ray, settings.data_path)
    try:
        ray = replace(ray, address=_await_address(process, temp_dir, log_file, progress))
    except BaseException:
        stop(ray, settings.data_path)
        raise
    _write_record(ray, settings.data_path)
    return ray


def stop(ray: LocalRay, data_dir: Path) -> None:
    """End this Ray and all it runs, by its own process, session and directory; returns when they are gone."""
    members = _members(ray)
    if process := _process(ray):
        process.send_signal(signal.SIGTERM)
        _, members = psutil.wait_procs(members, timeout=STOP_TIMEOUT_S)
    for left in members:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    psutil.wait_procs(members, timeout=STOP_TIMEOUT_S)
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


def _recorded(data_dir: Path) -> LocalRay | None:
    try:
        return LocalRay(**json.loads(_record(data_dir).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _write_record(ray: LocalRay, data_dir: Path) -> None:
    """Whole or not at all: another server may be reading it."""
    draft = data_dir / f"ray.json.{os.getpid()}"
    draft.write_text(json.dumps(asdict(ray)))
    os.replace(draft, _record(data_dir))


def _lock_file(data_dir: Path) -> Path:
    return data_dir / "serve.lock"


def _lock(file: IO[str]) -> bool:
    """Take the lock that goes with the file's process; False if another one has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _members(ray: LocalRay) -> list[psutil.Process]:
    """Its process and all below it; and, once that is gone, who is of its session or names its directory."""
    process = _process(ray)
    if process:
        return [process, *process.children(recursive=True)]
    return [other for other in psutil.process_iter() if _belongs(other, ray)]


def _belongs(process: psutil.Process, ray: LocalRay) -> bool:
    try:
        return os.getsid(process.pid) == ray.pid or ray.temp_dir in " ".join(process.cmdline())
    except (psutil.Error, ProcessLookupError):
        return False


def _process(ray: LocalRay) -> psutil.Process | None:
    """Its process, unless the pid went to another one."""
    try:
        process = psutil.Process(ray.pid)
        same = _start_of(process) == ray.started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def _start_of(process: psutil.Process) -> str:
    """When it started, as no step of the system's clock changes it: on Linux in ticks since a boot."""
    try:
        stat = Path(f"/proc/{process.pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return str(process.create_time())
    return f"{boot} {stat.rpartition(')')[2].split()[19]}"


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
    """No worker per CPU of the budget at the first driver, which takes seconds; no wait for proxies at the end."""
    return {"RAY_prestart_worker_first_driver": "0", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0", **warm.HOOK}


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
            end = "\n".join(log_file.read_text(errors="replace").splitlines()[-15:])
            raise RayNotStarted(f"Ray did not start; the end of {log_file}:\n{end}")
        progress(f"starting Ray ({waited:.0f} s)")
        time.sleep(0.1)
    return said.read_text().strip()
