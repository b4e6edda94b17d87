"""A context's view of which binaries are the latest: asked of the store once, and again only after a change."""

from __future__ import annotations

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.change_count import ChangeCount
from rayjobs.records import BinaryInfo


class KnownBinaries:
    """`changes` counts the changes of binaries; None where the store is on another node: then each job asks."""

    def __init__(self, store: ActorHandle, changes: ChangeCount | None):
        self._store = store
        self._changes = changes
        self._known: dict[tuple[str, ...], tuple[int, list[BinaryInfo]]] = {}

    async def latest(self, app_names: list[str]) -> list[BinaryInfo]:
        """Of each app its latest version, in that order; raises `NoSuchBinary` for the first that is not there."""
        names = tuple(app_names)
        now = self._changes.read() if self._changes else None
        as_of, known = self._known.get(names, (None, []))
        if now is not None and as_of == now:
            return known
        found = await cluster.call(self._store.get_binaries.remote(app_names))
        if now is not None:
            self._known[names] = now, found
        return found
