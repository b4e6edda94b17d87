"""Our actors, called by a line where they are on the caller's node, else through Ray."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster, line
from rayjobs.line import Line, Listener

log = logging.getLogger(__name__)


def offer(actor: Any) -> Listener | None:
    """To be called by an actor that is made: its async methods can be called by lines as well, from now on.

    None if that cannot be, or `actor` is an object like others here: callers then go through
    Ray, which is slower and says the same.
    """
    if (own_id := cluster.actor_id()) is None:
        return None

    async def answer(_: Line, verb: str, arguments: tuple[Any, ...]) -> Any:
        return await getattr(actor, verb)(*arguments)

    try:
        return Listener(_path(own_id), answer)
    except OSError as error:
        log.warning("no calls past Ray for this actor: %s", error)
        return None


@dataclass(frozen=True)
class Peer:
    """An actor that somebody on some node calls."""

    handle: ActorHandle
    line: Line | None

    async def ask(self, verb: str, *arguments: Any) -> Any:
        """What its method `verb` returns; raises what `cluster.call` does."""
        if self.line:
            return await self.line.call(verb, *arguments)
        return await cluster.call(getattr(self.handle, verb).remote(*arguments))

    @property
    def is_connected(self) -> bool:
        """False once its line has broken."""
        return self.line is not None and not self.line.gone.done()

    def close(self) -> None:
        if self.line:
            self.line.close()


async def peer(handle: ActorHandle) -> Peer | None:
    """The actor, with a line to it if it is on this node; None if that cannot be told now, as while it starts again."""
    try:
        return Peer(handle, await line.connect(_path(handle._actor_id.hex())))
    except (FileNotFoundError, PermissionError):
        return Peer(handle, None)
    except OSError:
        return None


def _path(actor_id: str) -> Path:
    return line.lines_folder() / f"actor-{actor_id}"
