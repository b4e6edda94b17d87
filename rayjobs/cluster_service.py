"""`JobService` on a Ray cluster: finds the actors, keeps their handles, and talks to contexts directly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone, NoRunningJob, NoSuchContext, TooLarge
from rayjobs.records import BinaryInfo, BinaryType, ContextInfo, JobInfo, JobReply
from rayjobs.service import Submission
from rayjobs.states import JobState

UPLOAD_CHUNK_BYTES = 4 * 2**20
ORPHAN_TIMEOUT_S = 10.0


class ClusterService:
    """Holds nothing but handles, so any number of these, in any process, see the same service."""

    def __init__(self, max_binary_bytes: int):
        self._max_binary_bytes = max_binary_bytes
        self._handles: dict[str, ActorHandle] = {}

    async def list_binaries(self) -> list[BinaryInfo]:
        return await self._ask(cluster.STORE, "list_binaries")

    async def get_binary(self, app_name: str) -> BinaryInfo:
        return await self._ask(cluster.STORE, "get_binary", app_name)

    async def upload_binary(self, app_name: str, binary_type: BinaryType, chunks: AsyncIterator[bytes]) -> BinaryInfo:
        upload = await self._ask(cluster.STORE, "begin_upload")
        try:
            size = 0
            async for chunk in _gathered(chunks):
                size += len(chunk)
                if size > self._max_binary_bytes:
                    raise TooLarge(f"the binary is larger than binaries.max-bytes ({self._max_binary_bytes})")
                await self._ask(cluster.STORE, "append_upload", upload, chunk)
            return await self._ask(cluster.STORE, "finish_upload", upload, app_name, binary_type)
        except BaseException:
            await self._ask(cluster.STORE, "abort_upload", upload)
            raise

    async def delete_binary(self, app_name: str) -> None:
        await self._ask(cluster.STORE, "delete_binary", app_name)

    async def list_contexts(self) -> list[str]:
        return await self._ask(cluster.SUPERVISOR, "list_contexts")

    async def get_context(self, name: str) -> ContextInfo:
        return await self._ask(cluster.SUPERVISOR, "get_context", name)

    async def create_context(self, name: str, settings: dict[str, Any]) -> ContextInfo:
        return await self._ask(cluster.SUPERVISOR, "create_context", name, settings)

    async def stop_context(self, name: str, force: bool = False) -> bool:
        return await self._ask(cluster.SUPERVISOR, "stop_context", name, force)

    async def reset_contexts(self, wait: bool) -> None:
        await self._ask(cluster.SUPERVISOR, "reset_contexts", wait)

    async def start_job(self, submission: Submission) -> JobReply:
        if submission.context is None:
            return await self._ask(cluster.SUPERVISOR, "submit", submission)
        kept = self._handles.get(cluster.context_actor_name(submission.context))
        if kept:
            try:
                return await cluster.call(kept.submit.remote(submission))
            except ActorGone:
                self._forget(cluster.context_actor_name(submission.context), kept)
            with contextlib.suppress(NoSuchContext):
                return await self._ask(cluster.SUPERVISOR, "job_after_loss", submission)
        await self.get_binary(submission.app_name)
        await self._ask(cluster.SUPERVISOR, "require_running", submission.context)
        try:
            return await self._ask(cluster.context_actor_name(submission.context), "submit", submission)
        except ActorGone:
            return await self._ask(cluster.SUPERVISOR, "job_after_loss", submission)

    async def get_job(self, job_id: str) -> JobReply:
        return await self._ask(cluster.STORE, "get_job", job_id)

    async def list_jobs(self, limit: int, state: JobState | None) -> list[JobInfo]:
        return await self._ask(cluster.STORE, "list_jobs", limit, state)

    async def job_config(self, job_id: str) -> dict[str, Any]:
        return await self._ask(cluster.STORE, "job_config", job_id)

    async def job_log(self, job_id: str) -> bytes:
        job = (await self.get_job(job_id)).job
        if not job.state.is_final:
            with contextlib.suppress(ActorGone):
                return await self._ask(cluster.context_actor_name(job.context_name), "job_log", job_id)
        return await self._ask(cluster.STORE, "read_log", job_id)

    async def kill_job(self, job_id: str) -> JobInfo:
        job = (await self.get_job(job_id)).job
        if not job.state.is_final:
            with contextlib.suppress(ActorGone, NoRunningJob):
                return await self._ask(cluster.context_actor_name(job.context_name), "kill_job", job_id)
            if killed := await self._ask(cluster.SUPERVISOR, "kill_restarting_job", job_id):
                return killed
            job = await self._ended(job_id)
        if job.state is not JobState.ERROR:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return job

    async def check_health(self) -> None:
        await self._ask(cluster.SUPERVISOR, "ready")
        await self._ask(cluster.STORE, "ping")

    async def _ended(self, job_id: str) -> JobInfo:
        """A job that just ended, or whose context just died, once its end is stored, a moment later."""
        deadline = time.monotonic() + ORPHAN_TIMEOUT_S
        while not (job := (await self.get_job(job_id)).job).state.is_final and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return job

    async def _ask(self, actor: str, verb: str, *args: Any) -> Any:
        """Call a method of the actor of that name. A handle that was kept may be of a predecessor: then once more."""
        kept = self._handles.get(actor)
        if kept:
            with contextlib.suppress(ActorGone):
                return await cluster.call(getattr(kept, verb).remote(*args))
            self._forget(actor, kept)
        handle = await cluster.find(actor)
        reply = await cluster.call(getattr(handle, verb).remote(*args))
        self._handles[actor] = handle
        return reply

    def _forget(self, actor: str, handle: ActorHandle) -> None:
        if self._handles.get(actor) is handle:
            del self._handles[actor]


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces large enough to be worth an actor call each."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) >= UPLOAD_CHUNK_BYTES:
            yield bytes(held)
            held.clear()
    if held:
        yield bytes(held)
