"""A Spark application without a context: shared by many, or standing by for one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path

from ray.actor import ActorHandle

from rayjobs.application import SparkFacts
from rayjobs.lent_runners import LentRunners
from rayjobs.node_folders import hosts_folder, node_folder
from rayjobs.process_log import log_to_stderr
from rayjobs.settings import Settings
from rayjobs.tasks import RunnerSetup


class SparkHost:
    """A plain class, made a detached async actor in `cluster.py`; contexts beside it open sessions of their own."""

    def __init__(self, settings: Settings, id: str):
        # Not above: whoever gets a handle of a host imports this module, and would import PySpark with it.
        from rayjobs.own_application import OwnApplication

        log_to_stderr()
        folder = hosts_folder(node_folder(settings.data_path)) / id
        self._application = OwnApplication(id, id, settings.context_settings, folder, settings)
        self._runners = LentRunners(id, settings.spare_runners)
        self._facts: SparkFacts | None = None
        self._sessions: set[str] = set()
        self._end: asyncio.Task[str] | None = None

    async def initialise(self) -> SparkFacts:
        """Start Spark; raises `ContextInitError`."""
        self._facts = await self._application.start()
        self._runners.begin(self._facts.session)
        self._end = asyncio.create_task(self._application.end(), name="end")
        return self._facts

    async def ping(self) -> SparkFacts | None:
        """What it told when it was started; None before, and once Spark has ended."""
        return None if self._end is None or self._end.done() else self._facts

    async def is_up(self) -> bool:
        """Whether its Spark can be worked with, as its JVM says now."""
        return await self._application.is_up()

    async def sessions(self) -> set[str]:
        """Ids of the contexts that have a session here."""
        return self._sessions

    async def lifetime(self) -> str:
        """Returns when Spark has ended unasked for; why."""
        assert self._end is not None
        return await asyncio.shield(self._end)

    async def open_session(self, context_id: str, sql_settings: dict[str, str]) -> SparkFacts:
        """A session for that context, and where its runners find it."""
        assert self._facts is not None
        await self._runners.end(context_id)  # those of an earlier life of a context that is restarted
        address = await self._application.open_session(context_id, sql_settings)
        self._sessions.add(context_id)
        return replace(self._facts, session=address)

    async def lend_runner(
        self, key: str, setup: RunnerSetup, line_path: Path
    ) -> tuple[ActorHandle, list[Awaitable[None]]] | None:
        """As `LentRunners.lend`; in a list, since Ray would wait for what is over when the runner is."""
        lent = self._runners.lend(key, setup, line_path)
        return (lent[0], [lent[1]]) if lent else None

    async def replace_runners(self) -> None:
        """Start others for those that were lent."""
        self._runners.replace()

    async def close_session(self, context_id: str) -> None:
        """The context is over: its runners end, and then what they had in the JVM."""
        self._sessions.discard(context_id)
        await self._runners.end(context_id)
        self._runners.replace()
        await self._application.close_session(context_id)

    async def cancel_job(self, job_id: str) -> None:
        await self._application.cancel_job(job_id)

    async def check(self) -> None:
        """Run a trivial Spark job; raises whatever it raises."""
        await self._application.check()

    async def shutdown(self) -> None:
        """Stop Spark and its JVM; the caller then kills this actor, and with it the runners that it has lent."""
        if self._end:
            self._end.cancel()
        self._runners.close()
        await self._application.stop()
