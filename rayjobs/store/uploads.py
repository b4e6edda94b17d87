"""Uploads: binaries and data files on their way in, chunk by chunk. They end with the process, as the requests do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rayjobs.errors import StorageFailure
from rayjobs.store.blobs import Blobs, Upload

T = TypeVar("T")

PATIENCE_S = 3600.0
"""An upload that got nothing for so long is over: a server that was killed cannot abort its own."""


@dataclass
class _Open:
    """An upload, what keeps its chunks in order when a caller does not wait for each, and, once asked for, its end."""

    upload: Upload
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    used_at: float = field(default_factory=time.monotonic)
    end: asyncio.Task[Any] | None = None


class Uploads:
    """The uploads under way, by id; an id that is not there raises `StorageFailure`, the disk `OSError`.

    A call that Ray made again changes nothing, and is answered as the first one was.
    """

    def __init__(self, blobs: Blobs, threads: ThreadPoolExecutor):
        self._blobs = blobs
        self._threads = threads
        self._open: dict[str, _Open] = {}

    async def begin(self) -> str:
        await self._abort_unused()
        upload_id = uuid.uuid4().hex
        self._open[upload_id] = _Open(await self._do(self._blobs.new_upload, upload_id))
        return upload_id

    async def append(self, upload_id: str, offset: int, chunk: bytes) -> None:
        """Chunks land in the order of the calls. A failure ends the upload: part of the chunk may be there."""
        opened = self._find(upload_id)
        try:
            async with opened.lock:
                await self._do(opened.upload.append, offset, chunk)
        except OSError:
            await self.abort(upload_id)
            raise

    async def finish(self, upload_id: str, keep: Callable[[Upload], Awaitable[T]]) -> T:
        """What `keep` makes of the upload, which is synced; what it does not keep is removed."""
        opened = self._find(upload_id)
        if opened.end is None:
            opened.end = asyncio.create_task(self._finish(opened, keep), name=f"finish-upload-{upload_id}")
        return await asyncio.shield(opened.end)

    async def abort(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""
        if opened := self._open.pop(upload_id, None):
            async with opened.lock:
                await self._do(opened.upload.remove)

    async def _finish(self, opened: _Open, keep: Callable[[Upload], Awaitable[T]]) -> T:
        async with opened.lock:
            try:
                await self._do(opened.upload.sync)
                return await keep(opened.upload)
            finally:
                await self._do(opened.upload.remove)

    async def _abort_unused(self) -> None:
        """Also those that have ended: nobody asks for their end again."""
        limit = time.monotonic() - PATIENCE_S
        for upload_id in [id for id, opened in self._open.items() if opened.used_at < limit]:
            await self.abort(upload_id)

    def _find(self, upload_id: str) -> _Open:
        if upload_id not in self._open:
            raise StorageFailure(f"the upload {upload_id} is over, or the job store restarted")
        opened = self._open[upload_id]
        opened.used_at = time.monotonic()
        return opened

    async def _do(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
