"""The rows of jobs, as the store's writer makes and changes them, inside a batch's transaction."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rayjobs.errors import ContextStopping, ErrorData, JobExists
from rayjobs.records import Callback, CallbackState, JobInfo, utc_now
from rayjobs.states import CONTEXT_FINAL, JobEvent, JobState, job_states_leading
from rayjobs.store import rows
from rayjobs.store.blobs import Blobs
from rayjobs.store.writes import Whole

Execute = Callable[..., list[rows.Row]]
"""Runs a named query with its values, and returns its rows."""


class JobRows:
    """Each method bears repetition."""

    def __init__(self, execute: Execute, blobs: Blobs):
        self._execute = execute
        self._blobs = blobs

    def create(self, info: JobInfo, config: dict[str, Any]) -> None:
        if self._is_there(info):
            return
        if self._execute("is_context_over", id=info.context_id, final=sorted(CONTEXT_FINAL)):
            raise ContextStopping("Context stop in progress")
        self._execute("create_job", **rows.row_of_job(info), config=json.dumps(config))

    def change(self, info: JobInfo, leaving: frozenset[JobState]) -> bool:
        changed = self._execute("change_job", **rows.row_of_change(info), leaving=sorted(leaving))[0]["Count"] > 0
        if not changed:
            return self._is_so(info)
        if info.callback_url and info.state.is_final:
            self._add_callback(info.job_id, info.callback_url)
        return True

    def finish(self, info: JobInfo, result: str | Path) -> bool:
        """`result` as text, or as the draft of a file."""
        won = self.change(info, job_states_leading(JobEvent.SUCCEEDED))
        if isinstance(result, str):
            if won:
                self._execute("add_result", job_id=info.job_id, result=result)
        elif won:
            self._blobs.keep_result(info.job_id, result)
        else:
            result.unlink(missing_ok=True)
        return won

    def record(self, whole: list[rows.Row]) -> None:
        """Write jobs that are over already, all by one statement, which fails if one of them is there."""
        self._insert(whole)
        for row in whole:
            if row["callback_url"]:
                self._add_callback(row["job_id"], row["callback_url"])

    def record_missing(self, whole: list[rows.Row]) -> None:
        """`record` of those that are not there."""
        if missing := self._missing(whole):
            self.record(missing)

    def begin_missing(self, begun: list[rows.Row]) -> None:
        """Write jobs that are not over, if they are not there."""
        if missing := self._missing(begun):
            self._insert(missing)

    def record_once(self, job: Whole, draft: Path | None = None) -> bool:
        """`record` of one job that may be there; True if it is there as it is to be. A `draft` is its result's file."""
        if self._is_there(job.info):
            if draft:
                draft.unlink(missing_ok=True)
            return self._is_so(job.info)
        self.record([rows.row_of_whole_job(job.info, job.config, None if draft else job.result_json)])
        if draft:
            self._blobs.keep_result(job.info.job_id, draft)
        return True

    def lose(self, query: str, error: ErrorData, **values: rows.Value) -> list[str]:
        """End the jobs that a query finds, for their context is lost; their ids."""
        leaving = job_states_leading(JobEvent.CONTEXT_LOST)
        found = self._execute(query, states=sorted(leaving), **values)
        ended = [rows.job_of(row).after(JobEvent.CONTEXT_LOST, error) for row in found]
        for info in ended:
            self.change(info, leaving)
        return [info.job_id for info in ended]

    def delete(self, job_ids: list[str]) -> None:
        """With their results and callbacks."""
        if job_ids:
            self._execute("delete_results", job_ids=job_ids)
            self._execute("delete_callbacks", job_ids=job_ids)
            self._execute("delete_jobs", job_ids=job_ids)

    def _insert(self, whole: list[rows.Row]) -> None:
        self._execute("record_jobs", **{column: [row[column] for row in whole] for column in whole[0]})

    def _missing(self, whole: list[rows.Row]) -> list[rows.Row]:
        """Those that are not there, each once."""
        there = {row["job_id"] for row in self._execute("jobs_among", job_ids=[row["job_id"] for row in whole])}
        return list({row["job_id"]: row for row in whole if row["job_id"] not in there}.values())

    def _is_there(self, info: JobInfo) -> bool:
        """Raises `JobExists` for another job of that id."""
        for known in self._execute("job_origin", job_id=info.job_id):
            if (known["context_id"], rows.utc(known["start_time"])) == (info.context_id, info.start_time):
                return True
            raise JobExists(f"job {info.job_id} exists")
        return False

    def _is_so(self, info: JobInfo) -> bool:
        return bool(self._execute("is_job_so", **rows.row_of_state(info)))

    def _add_callback(self, job_id: str, url: str) -> None:
        due = Callback(job_id, url, CallbackState.PENDING, next_attempt=utc_now())
        self._execute("add_callback", **rows.row_of_callback(due), url=url)
