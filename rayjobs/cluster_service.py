"""`JobService` on a Ray cluster: finds the actors, keeps their handles, and talks to contexts directly."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ray.actor import ActorHandle

from rayjobs import cluster
from rayjobs.actor_lines import Peer, peer
from rayjobs.errors import (
    ActorGone,
    ContextRestarting,
    ContextStopping,
    JobExists,
    NoRunningJob,
    NoSuchContext,
    NoSuchJob,
    TooLarge,
)
from rayjobs.job_binaries import names_to_find
from rayjobs.records import BinaryInfo, BinaryType, Callback, ContextInfo, JobInfo, JobReply
from rayjobs.repetition import check_repeated
from rayjobs.service import Submission
from rayjobs.states import JobState
from rayjobs.store.data_files import check_prefix

UPLOAD_CHUNK_BYTES = 4 * 2**20
ORPHAN_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class _Limit:
    """How large an upload may be, and the setting that says so."""

    setting: str
    size_bytes: int


class ClusterService:
    """Holds nothing but handles and lines, so any number of these, in any process, see the same service.

    The lines are of the event loop in which it was first asked.
    """

    def __init__(self, max_binary_bytes: int, max_data_bytes: int):
        self._binary_limit = _Limit("binaries.max-bytes", max_binary_bytes)
        self._data_limit = _Limit("data.max-bytes", max_data_bytes)
        self._peers: dict[str, Peer] = {}
        self._connecting: set[str] = set()

    def close(self) -> None:
        """End its lines; it can be asked again, in another event loop too."""
        for kept in self._peers.values():
            kept.close()
        self._peers.clear()

    async def list_binaries(self) -> list[BinaryInfo]:
        return await self._ask(cluster.STORE, "list_binaries")

    async def get_binary(self, app_name: str) -> BinaryInfo:
        return await self._ask(cluster.STORE, "get_binary", app_name)

    async def upload_binary(self, app_name: str, binary_type: BinaryType, chunks: AsyncIterator[bytes]) -> BinaryInfo:
        return await self._upload(chunks, self._binary_limit, "finish_upload", app_name, binary_type)

    async def delete_binary(self, app_name: str) -> None:
        await self._ask(cluster.STORE, "delete_binary", app_name)

    async def list_data_files(self) -> list[str]:
        return await self._ask(cluster.STORE, "list_data_files")

    async def upload_data_file(self, prefix: str, chunks: AsyncIterator[bytes]) -> str:
        check_prefix(prefix)
        return await self._upload(chunks, self._data_limit, "finish_data_upload", prefix)

    async def delete_data_file(self, name: str) -> None:
        await self._ask(cluster.STORE, "delete_data_file", name)

    async def reset_data_files(self, wait: bool) -> None:
        await self._ask(cluster.STORE, "reset_data_files", wait)

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
        if submission.may_be_repeated and (known := await self._known(submission)):
            return known
        try:
            return await self._start(submission)
        except (JobExists, ContextStopping):
            # The job of that id may have come, and gone, since it was asked for.
            if submission.may_be_repeated and (known := await self._known(submission)):
                return known
            raise

    async def _start(self, submission: Submission) -> JobReply:
        if submission.context is None:
            return await self._ask(cluster.SUPERVISOR, "submit", submission)
        kept = self._peers.get(cluster.context_actor_name(submission.context))
        if kept:
            try:
                return await kept.ask("submit", submission)
            except ActorGone:
                self._forget(cluster.context_actor_name(submission.context), kept)
            with contextlib.suppress(NoSuchContext, ContextRestarting):
                return await self._ask(cluster.SUPERVISOR, "job_after_loss", submission)
        await self._ask(cluster.STORE, "get_binaries", names_to_find(submission))
        await self._ask(cluster.SUPERVISOR, "require_running", submission.context)
        try:
            return await self._ask(cluster.context_actor_name(submission.context), "submit", submission)
        except ActorGone:
            return await self._ask(cluster.SUPERVISOR, "job_after_loss", submission)

    async def _known(self, submission: Submission) -> JobReply | None:
        """The job of that id, waited for as its first caller would; None if there is none yet."""
        try:
            reply = await self.get_job(submission.job_id)
        except NoSuchJob:
            return None
        check_repeated(submission, reply.job, await self.job_config(submission.job_id))
        if reply.job.state.is_final:
            return reply
        with contextlib.suppress(ActorGone, NoRunningJob):
            context = cluster.context_actor_name(reply.job.context_name)
            return await self._ask(context, "await_job", submission.job_id, submission.wait_s)
        return await self.get_job(submission.job_id)

    async def get_job(self, job_id: str) -> JobReply:
        return await self._ask(cluster.STORE, "get_job", job_id)

    async def list_jobs(self, limit: int, state: JobState | None) -> list[JobInfo]:
        return await self._ask(cluster.STORE, "list_jobs", limit, state)

    async def job_config(self, job_id: str) -> dict[str, Any]:
        return await self._ask(cluster.STORE, "job_config", job_id)

    async def job_log(self, job_id: str) -> bytes:
        job = (await self.get_job(job_id)).job
        if not job.state.is_final and (written := await self._log_so_far(job)):
            return written
        # It goes from the context to the store a moment before or after the job's end is stored.
        return await self._ask(cluster.STORE, "read_log", job_id) or await self._log_so_far(job)

    async def _log_so_far(self, job: JobInfo) -> bytes:
        """What its context has of it: nothing if that is gone, or does not answer."""
        with contextlib.suppress(ActorGone, TimeoutError):
            async with asyncio.timeout(cluster.PING_TIMEOUT_S):
                return await self._ask(cluster.context_actor_name(job.context_name), "job_log", job.job_id)
        return b""

    async def kill_job(self, job_id: str) -> JobInfo:
        deadline = time.monotonic() + ORPHAN_TIMEOUT_S
        while not (job := (await self.get_job(job_id)).job).state.is_final and time.monotonic() < deadline:
            with contextlib.suppress(ActorGone, NoRunningJob):
                return await self._ask(cluster.context_actor_name(job.context_name), "kill_job", job_id)
            if killed := await self._ask(cluster.SUPERVISOR, "kill_restarting_job", job_id):
                return killed
            # It just ended, or its context just died: that is stored, or its context is back, a moment later.
            await asyncio.sleep(0.05)
        if job.state is not JobState.ERROR:
            raise NoRunningJob(f"No running job with ID {job_id}")
        return job

    async def get_callback(self, job_id: str) -> Callback:
        return await self._ask(cluster.STORE, "get_callback", job_id)

    async def resend_callback(self, job_id: str) -> Callback:
        return await self._ask(cluster.STORE, "resend_callback", job_id)

    async def check_health(self) -> None:
        await self._ask(cluster.SUPERVISOR, "ready")
        await self._ask(cluster.STORE, "ping")

    async def _upload(self, chunks: AsyncIterator[bytes], limit: _Limit, finish: str, *args: Any) -> Any:
        """What the store's method `finish` makes of the content; of one that breaks off the store keeps nothing."""
        upload = await self._ask(cluster.STORE, "begin_upload")
        try:
            size = 0
            async for chunk in _gathered(chunks):
                if size + len(chunk) > limit.size_bytes:
                    raise TooLarge(f"the file is larger than {limit.setting} ({limit.size_bytes})")
                await self._ask(cluster.STORE, "append_upload", upload, size, chunk)
                size += len(chunk)
            return await self._ask(cluster.STORE, finish, upload, *args)
        except BaseException:
            await self._ask(cluster.STORE, "abort_upload", upload)
            raise

    async def _ask(self, actor: str, verb: str, *args: Any) -> Any:
        """Call a method of the actor of that name. Who was kept may be a predecessor: then once more."""
        kept = self._peers.get(actor)
        if kept:
            with contextlib.suppress(ActorGone):
                return await kept.ask(verb, *args)
            self._forget(actor, kept)
        handle = await cluster.find(actor)
        reply = await cluster.call(getattr(handle, verb).remote(*args))
        await self._keep(actor, handle)
        return reply

    async def _keep(self, actor: str, handle: ActorHandle) -> None:
        """Unless another call did meanwhile; as long as the actor lives, where that can be seen."""
        if actor in self._peers or actor in self._connecting:
            return
        self._connecting.add(actor)
        try:
            found = await peer(handle)
        finally:
            self._connecting.discard(actor)
        if found:
            self._peers[actor] = found
            if found.line:
                found.line.gone.add_done_callback(lambda _: self._forget(actor, found))

    def _forget(self, actor: str, kept: Peer) -> None:
        if self._peers.get(actor) is kept and not kept.is_connected:
            del self._peers[actor]


async def _gathered(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces large enough to be worth an actor call each, and less than twice as large."""
    held = bytearray()
    async for chunk in chunks:
        for start in range(0, len(chunk), UPLOAD_CHUNK_BYTES):
            held += chunk[start : start + UPLOAD_CHUNK_BYTES]
            if len(held) >= UPLOAD_CHUNK_BYTES:
                yield bytes(held)
                held.clear()
    if held:
        yield bytes(held)
