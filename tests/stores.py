"""What the tests of the job store share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rayjobs.errors import ErrorData
from rayjobs.records import BinaryInfo, BinaryType, ContextInfo, JobInfo
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState, job_states_leading
from rayjobs.store.store import Store

INLINE_BYTES = 100
START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
EGG = BinaryInfo("app", BinaryType.EGG, START, "e" * 64, 12)
LOST = ErrorData("the context died", "ContextLost", "no stack\nhere")


class LocalActor:
    """An object of this process called as an actor is."""

    def __init__(self, actor: object):
        self._actor = actor

    def __getattr__(self, verb: str) -> Any:
        return SimpleNamespace(remote=getattr(self._actor, verb))


def a_job(job_id: str, context_id: str = "c1", app_name: str = "app", start: datetime = START) -> JobInfo:
    binary = replace(EGG, app_name=app_name)
    return JobInfo(job_id, context_id, "ctx", binary, "a.Job", JobState.STARTED, start)


async def upload(store: Store, app_name: str, *chunks: bytes) -> BinaryInfo:
    return await store.finish_upload(await uploaded(store, *chunks), app_name, BinaryType.EGG)


async def uploaded(store: Store, *chunks: bytes) -> str:
    """The id of an upload that has these chunks and waits to be finished."""
    upload_id, offset = await store.begin_upload(), 0
    for chunk in chunks:
        await store.append_upload(upload_id, offset, chunk)
        offset += len(chunk)
    return upload_id


async def content_of(store: Store, sha256: str) -> bytes:
    return await store.read_binary(sha256, 0, 1000)


async def change(store: Store, job: JobInfo, event: JobEvent, error: ErrorData | None = None) -> JobInfo | None:
    """The job after `event`, None if the store held it in no state that the event may leave."""
    changed = job.after(event, error)
    return changed if await store.change_job(changed, job_states_leading(event)) else None


async def running_job(store: Store, job_id: str) -> JobInfo:
    job = a_job(job_id)
    await store.create_job(job, {})
    running = await change(store, job, JobEvent.VALIDATED)
    assert running
    return running


def a_context(context_id: str = "c1") -> ContextInfo:
    return ContextInfo(context_id, "ctx", ContextState.STARTED, START).after(ContextEvent.INITIALISED)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
