"""The JVM threads that jobs of jars run in, known by their jobs' ids: so that a kill can end them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_KEY = "rayjobs.thread."
PATIENCE_S = 1.0


@contextmanager
def known_by(jvm: Any, job_id: str) -> Iterator[None]:
    """Meanwhile this thread's twin in the `jvm` is the job's."""
    properties = jvm.System.getProperties()
    properties.put(_KEY + job_id, jvm.java.lang.Thread.currentThread())
    jvm.java.lang.Thread.interrupted()  # forgets an interrupt that an earlier job left behind
    try:
        yield
    finally:
        properties.remove(_KEY + job_id)


def end(jvm: Any, job_id: str) -> None:
    """End the job's thread if it has one: interrupted, and stopped if it has not ended after `PATIENCE_S`.

    `Thread.stop` is deprecated for what it may leave half done; a thread that nobody can end is worse. Java 17 has it.
    """
    thread = jvm.System.getProperties().remove(_KEY + job_id)
    if thread is None:
        return
    thread.interrupt()
    thread.join(int(PATIENCE_S * 1000))
    if thread.isAlive():
        thread.stop()
        thread.join(int(PATIENCE_S * 1000))
