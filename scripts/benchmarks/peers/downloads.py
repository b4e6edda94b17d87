"""What peers need besides rayjobs' own packages: downloaded at first use, kept in the user's cache."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from scripts.benchmarks.rows import Skipped

SPARK_CONNECT = f"org.apache.spark:spark-connect_2.12:{version('pyspark')}"
LIVY = "org.apache.livy:livy-server:0.7.1-incubating"
GRPC_STATUS = f"grpcio-status=={version('grpcio')}"

TIMEOUT_S = 600.0

_POM = """<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>rayjobs</groupId><artifactId>benchmark-peer</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies><dependency>
    <groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version>
  </dependency></dependencies>
</project>
"""


def jars(artifact: str, with_dependencies: bool) -> Path:
    """The folder of a Maven artifact's jars, got with `mvn`. Raises `Skipped`."""

    def command(folder: Path) -> list[str]:
        pom = folder / "pom.xml"
        pom.write_text(_POM.format(*artifact.split(":")))
        return [
            *("mvn", "-B", "-q", "-f", str(pom), "dependency:copy-dependencies", "-DincludeScope=runtime"),
            *(f"-DoutputDirectory={folder}", f"-DexcludeTransitive={str(not with_dependencies).lower()}"),
        ]

    return _kept(artifact.replace(":", "-"), command)


def python_package(requirement: str) -> Path:
    """The folder to import a package from, without what it depends on. Raises `Skipped`."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps"]
    return _kept(requirement, lambda folder: [*pip, "--target", str(folder), requirement])


def _kept(name: str, command: Callable[[Path], list[str]]) -> Path:
    """The folder of that name in the cache, which the command fills if it is not there: whole, or not at all."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rayjobs-bench"
    folder = home / name
    if not folder.exists():
        home.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(dir=home))
        try:
            _run(command(draft), home / f"{name}.log")
            draft.rename(folder)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def _run(command: list[str], log_file: Path) -> None:
    """Raises `Skipped` if it cannot be run or fails; what it said goes to the log file, for it may be long."""
    tool = shutil.which(command[0])
    if tool is None:
        raise Skipped(f"{command[0]} is not installed")
    with log_file.open("w") as log:
        ended = subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, timeout=TIMEOUT_S)
    if ended.returncode:
        raise Skipped(f"{Path(tool).name} could not get it; why: {log_file.name} in the cache, {log_file.parent.name}")
