"""What a context writes of its jobs to the store: those that come while a call is under way go together in the next."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.gathering import Gathering, Outcome
from rayjobs.records import JobInfo
from rayjobs.states import JobEvent, job_states_leading
from rayjobs.store.journal import Journal, line_of
from rayjobs.store.writes import Changed, Created, Finished, JobWrite, Whole


class JobWriter:
    """Every method returns once it is durable, and raises `StorageFailure`, `ActorGone`.

    With a `journal`, jobs that were over before anything of them was written go there, unless their results are longer
    than `inline_result_bytes`.
    """

    def __init__(self, store: ActorHandle, journal: Journal | None, inline_result_bytes: int):
        self._store = store
        self._journal = journal
        self._inline_result_bytes = inline_result_bytes
        self._waiting: Gathering[JobWrite] = Gathering(self._send)

    async def create(self, info: JobInfo, config: dict[str, Any]) -> None:
        """Raises `JobExists`, `ContextStopping`."""
        await self._waiting.add(Created(info, config))

    def change(self, info: JobInfo, event: JobEvent) -> Awaitable[bool]:
        """Write the job as it is after `event`; False if somebody else has changed it before."""
        return self._waiting.add(Changed(info, job_states_leading(event)))

    def finish(self, info: JobInfo, result_json: str) -> Awaitable[bool]:
        """Write FINISHED and the result; False if somebody else has ended the job before."""
        return self._waiting.add(Finished(info, result_json))

    async def record(self, info: JobInfo, config: dict[str, Any], result_json: str | None) -> bool:
        """Write a job that is over already; False if there is one of that id."""
        if self._journal and len((result_json or "").encode()) <= self._inline_result_bytes:
            await self._journal.append(line_of(info, config, result_json))
            return True
        return await self._waiting.add(Whole(info, config, result_json))

    async def close(self) -> None:
        """Nothing is written after that."""
        if self._journal:
            await self._journal.close()

    async def _send(self, writes: list[JobWrite]) -> list[Outcome[Any]]:
        return await cluster.call(self._store.write_jobs.remote(writes))
