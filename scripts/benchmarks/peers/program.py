"""Programs of `jobs/` in processes of their own."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO

from scripts.benchmarks.stage import JOBS

TIMEOUT_S = 300.0


@dataclass(frozen=True)
class Program:
    """One that says lines, and ends with its input."""

    process: subprocess.Popen[str]
    errors: IO[str]

    def ask(self, line: str) -> str:
        """What it says to a line of its input."""
        assert self.process.stdin
        print(line, file=self.process.stdin, flush=True)
        return self.said()

    def said(self) -> str:
        """Its next line; raises `RuntimeError` with the end of its errors if it ended."""
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return line.strip()
        self.process.wait(TIMEOUT_S)
        self.errors.seek(0)
        raise RuntimeError(f"{self.process.args} ended: {self.errors.read()[-2000:]}")


@contextlib.contextmanager
def talking(name: str, *arguments: str, environment: Mapping[str, str]) -> Iterator[Program]:
    """`jobs/<name>` in Python, until the block is left."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryDirectory(prefix="rayjobs-bench-") as folder:
        process = subprocess.Popen(
            [sys.executable, str(JOBS.with_name(name)), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=folder,
            env=environment,
        )
        try:
            yield Program(process, errors)
        finally:
            process.communicate(timeout=TIMEOUT_S)


def finish(command: list[str], environment: Mapping[str, str]) -> None:
    """Run a command to its end; raises `RuntimeError` with the end of what it said if it fails."""
    ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    if ended.returncode:
        raise RuntimeError(f"{command} ended: {(ended.stdout + ended.stderr)[-2000:]}")
