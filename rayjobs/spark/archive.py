"""An archive of the classes that Spark's JVMs load (AppCDS): parsed once on a machine, mapped at each start.

One serves drivers and executors, which have one class path. A JVM for which it is missing, or of other versions, starts
slower and says nothing of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import lzma
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CLASS_LIST = Path(__file__).with_name("classes.lst.xz")
"""Written by `scripts/class-list`. Classes in it that a machine's versions lack are left out of its archive."""

KEPT_S = 30 * 24 * 3600.0
"""Archives that no JVM was started with for that long go when another one is made."""

_DUMP_OPTIONS = ("-Xshare:dump", "-XX:+UseSerialGC", "-Xlog:disable", "-Xlog:all=error:stderr")
_USE_OPTIONS = (
    "-Xshare:auto -Xlog:cds=off -Xlog:cds+dynamic=off -XX:+UnlockDiagnosticVMOptions -XX:ArchiveRelocationMode=0"
)
"""Java 17 would map it to a random place, for which each JVM changes 135 MB of it, and shares these no more."""

_OPTIONS_ALWAYS_READ = ("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS")


class ArchiveNotMade(RuntimeError):
    """Java did not make an archive; the message holds what it said."""


@dataclass(frozen=True)
class Archive:
    """That of a Java runtime and a class path, which JVMs that use it have, or have at the beginning of theirs."""

    java_home: Path
    class_path: str

    @property
    def path(self) -> Path:
        """Where it is, or would be: named after all that it depends on."""
        return cache_folder() / f"classes-{self._key()}.jsa"

    def options(self) -> str:
        """What JVMs that are to use it have among their options, whether it is there or not."""
        return f"{shlex.quote(f'-XX:SharedArchiveFile={self.path}')} {_USE_OPTIONS}"

    def prepare(self) -> None:
        """To be called before a JVM starts: removes one that is cut off, of which the JVM would die; keeps a sound one.

        Raises `OSError` for one that cannot be removed.
        """
        try:
            size = self.path.stat().st_size
        except FileNotFoundError:
            return
        if self._size_file.exists() and self._size_file.read_text() == str(size):
            with contextlib.suppress(PermissionError):
                os.utime(self.path)
        else:
            self.path.unlink(missing_ok=True)

    def make(self) -> bool:
        """Make it, unless it is there; whether it was made. 10 s of CPU time; waits for another one who makes one.

        Raises `ArchiveNotMade`, `OSError`.
        """
        folder = cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.path.exists():
                return False
            _clear_up(folder)
            draft = self.path.with_suffix(".draft")
            self._dump(draft)
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            self._size_file.write_text(str(draft.stat().st_size))
            os.replace(draft, self.path)
        return True

    @property
    def _size_file(self) -> Path:
        return self.path.with_suffix(".size")

    def _key(self) -> str:
        """A JVM refuses an archive if a jar's size or time is another one than when it was made."""
        made_of = hashlib.sha256((self.java_home / "release").read_bytes())
        made_of.update(CLASS_LIST.read_bytes())
        made_of.update(repr(_DUMP_OPTIONS).encode())
        for jar in self.class_path.split(os.pathsep):
            facts = os.stat(jar)
            made_of.update(f"{jar} {facts.st_size} {facts.st_mtime_ns}\n".encode())
        return made_of.hexdigest()[:16]

    def _dump(self, draft: Path) -> None:
        with tempfile.NamedTemporaryFile(prefix="rayjobs-classes-", suffix=".lst") as classes:
            classes.write(lzma.decompress(CLASS_LIST.read_bytes()))
            classes.flush()
            command = [
                str(self.java_home / "bin" / "java"),
                *_DUMP_OPTIONS,
                f"-XX:SharedClassListFile={classes.name}",
                f"-XX:SharedArchiveFile={draft}",
                "-cp",
                self.class_path,
            ]
            environment = {key: value for key, value in os.environ.items() if key not in _OPTIONS_ALWAYS_READ}
            done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode or not draft.exists():
            said = done.stderr or done.stdout
            raise ArchiveNotMade(f"java -Xshare:dump ended with {done.returncode}: {said[-500:]}")


@contextlib.contextmanager
def made_meanwhile(archive: Archive) -> Iterator[None]:
    """Inside, another process makes the archive if it is missing, on processors that nobody else wants.

    It ends with the block, and what it began is begun again by the next one.
    """
    if archive.path.exists():
        yield
        return
    command = [sys.executable, "-m", "rayjobs", "archive"]
    maker = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, preexec_fn=_give_way
    )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(maker.pid, signal.SIGKILL)
        maker.wait()


def _give_way() -> None:
    """Nothing else waits for this process, or for those it starts, where the system has a class of idle ones."""
    os.nice(19)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _clear_up(folder: Path) -> None:
    """Remove what makers that were killed left, and archives of versions that are not used any more."""
    for draft in folder.glob("classes-*.draft"):
        draft.unlink()
    for archive in folder.glob("classes-*.jsa"):
        if archive.stat().st_mtime < time.time() - KEPT_S:
            archive.unlink()
            archive.with_suffix(".size").unlink(missing_ok=True)


def cache_folder() -> Path:
    """The data directories, and the environments, of one user on one machine share it."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "rayjobs"
