"""A real service for tests: `rayjobs serve` as a subprocess, on a Ray of its own and a free port."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from rayjobs import local_ray

JOBS = Path(__file__).parent / "jobs"
START_TIMEOUT_S = 120.0


def eventually(what: Callable[[], Any], timeout_s: float = 60.0, why: str | Callable[[], str] = "") -> Any:
    """The first truthy value of `what`, asked again and again; fails with `why` after `timeout_s`.

    That is when something does not happen at all, on a machine however slow: no test says how fast a thing is.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < deadline, (why() if callable(why) else why) or f"not within {timeout_s} s"
        time.sleep(0.05)


def zip_of(files: dict[str, str]) -> bytes:
    """A binary: an archive of these files, by name."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return content.getvalue()


@dataclass
class Service:
    """One `rayjobs serve`; `url` and `said` are those of its latest start."""

    data_dir: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    url: str = ""
    said: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait for its last line of start-up."""
        log = (self.data_dir.parent / f"{self.data_dir.name}-serve.log").open("a")
        command = [sys.executable, "-m", "rayjobs", "serve", "--port", "0", "--data-dir", str(self.data_dir)]
        self.process = subprocess.Popen(
            [*command, *self.arguments], stdout=subprocess.PIPE, stderr=log, text=True, env=self._environment()
        )
        log.close()
        self.said = []
        assert self.process.stdout
        for line in self.process.stdout:
            self.said.append(line.strip())
            if "serving on " in line:
                self.url = line.split("serving on ")[1].strip()
                return
        status = self._wait()
        raise AssertionError(f"the service ended with {status} as it started: {self.said}\n{self._logs()}")

    def _logs(self) -> str:
        """The ends of its own log, and of its Rays'."""
        logs = [self.data_dir.parent / f"{self.data_dir.name}-serve.log", *sorted(self.data_dir.glob("ray.log*"))]
        return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)

    def kill(self) -> None:
        """SIGKILL of the HTTP process alone."""
        assert self.process
        self.process.kill()
        self._wait()

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self._wait()

    def _wait(self) -> int:
        assert self.process and self.process.stdout
        status = self.process.wait(timeout=150)
        self.process.stdout.close()
        return status

    @property
    def ray_address(self) -> str:
        return next(line.split()[-1] for line in self.said if "Ray at " in line)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)

    def _environment(self) -> dict[str, str]:
        """Ours, with a Java on PATH that fails: the service must bring its own."""
        broken = self.data_dir.parent / "broken-java" / "java"
        broken.parent.mkdir(parents=True, exist_ok=True)
        broken.write_text("#!/bin/sh\nexit 97\n")
        broken.chmod(0o755)
        path = f"{broken.parent}{os.pathsep}{os.environ['PATH']}"
        return {k: v for k, v in os.environ.items() if k != "JAVA_HOME"} | {"PATH": path}


@contextmanager
def serving(folder: Path, settings: str) -> Iterator[Service]:
    """A service with these settings, without a dashboard, that has `tests/jobs/hello.py` as the binary `jobs`."""
    (folder / "jobs.zip").write_bytes(zip_of({"hello.py": (JOBS / "hello.py").read_text()}))
    always = f'ray.dashboard-port = 0\nbinaries.predefined {{ jobs = "{folder / "jobs.zip"}" }}\n'
    (folder / "rayjobs.conf").write_text(always + settings)
    service = Service(folder / "data", ["--config", str(folder / "rayjobs.conf")])
    service.start()
    try:
        yield service
    finally:
        status = service.stop()
    assert status == 0


class Api:
    """The calls that tests make most; each returns the HTTP response."""

    def __init__(self, client: httpx.Client):
        self.http = client

    def upload(self, app: str, content: bytes, content_type: str = "application/zip") -> httpx.Response:
        return self.http.post(f"/binaries/{app}", content=content, headers={"Content-Type": content_type})

    def upload_jobs(self, app: str, *modules: str, **replacements: str) -> None:
        """Upload modules of tests/jobs, with words replaced (to make versions)."""
        files = {}
        for module in modules:
            text = (JOBS / f"{module}.py").read_text()
            for word, replacement in replacements.items():
                text = text.replace(word, replacement)
            files[f"{module}.py"] = text
        assert self.upload(app, zip_of(files)).status_code == 201

    def start(self, app: str, class_path: str, context: str | None, config: str = "", **params: Any) -> httpx.Response:
        query = {"appName": app, "classPath": class_path, **params}
        if context:
            query["context"] = context
        return self.http.post("/jobs", params=query, content=config)

    def run(self, app: str, class_path: str, context: str | None, config: str = "") -> Any:
        """The result of a sync job that must succeed."""
        reply = self.start(app, class_path, context, config, sync="true", timeout=100)
        assert reply.status_code == 200, reply.text
        assert reply.json()["status"] == "FINISHED", reply.text
        return reply.json()["result"]

    def job(self, job_id: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job_id}").json()

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job's report once it is final; it is in the store by now."""
        final = {"FINISHED", "ERROR", "KILLED"}
        assert self.http.get(f"/jobs/{job_id}").status_code == 200
        return eventually(lambda: (job := self.job(job_id))["status"] in final and job, why=f"{job_id} runs on")

    def await_log(self, job_id: str, word: str) -> str:
        """The job's log once it holds `word`: how a test knows that a job got to a place."""
        return eventually(
            lambda: word in (text := self.http.get(f"/jobs/{job_id}/log").text) and text, why=f"no {word} in the log"
        )


def processes_with(word: str) -> list[psutil.Process]:
    """Processes whose command line or environment names `word`."""
    found = []
    for process in psutil.process_iter():
        try:
            if word in " ".join(process.cmdline()) or word in " ".join(process.environ().values()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def driver_of(word: str) -> psutil.Process | None:
    """The driver JVM of the Spark application whose id or folder is `word`."""
    return next((p for p in processes_with(word) if "PythonGatewayServer" in command_of(p)), None)


def is_alive(process: psutil.Process) -> bool:
    """False also for one that has ended and that its parent has not asked about yet."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def kill(process: psutil.Process) -> None:
    """SIGKILL, if it has not ended by itself."""
    with suppress(psutil.NoSuchProcess):
        process.kill()


def await_gone(word: str) -> None:
    """Until no process names `word`."""
    eventually(lambda: not processes_with(word), why=lambda: f"left behind: {processes_with(word)}")


def ray_processes(service: Service) -> list[psutil.Process]:
    """Those of the Ray that the service started, without its head."""
    head = local_ray.find(service.data_dir)
    assert head
    return psutil.Process(head.pid).children(recursive=True)


def ray_process(service: Service, title: str) -> psutil.Process:
    """One of the service's Ray processes by the title that Ray gives it, such as `ray::Supervisor`."""
    return next(process for process in ray_processes(service) if title_of(process) == title)


def command_of(process: psutil.Process) -> str:
    """Empty for what is gone."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def title_of(process: psutil.Process) -> str:
    """`ray::Context` of `ray::Context.lifetime`, while that runs."""
    return command_of(process).split(".")[0].strip()


@contextmanager
def unable_to_write(process: psutil.Process) -> Iterator[None]:
    """Each write of the process to a file fails, as on a disk that is full."""
    before = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_FSIZE, before)
