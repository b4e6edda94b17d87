"""A runner's word to its context, while a job runs, that the job has passed its validation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

PATIENCE_S = 0.1
"""A job that nobody waits to hear of is told of only if it goes on for so long: most are over by then."""


class Teller:
    """`tell` is called with a job's id, from a thread of this object for a job that is told of late."""

    def __init__(self, tell: Callable[[str], None]):
        self._tell = tell
        self._late: tuple[str, float] | None = None
        self._lock = threading.Lock()
        self._work = threading.Event()
        threading.Thread(target=self._run, name="teller", daemon=True).start()

    def passed(self, job_id: str, at_once: bool) -> None:
        """The job begins to run."""
        if at_once:
            self._tell(job_id)
            return
        with self._lock:
            self._late = (job_id, time.monotonic() + PATIENCE_S)
            self._work.set()

    def over(self) -> None:
        """The job is over: there is nothing to tell any more."""
        with self._lock:
            self._late = None

    def _run(self) -> None:
        """Sleeps rather than to be woken by each job: this thread must not cost the short ones anything."""
        while True:
            self._work.wait()
            time.sleep(PATIENCE_S)
            with self._lock:
                late = self._late
                if late is None:
                    self._work.clear()
                elif time.monotonic() >= late[1]:
                    self._tell(late[0])
                    self._late = None
