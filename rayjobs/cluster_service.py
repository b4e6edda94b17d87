"""`JobService` on a Ray cluster: finds the actors, keeps their handles, and talks to contexts directly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.errors import ActorGone, NoRunningJob, NoSuchContext, NoSuchJob, TooLarge
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

    async def stop_context(self, name: str) -> bool:
        return await self._ask(cluster.SUPERVISOR, "stop_context", name)

    async def start_job(self, submission: Submission) -> JobReply:
        if submission.context is None:
            await self.get_binary(submission.app_name)
            return await self._ask(cluster.SUPERVISOR, "submit", submission)
        context = cluster.context_actor_name(submission.context)
        if context not in self._handles:
            await self.get_binary(submission.app_name)
            await self._ask(cluster.SUPERVISOR, "require_running", submission.context)
        try:
            return await self._ask(context, "submit", submission)
        except ActorGone:
            return await self._reply_without_context(submission)

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
        if job.state is JobState.ERROR:
            return job
        if job.state.is_final:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return await self._ask(cluster.context_actor_name(job.context_name), "kill_job", job_id)

    async def check_health(self) -> None:
        await self._ask(cluster.SUPERVISOR, "ready")
        await self._ask(cluster.STORE, "ping")

    async def _reply_without_context(self, submission: Submission) -> JobReply:
        """Its context died or was deleted meanwhile: the job's record, if it got one, says what became of it.

        The supervisor ends the jobs of a dead context; until it has, the job still reads as RUNNING.
        """
        deadline = time.monotonic() + ORPHAN_TIMEOUT_S
        try:
            reply = await self.get_job(submission.job_id)
            while not reply.job.state.is_final and time.monotonic() < deadline:
                await asyncio.sleep(0.1)
                reply = await self.get_job(submission.job_id)
        except NoSuchJob:
            raise NoSuchContext(f"context {submission.context} not found") from None
        return reply

    async def _ask(self, actor: str, verb: str, *args: Any) -> Any:
        """Call a method of the actor of that name; its handle is kept, and dropped once the actor is gone."""
        handle = self._handles.get(actor)
        if handle is None:
            handle = self._handles[actor] = await cluster.find(actor)
        try:
            return await cluster.call(getattr(handle, verb).remote(*args))
        except ActorGone:
            self._handles.pop(actor, None)
            raise


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
