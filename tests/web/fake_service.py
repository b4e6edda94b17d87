"""`JobService` in memory: jobs are Python functions by class path, and run in tasks of their own."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from rayjobs.errors import (
    BadBinary,
    BinaryInUse,
    ContextExists,
    ErrorData,
    JobNotOver,
    NoRunningJob,
    NoSuchBinary,
    NoSuchCallback,
    NoSuchClass,
    NoSuchContext,
    NoSuchDataFile,
    NoSuchJob,
    RayJobsError,
)
from rayjobs.job_binaries import check_binaries, names_to_find
from rayjobs.records import (
    BinaryInfo,
    BinaryType,
    Callback,
    CallbackState,
    ContextInfo,
    JobInfo,
    JobReply,
    utc_now,
)
from rayjobs.repetition import check_repeated
from rayjobs.service import Submission
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState
from rayjobs.store.data_files import check_prefix

Program = Callable[[dict[str, Any]], Awaitable[Any]]


class FakeService:
    """Every app runs every class in `programs`. `failure`, once set, is raised by every call."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.programs: dict[str, Program] = {}
        self.binaries: dict[str, BinaryInfo] = {}
        self.contents: dict[str, bytes] = {}
        self.contexts: dict[str, ContextInfo] = {}
        self.jobs: dict[str, JobInfo] = {}
        self.results: dict[str, str] = {}
        self.submissions: dict[str, Submission] = {}
        self.logs: dict[str, bytes] = {}
        self.callbacks: dict[str, Callback] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.stops_slowly = False
        self.forced: list[bool] = []
        self.resets: list[bool] = []
        self.first_chunk_seen = asyncio.Event()
        self.aborted_uploads = 0
        self.data_files: dict[str, bytes] = {}
        self.data_resets: list[bool] = []

    async def list_binaries(self) -> list[BinaryInfo]:
        self._fail()
        return sorted(self.binaries.values(), key=lambda binary: binary.app_name)

    async def get_binary(self, app_name: str) -> BinaryInfo:
        self._fail()
        if app_name not in self.binaries:
            raise NoSuchBinary(f"Can't find binary with name {app_name}")
        return self.binaries[app_name]

    async def upload_binary(self, app_name: str, binary_type: BinaryType, chunks: AsyncIterator[bytes]) -> BinaryInfo:
        self._fail()
        content = await self._whole(chunks)
        if binary_type is not BinaryType.PYTHON and not content.startswith(b"PK\x03\x04"):
            raise BadBinary("Binary is not of the right format")
        sha = hashlib.sha256(content).hexdigest()
        self.contents[app_name] = content
        self.binaries[app_name] = BinaryInfo(app_name, binary_type, utc_now(), sha, len(content))
        return self.binaries[app_name]

    async def delete_binary(self, app_name: str) -> None:
        self._fail()
        unfinished = [job for job in self.jobs.values() if not job.state.is_final]
        users = [job.job_id for job in unfinished if app_name in [binary.app_name for binary in job.binaries]]
        if users:
            raise BinaryInUse(f"Binary is in use by job(s): {', '.join(users)}")
        if self.binaries.pop(app_name, None) is None:
            raise NoSuchBinary(f"can't find binary with name {app_name}")

    async def list_data_files(self) -> list[str]:
        self._fail()
        return sorted(self.data_files)

    async def upload_data_file(self, prefix: str, chunks: AsyncIterator[bytes]) -> str:
        self._fail()
        check_prefix(prefix)
        path = f"/srv/data/{prefix}-{len(self.data_files)}.dat"
        self.data_files[path] = await self._whole(chunks)
        return path

    async def delete_data_file(self, name: str) -> None:
        self._fail()
        path = name if name.startswith("/srv/data/") else f"/srv/data/{name}"
        if self.data_files.pop(path, None) is None:
            raise NoSuchDataFile(f"No such data file {name}")

    async def reset_data_files(self, wait: bool) -> None:
        self._fail()
        self.data_resets.append(wait)
        self.data_files.clear()

    async def list_contexts(self) -> list[str]:
        self._fail()
        return [name for name, context in reversed(self.contexts.items()) if not context.state.is_final]

    async def get_context(self, name: str) -> ContextInfo:
        self._fail()
        if name not in self.contexts:
            raise NoSuchContext(f"can't find context with name {name}")
        return self.contexts[name]

    async def create_context(self, name: str, settings: dict[str, Any]) -> ContextInfo:
        self._fail()
        if name in self.contexts:
            raise ContextExists(f"context {name} exists")
        new = ContextInfo(str(uuid4()), name, ContextState.STARTED, utc_now(), settings)
        self.contexts[name] = new.after(ContextEvent.INITIALISED)
        return self.contexts[name]

    async def reset_contexts(self, wait: bool) -> None:
        self._fail()
        self.resets.append(wait)
        self.contexts.clear()

    async def stop_context(self, name: str, force: bool = False) -> bool:
        self._fail()
        self.forced.append(force)
        if name not in self.contexts:
            raise NoSuchContext(f"context {name} not found")
        if not self.stops_slowly:
            del self.contexts[name]
        return not self.stops_slowly

    async def start_job(self, submission: Submission) -> JobReply:
        self._fail()
        names = names_to_find(submission)
        for missing in (name for name in names if name not in self.binaries):
            raise NoSuchBinary(f"appName {missing} not found")
        binaries = [self.binaries[name] for name in names]
        name = submission.context or f"{uuid4()}-{submission.class_path}"
        if submission.context and name not in self.contexts:
            raise NoSuchContext(f"context {name} not found")
        check_binaries(submission, binaries)
        if submission.class_path not in self.programs:
            raise NoSuchClass(f"classPath {submission.class_path} not found")
        job_id = submission.job_id
        if submission.may_be_repeated and job_id in self.jobs:
            check_repeated(submission, self.jobs[job_id], self.submissions[job_id].config)
            await asyncio.wait([self.tasks[job_id]], timeout=submission.wait_s)
            return await self.get_job(job_id)
        new = JobInfo(job_id, "c1", name, binaries[0], submission.class_path, JobState.STARTED, utc_now())
        new = replace(new, dependencies=tuple(binaries[1:]))
        self.jobs[job_id] = new.after(JobEvent.VALIDATED)
        self.submissions[job_id] = submission
        self.tasks[job_id] = asyncio.create_task(self._run(submission))
        await asyncio.wait([self.tasks[job_id]], timeout=submission.wait_s)
        return await self.get_job(job_id)

    async def get_job(self, job_id: str) -> JobReply:
        self._fail()
        if job_id not in self.jobs:
            raise NoSuchJob(f"No such job ID {job_id}")
        return JobReply(self.jobs[job_id], self.results.get(job_id))

    async def list_jobs(self, limit: int, state: JobState | None) -> list[JobInfo]:
        self._fail()
        return [job for job in reversed(self.jobs.values()) if state in (None, job.state)][:limit]

    async def job_config(self, job_id: str) -> dict[str, Any]:
        await self.get_job(job_id)
        return self.submissions[job_id].config

    async def job_log(self, job_id: str) -> bytes:
        await self.get_job(job_id)
        return self.logs.get(job_id, b"")

    async def kill_job(self, job_id: str) -> JobInfo:
        job = (await self.get_job(job_id)).job
        if job.state in (JobState.FINISHED, JobState.KILLED):
            raise NoRunningJob(f"No running job with ID {job_id}")
        if job.state is not JobState.ERROR:
            self.tasks[job_id].cancel()
            self.jobs[job_id] = job.after(JobEvent.KILLED, ErrorData(f"Job {job_id} killed", "JobKilled", ""))
        return self.jobs[job_id]

    async def get_callback(self, job_id: str) -> Callback:
        job = (await self.get_job(job_id)).job
        url = self.submissions[job_id].callback_url
        if url is None:
            raise NoSuchCallback(f"job {job_id} was started without a callbackUrl")
        if not job.state.is_final:
            return Callback(job_id, url, CallbackState.WAITING)
        pending = Callback(job_id, url, CallbackState.PENDING, next_attempt=job.end_time)
        return self.callbacks.setdefault(job_id, pending)

    async def resend_callback(self, job_id: str) -> Callback:
        callback = await self.get_callback(job_id)
        if callback.state is CallbackState.WAITING:
            raise JobNotOver(f"job {job_id} is not over: its callback is sent when it is")
        self.callbacks[job_id] = callback.again(utc_now())
        return self.callbacks[job_id]

    async def check_health(self) -> None:
        self._fail()

    async def _whole(self, chunks: AsyncIterator[bytes]) -> bytes:
        content = b""
        try:
            async for chunk in chunks:
                content += chunk
                self.first_chunk_seen.set()
        except BaseException:
            self.aborted_uploads += 1
            raise
        return content

    async def _run(self, submission: Submission) -> None:
        job_id = submission.job_id
        try:
            self.results[job_id] = json.dumps(await self.programs[submission.class_path](submission.config))
            event, error = JobEvent.SUCCEEDED, None
        except Exception as raised:
            event, error = JobEvent.FAILED, ErrorData(str(raised), type(raised).__name__, "Traceback: here")
        self.jobs[job_id] = self.jobs[job_id].after(event, error)

    def _fail(self) -> None:
        if isinstance(self.failure, RayJobsError):
            raise type(self.failure)(self.failure.message, self.failure.detail)
        if self.failure:
            raise self.failure
