"""The rows of callbacks, as the store's writer changes them, inside a batch's transaction."""

from __future__ import annotations

from rayjobs.errors import JobNotOver, NoSuchCallback, NoSuchJob
from rayjobs.records import Callback, CallbackState, utc_now
from rayjobs.store import rows
from rayjobs.store.jobs import Execute


class CallbackRows:
    """Each method bears repetition."""

    def __init__(self, execute: Execute):
        self._execute = execute

    def change(self, before: Callback, after: Callback) -> None:
        """Nothing if it is no longer as `before`."""
        known = {"known_attempts": before.attempts, "known_next_attempt": rows.zoneless(before.next_attempt)}
        self._execute("change_callback", **rows.row_of_callback(after), **known)

    def resend(self, job_id: str) -> Callback:
        """Due now, whatever became of it; raises `NoSuchJob`, `NoSuchCallback`, `JobNotOver`."""
        found = self._execute("get_callback", job_id=job_id, waiting=CallbackState.WAITING.value)
        callback = callback_of(job_id, found)
        if callback.state is CallbackState.WAITING:
            raise JobNotOver(f"job {job_id} is not over: its callback is sent when it is")
        again = callback.again(utc_now())
        self.change(callback, again)
        return again


def callback_of(job_id: str, found: list[rows.Row]) -> Callback:
    """The one that the query `get_callback` found; raises `NoSuchJob`, `NoSuchCallback`."""
    if not found:
        raise NoSuchJob(f"No such job ID {job_id}")
    if found[0]["url"] is None:
        raise NoSuchCallback(f"job {job_id} was started without a callbackUrl")
    return rows.callback_of(found[0])
