"""What a context needs of Spark; and the kind of application that is a session of one that a host holds."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone
from rayjobs.spark.jvm import SessionAddress
from rayjobs.tasks import RunnerSetup


@dataclass(frozen=True)
class SparkFacts:
    """What a started Spark application tells of itself, and where runners find the session that is meant for them.

    `packages` is its folder of binaries: Spark takes a file's name from one path only.
    """

    application_id: str
    ui_url: str | None
    session: SessionAddress
    packages: Path


class SparkApplication(Protocol):
    """What a context needs of Spark."""

    async def end(self) -> str:
        """Returns when the application has ended, or is of no use any more, unasked for; why. Cancel it to stop."""

    async def is_up(self) -> bool:
        """Whether it can be worked with: its JVM answers, and says that Spark has not been stopped."""

    async def cancel_job(self, job_id: str) -> None:
        """End the Spark work of a job, its executors' tasks included."""

    async def stop(self) -> None:
        """End the context's part in it: all of it, or its session."""


class HostedApplication:
    """A session of the Spark application that a `SparkHost` holds; only that session ends with the context."""

    def __init__(self, host: ActorHandle, context_id: str):
        self._host = host
        self._key = context_id

    async def end(self) -> str:
        try:
            return await cluster.outlived(self._host)
        except Exception as error:
            return f"the Spark application behind it died: {error}"

    async def is_up(self) -> bool:
        try:
            return await cluster.ask(self._host.is_up.remote())
        except (ActorGone, TimeoutError):
            return False

    async def cancel_job(self, job_id: str) -> None:
        await cluster.call(self._host.cancel_job.remote(job_id))

    async def lend_runner(self, key: str, setup: RunnerSetup, line_path: Path) -> cluster.AtWork | None:
        """One of the host's, at work for the line at that path; None if it has none, or does not answer."""
        try:
            lent = await cluster.ask(self._host.lend_runner.remote(key, setup, line_path))
        except (ActorGone, TimeoutError):
            return None
        return lent and (lent[0], lent[1][0])

    async def replace_runners(self) -> None:
        """Have the host start others for those that it has lent."""
        with contextlib.suppress(ActorGone):  # it is noticed elsewhere
            await cluster.call(self._host.replace_runners.remote())

    async def stop(self) -> None:
        with contextlib.suppress(ActorGone):
            await cluster.call(self._host.close_session.remote(self._key))
