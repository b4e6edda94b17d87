"""How far a long benchmark is, for whoever waits for it: lines on standard error."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

log = logging.getLogger("benchmark")

QUIET_S = 5.0


def counted(runs: int) -> Iterator[int]:
    """The numbers of the runs, from 1 on; says each on its way."""
    for run in range(1, runs + 1):
        log.info("run %d of %d", run, runs)
        yield run


class ProgressHandler(logging.Handler):
    """Writes `<where>, <message>`: over the line before in a terminal, else once in `QUIET_S` at most."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._where = ""
        self._is_terminal = sys.stderr.isatty()
        self._next = 0.0

    def enter(self, where: str) -> None:
        """From now on messages are about that; it is said at once."""
        self._where = where
        self._next = 0.0
        self._write(where)

    def leave(self) -> None:
        """Clear the line for what is printed next."""
        if self._is_terminal:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()

    def emit(self, record: logging.LogRecord) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + (0.1 if self._is_terminal else QUIET_S)
            self._write(f"{self._where}, {record.getMessage()}")

    def _write(self, line: str) -> None:
        sys.stderr.write(f"\r\033[K{line}" if self._is_terminal else f"{line}\n")
        sys.stderr.flush()
