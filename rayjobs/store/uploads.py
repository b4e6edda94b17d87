"""Uploads: binaries on their way in, chunk by chunk. They end with the process, as the requests do."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from rayjobs.errors import StorageFailure
from rayjobs.store.blobs import Blobs, Upload

T = TypeVar("T")


@dataclass(frozen=True)
class _Open:
    """An upload, and what keeps its chunks in order when a caller does not wait for each."""

    upload: Upload
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Uploads:
    """The uploads under way, by id; an id that is not there raises `StorageFailure`, the disk `OSError`."""

    def __init__(self, blobs: Blobs, threads: ThreadPoolExecutor):
        self._blobs = blobs
        self._threads = threads
        self._open: dict[str, _Open] = {}

    async def begin(self) -> str:
        upload_id = uuid.uuid4().hex
        self._open[upload_id] = _Open(await self._do(self._blobs.new_upload, upload_id))
        return upload_id

    async def append(self, upload_id: str, chunk: bytes) -> None:
        """Chunks land in the order of the calls. A failure ends the upload: part of the chunk may be there."""
        opened = self._find(upload_id)
        try:
            async with opened.lock:
                await self._do(opened.upload.append, chunk)
        except OSError:
            await self.abort(upload_id)
            raise

    @contextlib.asynccontextmanager
    async def taken(self, upload_id: str) -> AsyncIterator[Upload]:
        """The upload, synced, for the block to keep; what it does not keep is removed."""
        opened = self._find(upload_id)
        try:
            async with opened.lock:
                await self._do(opened.upload.sync)
                yield opened.upload
        finally:
            await self.abort(upload_id)

    async def abort(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""
        if opened := self._open.pop(upload_id, None):
            async with opened.lock:
                await self._do(opened.upload.remove)

    def _find(self, upload_id: str) -> _Open:
        if upload_id not in self._open:
            raise StorageFailure(f"the upload {upload_id} is over, or the job store restarted")
        return self._open[upload_id]

    async def _do(self, function: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *args)
