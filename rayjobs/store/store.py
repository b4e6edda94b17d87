"""The job store: what the service knows, in one DuckDB file and the files beside it.

One process owns the file, through a `Store`. Every method is one transaction, durable when it returns. Writes
of concurrent callers are committed together (`group.py`), in the order in which they came; reads go their own
way and see every write that was acknowledged. Failures of the disk or of DuckDB are `StorageFailure`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rayjobs import actor_lines
from rayjobs.binaries import check_content
from rayjobs.change_count import ChangeCount
from rayjobs.errors import ErrorData, NoSuchBinary, NoSuchJob, RayJobsError, StorageFailure
from rayjobs.gathering import Outcome
from rayjobs.process_log import log_to_stderr
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
from rayjobs.states import CONTEXT_FINAL, JOB_FINAL, JobState
from rayjobs.store import database, rows, under_way
from rayjobs.store.binaries import BinaryRows
from rayjobs.store.blobs import Blobs, Upload, changes_file, safe_job_id
from rayjobs.store.callbacks import CallbackRows, callback_of
from rayjobs.store.contexts import ContextRows
from rayjobs.store.data_files import DataFile, DataFiles
from rayjobs.store.database import as_storage_failure, storage_failure
from rayjobs.store.group import GroupCommit, Operation
from rayjobs.store.jobs import JobRows
from rayjobs.store.journal import Journals, News, journals_folder
from rayjobs.store.uploads import Uploads
from rayjobs.store.writer import Writer
from rayjobs.store.writes import Changed, Created, Finished, JobWrite, Whole

T = TypeVar("T")

log = logging.getLogger(__name__)

FILE_THREADS = 4
UPLOAD_THREADS = 2
KEEP_UP_S = 1.0


class Store:
    def __init__(self, data_dir: str, inline_result_bytes: int):
        """Open or create the store in `data_dir`; raises `StorageFailure`, also if another process has it."""
        log_to_stderr()
        self._folder = data_dir
        self._inline_result_bytes = inline_result_bytes
        self._reader_thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")
        self._file_threads = ThreadPoolExecutor(FILE_THREADS, thread_name_prefix="store-files")
        try:
            self._blobs = Blobs(Path(data_dir))
            # Threads of their own: the sync of a large upload must not delay the ends of jobs.
            self._uploads = Uploads(self._blobs, ThreadPoolExecutor(UPLOAD_THREADS, thread_name_prefix="store-uploads"))
            self._data_files = DataFiles(Path(data_dir) / "data")
            self._writer = Writer(Path(data_dir) / "rayjobs.duckdb")
            self._group = GroupCommit(self._writer.commit)
            execute = self._writer.execute
            self._binaries = BinaryRows(execute, self._blobs)
            self._jobs = JobRows(execute, self._blobs)
            self._contexts = ContextRows(execute, self._jobs)
            self._callbacks = CallbackRows(execute)
            # Only now is the folder ours alone.
            self._blobs.remove_uploads()
            self._binaries.remove_unused_contents()
            self._journals = Journals(journals_folder(Path(data_dir)), self._taken_of_journals(Path(data_dir)))
            self._changes = ChangeCount(changes_file(Path(data_dir)))
            self._changes.grow()
        except database.failures() as error:
            raise StorageFailure(f"can't open the job store in {data_dir}: {error}") from error
        self._catching_up = asyncio.Lock()
        self._listener = actor_lines.offer(self)
        self._keeping_up = asyncio.get_running_loop().create_task(self._keep_up(), name="keep-up-with-journals")

    async def folder(self) -> str:
        """The data directory, on this node."""
        return self._folder

    async def ping(self) -> None:
        """Returns if the database answers."""
        await self._read("ping")

    async def close(self) -> None:
        """Finish what waits, checkpoint and close the file. A second call does nothing."""
        if not self._group.closed:
            self._keeping_up.cancel()
            try:
                await self._catch_up()
            except StorageFailure:
                log.exception("the journals of jobs could not be taken in; the next store does")
            await self._group.close(last=self._writer.checkpoint)
            await _in(self._reader_thread, self._writer.reader.close)
            await asyncio.to_thread(self._writer.close)
            self._changes.close()

    # Uploads

    async def begin_upload(self) -> str:
        """The id of a new, empty upload."""
        with storage_failure("can't save an upload"):
            return await self._uploads.begin()

    async def append_upload(self, upload_id: str, offset: int, chunk: bytes) -> None:
        """Add the chunk that begins at `offset`: once, however often it comes. Raises `StorageFailure` for a gap.

        Chunks land in the order of the calls. A failure of the disk ends the upload.
        """
        with storage_failure("can't save an upload"):
            await self._uploads.append(upload_id, offset, chunk)

    async def finish_upload(self, upload_id: str, app_name: str, binary_type: BinaryType) -> BinaryInfo:
        """Make the upload the app's latest version; raises `BadBinary`. The upload is over either way."""

        async def keep(upload: Upload) -> BinaryInfo:
            await _in(self._file_threads, check_content, upload.path, binary_type)
            info = await self._group.run(lambda: self._binaries.add(upload, app_name, binary_type))
            self._note_change()
            return info

        with storage_failure(f"can't save binary: {app_name}"):
            return await self._uploads.finish(upload_id, keep)

    async def finish_data_upload(self, upload_id: str, prefix: str) -> str:
        """Make the upload a data file: its path. Raises `BadDataFileName`. The upload is over either way."""

        async def keep(upload: Upload) -> str:
            return await _in(self._file_threads, self._data_files.keep, upload, prefix, utc_now())

        with storage_failure(f"can't save data file: {prefix}"):
            return await self._uploads.finish(upload_id, keep)

    async def abort_upload(self, upload_id: str) -> None:
        """Remove an upload; nothing happens if it is not there."""
        with storage_failure("can't remove an upload"):
            await self._uploads.abort(upload_id)

    # Binaries

    async def list_binaries(self) -> list[BinaryInfo]:
        """The latest version of each app, by name."""
        return [rows.binary_of(row) for row in await self._read("list_binaries")]

    async def get_binary(self, app_name: str) -> BinaryInfo:
        """The latest version; raises `NoSuchBinary`."""
        found = await self._read("get_binary", app_name=app_name)
        if not found:
            raise NoSuchBinary(f"appName {app_name} not found")
        return rows.binary_of(found[0])

    async def get_binaries(self, app_names: list[str]) -> list[BinaryInfo]:
        """The latest versions, in that order; raises `NoSuchBinary` for the first that is not there."""
        return [await self.get_binary(app_name) for app_name in app_names]

    async def read_binary(self, sha256: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` of a content from `offset` on, none at its end; raises `NoSuchBinary`."""
        with storage_failure("can't read binary"):
            return await _in(self._file_threads, self._blobs.read_binary, sha256, offset, limit_bytes)

    async def delete_binary(self, app_name: str) -> None:
        """Delete all versions; raises `BinaryInUse`, `NoSuchBinary`. Ended jobs still tell what they ran."""
        await self._group.run(lambda: self._binaries.delete(app_name))
        self._note_change()
        # A write of its own: files go once no row can come back. What fails here is done at the next start.
        with contextlib.suppress(StorageFailure):
            await self._group.run(self._binaries.remove_unused_contents)

    # Data files: each is named by its path on this node, or by the last part of it.

    async def list_data_files(self) -> list[str]:
        """Their absolute paths."""
        with storage_failure("can't list the data files"):
            return await _in(self._file_threads, self._data_files.paths)

    async def find_data_file(self, name: str) -> DataFile:
        """Raises `NoSuchDataFile`."""
        with storage_failure(f"can't find data file {name}"):
            return await _in(self._file_threads, self._data_files.find, name)

    async def read_data_file(self, name: str, offset: int, limit_bytes: int) -> bytes:
        """At most `limit_bytes` of it from `offset` on, none at its end; raises `NoSuchDataFile`."""
        with storage_failure(f"can't read data file {name}"):
            return await _in(self._file_threads, self._data_files.read, name, offset, limit_bytes)

    async def delete_data_file(self, name: str) -> None:
        """Raises `NoSuchDataFile`."""
        with storage_failure(f"can't delete data file {name}"):
            await _in(self._file_threads, self._data_files.remove, name)

    async def reset_data_files(self, wait: bool) -> None:
        """Delete all of them; `wait` for that, or let it go on in the background."""
        deletion = asyncio.get_running_loop().run_in_executor(self._file_threads, self._data_files.remove_all)
        if wait:
            with storage_failure("can't delete the data files"):
                await deletion

    # Contexts

    async def save_context(self, info: ContextInfo) -> None:
        """Insert or replace the context's row."""
        await self._group.run(lambda: self._contexts.save(info))

    async def end_context(self, info: ContextInfo, error: ErrorData) -> list[str]:
        """Write a context's final state and end the jobs it leaves, with `error`, at once; the ids of those jobs.

        From then on it takes no new job and no change of one.
        """
        return await self._with_what_it_left(info, lambda: self._contexts.end(info, error))

    async def get_context(self, context_id: str) -> ContextInfo | None:
        found = await self._read("get_context", id=context_id)
        return rows.context_of(found[0]) if found else None

    async def restart_context(self, info: ContextInfo, error: ErrorData) -> list[str]:
        """Write RESTARTING for a context and for its running async jobs; end its other jobs. All with `error`.

        Returns the ids of all these jobs.
        """
        return await self._with_what_it_left(info, lambda: self._contexts.restart(info, error))

    async def _with_what_it_left(self, info: ContextInfo, operation: Operation[list[str]]) -> list[str]:
        """The operation, in one transaction with the jobs that only the notes of a context which died have.

        Notes that cannot be read or stored, whatever is wrong with them, must not keep a context from its end.
        """
        folder = self._journals.folder
        await _in(self._file_threads, under_way.await_writer_gone, folder, info.id)
        await self._catch_up()
        ended = None
        try:
            if begun := await _in(self._file_threads, under_way.left_by, folder, info.id):
                ended = await self._group.run(lambda: (self._jobs.begin_missing(begun), operation())[1])
        except Exception:
            log.exception("jobs that context %s had begun leave no record", info.id)
        if ended is None:
            ended = await self._group.run(operation)
        with storage_failure("can't remove the notes of jobs under way"):
            await _in(self._file_threads, under_way.forget, folder, info.id)
        return ended

    async def restarting_jobs(self, context_id: str) -> list[tuple[JobInfo, dict[str, Any]]]:
        """The context's jobs that wait to run again, with their posted configurations, oldest first."""
        found = await self._read_jobs("restartable_jobs", context_id=context_id, state=JobState.RESTARTING.value)
        return [(rows.job_of(row), json.loads(row["config"])) for row in found]

    async def delete_older(self, before: datetime) -> int:
        """Delete what ended before then: jobs with results and logs, and contexts that have no jobs left.

        Returns how many jobs. What has not ended stays, however old.
        """
        final, since = sorted(JOB_FINAL), rows.zoneless(before)
        old = await self._read_jobs("old_jobs", final=final, before=since, pending=CallbackState.PENDING.value)
        job_ids = [row["job_id"] for row in old]
        # Files first: what cannot be removed now is found again as long as it has a row.
        with storage_failure("can't delete old results"):
            await _in(self._file_threads, self._blobs.remove_jobs, job_ids)

        def delete() -> None:
            self._jobs.delete(job_ids)
            self._contexts.delete_old(since)

        await self._group.run(delete)
        return len(job_ids)

    async def unfinished_contexts(self) -> list[ContextInfo]:
        """Those in states that are not final, oldest first."""
        found = await self._read("unfinished_contexts", final=sorted(CONTEXT_FINAL))
        return [rows.context_of(row) for row in found]

    # Jobs

    async def create_job(self, info: JobInfo, config: dict[str, Any]) -> None:
        """Insert a job with its posted configuration; the same one again changes nothing.

        Raises `JobExists`; `ContextStopping` if its context has ended.
        """
        safe_job_id(info.job_id)
        await self._catch_up()
        await self._group.run(lambda: self._jobs.create(info, config))

    async def change_job(self, info: JobInfo, leaving: frozenset[JobState]) -> bool:
        """Write the job's state, end and error if its state is one of `leaving`; False if it is not.

        True as well if that very change is there already: a call that Ray made again.
        """
        return await self._group.run(lambda: self._jobs.change(info, leaving))

    async def finish_job(self, info: JobInfo, result_json: str) -> bool:
        """Write the result and FINISHED, if the job is RUNNING; False if it is not. Bears repetition."""
        draft = await self._draft(info, result_json)
        return await self._group.run(lambda: self._jobs.finish(info, draft or result_json))

    async def write_jobs(self, writes: list[JobWrite]) -> list[Outcome[Any]]:
        """What each write came to, as the methods above would tell it. Bears repetition."""
        return await asyncio.gather(*(_outcome_of(self._write(write)) for write in writes))

    async def _write(self, write: JobWrite) -> bool | None:
        match write:
            case Created(info, config):
                return await self.create_job(info, config)
            case Changed(info, leaving):
                return await self.change_job(info, leaving)
            case Finished(info, result_json):
                return await self.finish_job(info, result_json)
            case Whole(info, _, result_json):
                draft = await self._draft(info, result_json)
                return await self._group.run(lambda: self._jobs.record_once(write, draft))

    def _is_large(self, result_json: str | None) -> bool:
        return result_json is not None and len(result_json.encode()) > self._inline_result_bytes

    async def _draft(self, info: JobInfo, result_json: str | None) -> Path | None:
        """The draft of a file for a result that is too large for the database."""
        if not self._is_large(result_json):
            return None
        with storage_failure(f"can't save the result of job {info.job_id}"):
            return await _in(self._file_threads, self._blobs.draft_result, result_json.encode())

    async def get_job(self, job_id: str, longest_result_bytes: int | None = None) -> JobReply:
        """The job, without its result if that is in a file and longer than told; raises `NoSuchJob`."""
        found = await self._read_jobs("get_job", job_id=job_id)
        if not found:
            raise NoSuchJob(f"No such job ID {job_id}")
        job, result = rows.job_of(found[0]), found[0]["result"]
        if job.state is JobState.FINISHED and result is None:
            result = await self._result_in_file(job_id, longest_result_bytes)
        return JobReply(job, result)

    async def list_jobs(self, limit: int, state: JobState | None) -> list[JobInfo]:
        """At most `limit` jobs, of one state or of all, newest start first."""
        if state is None:
            found = await self._read_jobs("list_jobs", limit=limit)
        else:
            found = await self._read_jobs("list_jobs_in_state", limit=limit, state=state.value)
        return [rows.job_of(row) for row in found]

    async def job_config(self, job_id: str) -> dict[str, Any]:
        """The posted configuration; raises `NoSuchJob`."""
        found = await self._read_jobs("job_config", job_id=job_id)
        if not found:
            raise NoSuchJob(f"No such job ID {job_id}")
        return json.loads(found[0]["config"])

    async def end_orphans(self, error: ErrorData) -> list[str]:
        """End the unfinished jobs of contexts that have ended, with `error`; the ids of those jobs."""
        return await self._group.run(lambda: self._contexts.end_orphans(error))

    async def save_log(self, job_id: str, content: bytes) -> None:
        """Replace the job's log; raises `NoSuchJob` for an id that no job can have."""
        with storage_failure(f"can't save the log of job {job_id}"):
            await _in(self._file_threads, self._blobs.save_log, job_id, content)

    async def read_log(self, job_id: str) -> bytes:
        """The job's log, empty if there is none; raises `NoSuchJob` for an id that no job can have."""
        with storage_failure(f"can't read the log of job {job_id}"):
            return await _in(self._file_threads, self._blobs.read_log, job_id)

    # Callbacks

    async def get_callback(self, job_id: str) -> Callback:
        """WAITING until the job is over; raises `NoSuchJob`, `NoSuchCallback`."""
        found = await self._read_jobs("get_callback", job_id=job_id, waiting=CallbackState.WAITING.value)
        return callback_of(job_id, found)

    async def due_callbacks(self, now: datetime, sending: list[str], limit: int, per_receiver: int) -> list[Callback]:
        """At most `limit` callbacks whose next attempt is due, oldest first, without those of the jobs in `sending`.

        Of each receiver at most `per_receiver`, less those in `sending`: a slow one takes no more than its share.
        """
        values = {"state": CallbackState.PENDING.value, "now": rows.zoneless(now), "sending": sending}
        found = await self._read_jobs("due_callbacks", **values, limit=limit, per_receiver=per_receiver)
        return [rows.callback_of(row) for row in found]

    async def record_attempt(self, before: Callback, after: Callback) -> None:
        """Write what an attempt came to; nothing if the callback is no longer as `before`. Bears repetition."""
        await self._group.run(lambda: self._callbacks.change(before, after))

    async def resend_callback(self, job_id: str) -> Callback:
        """The callback, due now, whatever became of it; raises `NoSuchJob`, `NoSuchCallback`, `JobNotOver`."""
        await self._catch_up()
        return await self._group.run(lambda: self._callbacks.resend(job_id))

    def _note_change(self) -> None:
        """A binary has come or gone: contexts on this node, which do not ask for each job, look anew."""
        with storage_failure("can't note a change of binaries"):
            self._changes.grow()

    def _record_news(self, record: Callable[[list[rows.Row]], None], news: News) -> None:
        if news.rows:
            record(news.rows)
        for path, end in news.ends.items():
            self._writer.execute("note_journal", name=path.name, taken_bytes=end)

    def _taken_of_journals(self, data_dir: Path) -> dict[Path, int]:
        """Up to where each journal is in the database; those that are gone are forgotten."""
        known = self._writer.execute("journals")
        taken = {journals_folder(data_dir) / row["name"]: row["taken_bytes"] for row in known}
        for path in [path for path in taken if not path.exists()]:
            self._writer.execute("forget_journal", name=path.name)
        return taken

    async def _read(self, query: str, **values: rows.Value) -> list[rows.Row]:
        if self._group.closed:
            raise StorageFailure("the job store is closed")
        with storage_failure("can't read the job store"):
            return await _in(self._reader_thread, database.fetch, self._writer.reader, query, values)

    async def _read_jobs(self, query: str, **values: rows.Value) -> list[rows.Row]:
        """`_read`, once the journals are taken in."""
        if not self._group.closed:
            await self._catch_up()
        return await self._read(query, **values)

    async def _result_in_file(self, job_id: str, longest_bytes: int | None) -> str | None:
        with storage_failure(f"can't read the result of job {job_id}"):
            content = await _in(self._file_threads, self._blobs.read_result, job_id, longest_bytes)
        return None if content is None else content.decode()

    async def _keep_up(self) -> None:
        """Journals are taken in though nobody asks, so that they stay short."""
        while True:
            await asyncio.sleep(KEEP_UP_S)
            try:
                await self._catch_up()
                await _in(self._file_threads, self._journals.remove_read)
            except Exception:
                log.exception("the journals of jobs could not be taken in; tried again")

    async def _catch_up(self) -> None:
        """Have in the database what the journals hold: whatever was acknowledged is there for what comes next."""
        async with self._catching_up:
            with storage_failure("can't take in the journals of jobs"):
                sizes = self._journals.sizes()
                while (news := self._journals.news(sizes)).ends:
                    await self._take_in(news)
                    self._journals.taken(news)

    async def _take_in(self, news: News) -> None:
        try:
            await self._group.run(partial(self._record_news, self._jobs.record, news))
        except StorageFailure:  # an id that another job has
            await self._group.run(partial(self._record_news, self._jobs.record_missing, news))


async def _outcome_of(write: Awaitable[T]) -> Outcome[T]:
    try:
        return Outcome(await write)
    except RayJobsError as error:
        return Outcome(error=error)
    except Exception as error:  # which must not be that of the writes beside it
        return Outcome(error=as_storage_failure(error))


async def _in(thread: ThreadPoolExecutor, function: Callable[..., T], *args: object) -> T:
    return await asyncio.get_running_loop().run_in_executor(thread, function, *args)
