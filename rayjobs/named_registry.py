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

    def release(self, job_id: str, name: str | None = None) -> None:
        """What the job had claimed, that name or all, and did not make is free for others: it failed, or was killed."""
        owned = [claimed for claimed, (owner, _) in self._claims.items() if owner == job_id]
        for claimed in owned if name is None else set(owned) & {name}:
            self._drop_claim(claimed)

    def _drop_claim(self, name: str) -> None:
        if claim := self._claims.pop(name, None):
            claim[1].set()
