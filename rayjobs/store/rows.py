"""Records to rows and back: the only place that knows the columns of `schema.sql`.

A row is a dict by column name. Times are UTC on both sides, without a zone in rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rayjobs.errors import ErrorData
from rayjobs.records import BinaryInfo, BinaryType, Callback, CallbackState, ContextInfo, JobInfo
from rayjobs.states import ContextState, JobState

Value = str | int | bool | datetime | list[str] | None
Row = Mapping[str, Value]


def row_of_binary(info: BinaryInfo) -> Row:
    return {
        "app_name": info.app_name,
        "binary_type": info.binary_type.value,
        "upload_time": zoneless(info.upload_time),
        "sha256": info.sha256,
        "size_bytes": info.size_bytes,
    }


def binary_of(row: Row) -> BinaryInfo:
    return BinaryInfo(
        app_name=row["app_name"],
        binary_type=BinaryType(row["binary_type"]),
        upload_time=utc(row["upload_time"]),
        sha256=row["sha256"],
        size_bytes=row["size_bytes"],
    )


def _json_of_binary(info: BinaryInfo) -> Row:
    return {**row_of_binary(info), "upload_time": info.upload_time.isoformat()}


def _binary_in_json(found: Row) -> BinaryInfo:
    return binary_of({**found, "upload_time": datetime.fromisoformat(found["upload_time"])})


def row_of_context(info: ContextInfo) -> Row:
    return {
        "id": info.id,
        "name": info.name,
        "state": info.state.value,
        "start_time": zoneless(info.start_time),
        "end_time": zoneless(info.end_time),
        "settings": json.dumps(info.settings),
        "is_adhoc": info.is_adhoc,
        "application_id": info.application_id,
        "ui_url": info.ui_url,
        "host": info.host,
        **_row_of_error(info.error),
    }


def context_of(row: Row) -> ContextInfo:
    return ContextInfo(
        id=row["id"],
        name=row["name"],
        state=ContextState(row["state"]),
        start_time=utc(row["start_time"]),
        settings=json.loads(row["settings"]),
        is_adhoc=row["is_adhoc"],
        end_time=utc(row["end_time"]),
        error=_error_of(row),
        application_id=row["application_id"],
        ui_url=row["ui_url"],
        host=row["host"],
    )


def row_of_job(info: JobInfo) -> Row:
    return {
        "context_id": info.context_id,
        "context_name": info.context_name,
        "class_path": info.class_path,
        "start_time": zoneless(info.start_time),
        "is_async": info.is_async,
        "callback_url": info.callback_url,
        "dependencies": json.dumps([_json_of_binary(binary) for binary in info.dependencies]),
        **row_of_binary(info.binary),
        **row_of_change(info),
    }


def row_of_whole_job(ended: JobInfo, config: dict[str, Any], result_json: str | None) -> Row:
    """A job that is written in one piece."""
    return {**row_of_job(ended), "config": json.dumps(config), "result": result_json}


def row_of_change(info: JobInfo) -> Row:
    """What a change of a job's state writes, and the job's id."""
    return {**row_of_state(info), **_row_of_error(info.error)}


def row_of_state(info: JobInfo) -> Row:
    return {"job_id": info.job_id, "state": info.state.value, "end_time": zoneless(info.end_time)}


def job_of(row: Row) -> JobInfo:
    return JobInfo(
        job_id=row["job_id"],
        context_id=row["context_id"],
        context_name=row["context_name"],
        binary=binary_of(row),
        class_path=row["class_path"],
        state=JobState(row["state"]),
        start_time=utc(row["start_time"]),
        end_time=utc(row["end_time"]),
        error=_error_of(row),
        is_async=row["is_async"],
        callback_url=row["callback_url"],
        dependencies=tuple(_binary_in_json(binary) for binary in json.loads(row["dependencies"])),
    )


def row_of_callback(callback: Callback) -> Row:
    """What a change of a callback writes, and its job's id."""
    return {
        "job_id": callback.job_id,
        "state": callback.state.value,
        "attempts": callback.attempts,
        "last_attempt": zoneless(callback.last_attempt),
        "last_status": callback.last_status,
        "last_error": callback.last_error and _encodable(callback.last_error),
        "next_attempt": zoneless(callback.next_attempt),
    }


def callback_of(row: Row) -> Callback:
    return Callback(
        job_id=row["job_id"],
        url=row["url"],
        state=CallbackState(row["state"]),
        attempts=row["attempts"],
        last_attempt=utc(row["last_attempt"]),
        last_status=row["last_status"],
        last_error=row["last_error"],
        next_attempt=utc(row["next_attempt"]),
    )


def utc(time: datetime | None) -> datetime | None:
    """A row's time as records hold it."""
    return time and time.replace(tzinfo=UTC)


def zoneless(time: datetime | None) -> datetime | None:
    """A record's time as rows hold it."""
    return time and time.astimezone(UTC).replace(tzinfo=None)


def _row_of_error(error: ErrorData | None) -> Row:
    if error is None:
        return {"error_message": None, "error_class": None, "error_stack": None}
    return {
        "error_message": _encodable(error.message),
        "error_class": _encodable(error.error_class),
        "error_stack": _encodable(error.stack),
    }


def _error_of(row: Row) -> ErrorData | None:
    if row["error_message"] is None:
        return None
    return ErrorData(row["error_message"], row["error_class"], row["error_stack"])


def _encodable(text: str) -> str:
    """`text` as UTF-8 can hold it: a job's message may carry lone surrogates (`os.fsdecode` makes them)."""
    return text.encode("utf-8", "backslashreplace").decode()
