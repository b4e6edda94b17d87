"""The rows of contexts, and what becomes of their jobs with them, inside a batch's transaction."""

from __future__ import annotations

from datetime import datetime

from rayjobs.errors import ErrorData
from rayjobs.records import ContextInfo
from rayjobs.states import CONTEXT_FINAL, JobEvent, JobState, job_states_leading
from rayjobs.store import rows
from rayjobs.store.jobs import Execute, JobRows


class ContextRows:
    """Each method bears repetition; those that end jobs return their ids."""

    def __init__(self, execute: Execute, jobs: JobRows):
        self._execute = execute
        self._jobs = jobs

    def save(self, info: ContextInfo) -> None:
        self._execute("save_context", **rows.row_of_context(info))

    def end(self, info: ContextInfo, error: ErrorData) -> list[str]:
        """Its final state, and the end of the jobs that it leaves."""
        self.save(info)
        return self._jobs.lose("jobs_of_context", error, context_id=info.id)

    def restart(self, info: ContextInfo, error: ErrorData) -> list[str]:
        """RESTARTING, for it and for its running async jobs; the end of its others. The ids of all."""
        self.save(info)
        leaving = job_states_leading(JobEvent.CONTEXT_RESTARTING)
        found = self._execute("jobs_of_context", context_id=info.id, states=sorted(leaving))
        again = [job for job in map(rows.job_of, found) if job.is_async]
        for job in again:
            self._jobs.change(job.after(JobEvent.CONTEXT_RESTARTING, error), leaving)
        waiting = self._execute("restartable_jobs", context_id=info.id, state=JobState.RESTARTING.value)
        restarting = {row["job_id"] for row in waiting}
        ending = job_states_leading(JobEvent.CONTEXT_LOST)
        found = self._execute("jobs_of_context", context_id=info.id, states=sorted(ending))
        others = [job for job in map(rows.job_of, found) if job.job_id not in restarting]
        for job in others:
            self._jobs.change(job.after(JobEvent.CONTEXT_LOST, error), ending)
        return sorted(restarting.union(job.job_id for job in others))

    def end_orphans(self, error: ErrorData) -> list[str]:
        """End the unfinished jobs of contexts that have ended."""
        return self._jobs.lose("orphaned_jobs", error, final=sorted(CONTEXT_FINAL))

    def delete_old(self, before: datetime) -> None:
        """Delete those that ended before then and have no jobs left."""
        self._execute("delete_old_contexts", final=sorted(CONTEXT_FINAL), before=before)
