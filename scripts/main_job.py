"""The main job, end to end: service, upload, context, a sync job over HTTP; its answer checked in plain Python."""

from __future__ import annotations

import argparse
import contextlib
import heapq
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

from rayjobs.settings import Settings

T = TypeVar("T")

REPOSITORY = Path(__file__).resolve().parents[1]
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
NOT_ITS_OWN = ("site-packages", "dist-packages")
START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 180.0
JOB_TIMEOUT_S = 600
TOP = 20
CONTEXT = "main"
APP = "examples"


class Mismatch(RuntimeError):
    """The service's answer is not the one that plain Python has, or it refused."""


def main() -> None:
    options = _options()
    with contextlib.ExitStack() as stack:
        data_dir = options.data_dir or (Settings().data_path if options.keep else _temporary_folder(stack))
        wheel = step("building the example package", lambda: build_wheel(_temporary_folder(stack)))
        url = stack.enter_context(service(data_dir, options.port, options.keep))
        with httpx.Client(base_url=url, timeout=JOB_TIMEOUT_S) as http:
            summary = run(http, wheel)
        if options.keep:
            print(f"the service stays up: {url}; end it with: .venv/bin/rayjobs stop --data-dir {data_dir}")
    print(summary)


def run(http: httpx.Client, wheel: Path) -> str:
    """Upload, make a context, count words cold and warm; the line that sums it up."""
    step("uploading it", lambda: upload(http, wheel))
    begun = time.monotonic()
    step("creating a context", lambda: expect(200, http.post(f"/contexts/{CONTEXT}")))
    counted = step("counting the words of Python's standard library", lambda: count_words(http, STANDARD_LIBRARY))
    cold_s = time.monotonic() - begun
    begun = time.monotonic()
    expected = step("counting them again in plain Python", lambda: plain_count(STANDARD_LIBRARY))
    print(f"  the job took {counted['duration']}, plain Python {time.monotonic() - begun:.1f} s")
    compare(counted["result"], expected)
    show(counted["result"])
    begun = time.monotonic()
    small = step("running a small job on the warm context", lambda: count_words(http, STANDARD_LIBRARY / "json"))
    warm_s = time.monotonic() - begun
    compare(small["result"], plain_count(STANDARD_LIBRARY / "json"))
    step("deleting the context", lambda: expect(200, http.delete(f"/contexts/{CONTEXT}")))
    return f"main job: OK, {expected['words']} words, cold {cold_s:.1f} s, warm {warm_s * 1000:.0f} ms"


def upload(http: httpx.Client, wheel: Path) -> None:
    content_type = {"Content-Type": "application/python-wheel"}
    expect(201, http.post(f"/binaries/{APP}", content=wheel.read_bytes(), headers=content_type))


def count_words(http: httpx.Client, folder: Path) -> dict[str, Any]:
    """The reply to a sync word count of the Python sources in `folder`."""
    job = {"appName": APP, "classPath": "rayjobs_examples.words.WordCount", "context": CONTEXT}
    config = {"input": str(folder), "pattern": "*.py", "exclude": NOT_ITS_OWN, "top": TOP}
    reply = expect(200, http.post("/jobs", params={**job, "sync": True, "timeout": JOB_TIMEOUT_S}, json=config)).json()
    if reply["status"] != "FINISHED":
        raise Mismatch(f"the job ended in {reply['status']}: {reply['result']['message']}\n{reply['result']['stack']}")
    return reply


def plain_count(folder: Path) -> dict[str, Any]:
    """What the word count must return, without Spark."""
    counts: Counter[bytes] = Counter()
    files = [path for path in folder.rglob("*.py") if path.is_file() and not _is_foreign(path.relative_to(folder))]
    for file in files:
        counts.update(re.findall(rb"[A-Za-z0-9_]+", file.read_bytes()))
    top = heapq.nsmallest(TOP, counts.items(), key=lambda item: (-item[1], item[0]))
    return {
        "files": len(files),
        "words": counts.total(),
        "distinct": len(counts),
        "top": [[word.decode(), count] for word, count in top],
    }


def compare(got: dict[str, Any], expected: dict[str, Any]) -> None:
    for key, value in expected.items():
        if got.get(key) != value:
            raise Mismatch(f"{key}: the service answered {got.get(key)}, plain Python counts {value}")


def show(result: dict[str, Any]) -> None:
    print(f"  {result['words']} words, {result['distinct']} different ones, in {result['files']} files; the top {TOP}:")
    print("  " + ", ".join(f"{word} {count}" for word, count in result["top"]))


def expect(status: int, response: httpx.Response) -> httpx.Response:
    if response.status_code != status:
        raise Mismatch(f"{response.request.method} {response.request.url}: {response.status_code} {response.text}")
    return response


def build_wheel(folder: Path) -> Path:
    """Built of a copy: setuptools writes beside the sources."""
    source = shutil.copytree(REPOSITORY / "docs" / "examples", folder / "source")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    built = subprocess.run([*command, "--wheel-dir", str(folder), str(source)], capture_output=True, text=True)
    if built.returncode:
        raise RuntimeError(f"the example package cannot be built:\n{built.stderr}")
    return next(folder.glob("*.whl"))


@contextlib.contextmanager
def service(data_dir: Path, port: int, keep: bool) -> Iterator[str]:
    """The address of a `rayjobs serve` of our own; stopped at the end, unless it is kept and all went well."""
    data_dir.mkdir(parents=True, exist_ok=True)
    log = data_dir / "serve.log"
    command = [sys.executable, "-m", "rayjobs", "serve", "--data-dir", str(data_dir), "--port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
    kept = False
    try:
        said = step("starting the service", lambda: _await_line(process, log, "serving on "))
        for line in said.splitlines():
            print(f"  {line.removeprefix('rayjobs: ')}")
        yield said.rpartition("serving on ")[2].strip()
        kept = keep
    finally:
        if not kept and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            step("stopping the service", lambda: process.wait(STOP_TIMEOUT_S))


def _await_line(process: subprocess.Popen[bytes], log: Path, wanted: str) -> str:
    """The log, once it holds the line."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while wanted not in (said := log.read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the service did not start:\n{said}")
        time.sleep(0.05)
    return said


def step(what: str, work: Callable[[], T]) -> T:
    """Do a piece of work; on a terminal its seconds count up meanwhile."""
    begun = time.monotonic()
    done = threading.Event()
    ticking = threading.Thread(target=_tick, args=(what, begun, done), daemon=True)
    if sys.stdout.isatty():
        ticking.start()
    try:
        result = work()
    finally:
        done.set()
        if ticking.is_alive():
            ticking.join()
    print(f"{what}: {time.monotonic() - begun:.2f} s", flush=True)
    return result


def _tick(what: str, begun: float, done: threading.Event) -> None:
    while not done.wait(0.2):
        print(f"\r{what} ... {time.monotonic() - begun:.0f} s", end="", flush=True)
    print("\r\033[K", end="", flush=True)


def _is_foreign(path: Path) -> bool:
    return any(part in NOT_ITS_OWN for part in path.parts[:-1])


def _temporary_folder(stack: contextlib.ExitStack) -> Path:
    return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayjobs-")))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/run", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the service up at the end")
    parser.add_argument("--port", type=int, default=0, help="port to serve on (default: any free one)")
    parser.add_argument(
        "--data-dir", type=Path, help="where the service keeps its data (default: a temporary folder; kept: data home)"
    )
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except (Mismatch, RuntimeError, httpx.HTTPError, OSError) as error:
        sys.exit(f"main job: FAILED, {error}")
    except KeyboardInterrupt:
        sys.exit("main job: interrupted")
