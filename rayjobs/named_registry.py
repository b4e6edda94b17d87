"""Which objects the jobs of a context share by name, and who is about to make one."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from rayjobs.spark.sharing import SparkReference


@dataclass(frozen=True)
class NamedEntry:
    """A shared object: one of Spark's, by reference, or any other one, pickled; and the caching that it was given."""

    held: SparkReference | bytes
    force_computation: bool
    storage_level: object


class NamedRegistry:
    """Names and their entries. A name that is claimed by a job is waited for by the others who want it made."""

    def __init__(self) -> None:
        self._entries: dict[str, NamedEntry] = {}
        self._claims: dict[str, tuple[str, asyncio.Event]] = {}

    async def claim(self, name: str, job_id: str) -> NamedEntry | None:
        """The entry; None if there is none, and making it is up to this job now, until `put` or `release`."""
        while name not in self._entries:
            owner, made = self._claims.setdefault(name, (job_id, asyncio.Event()))
            if owner == job_id:
                return None
            await made.wait()
        return self._entries[name]

    def get(self, name: str) -> NamedEntry | None:
        return self._entries.get(name)

    def put(self, name: str, entry: NamedEntry) -> NamedEntry | None:
        """What the name stood for before."""
        before = self._entries.get(name)
        self._entries[name] = entry
        self._drop_claim(name)
        return before

    def forget(self, name: str) -> NamedEntry | None:
        """What the name stood for."""
        return self._entries.pop(name, None)

    def names(self) -> list[str]:
        return sorted(self._entries)

    def release(self, job_id: str) -> None:
        """Whatever the job had claimed and did not make is free for others: its maker failed, or was killed."""
        for name in [name for name, (owner, _) in self._claims.items() if owner == job_id]:
            self._drop_claim(name)

    def _drop_claim(self, name: str) -> None:
        if claim := self._claims.pop(name, None):
            claim[1].set()
