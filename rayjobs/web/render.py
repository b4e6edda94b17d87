"""Records as the JSON that clients see."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse

from rayjobs.errors import ErrorData
from rayjobs.records import BinaryInfo, ContextInfo, JobInfo, JobReply


class Json(JSONResponse):
    """Compact JSON. What UTF-8 cannot hold (lone surrogates from JSON escapes) goes out as the escape it was."""

    def render(self, content: Any) -> bytes:
        return _utf8(json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")))


class PrettyJson(JSONResponse):
    def render(self, content: Any) -> bytes:
        return _utf8(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2))


class JsonWithResult(Json):
    """An object whose `result` is JSON text already, spliced in unparsed; None leaves it out."""

    def __init__(self, content: dict[str, Any], result_json: str | None):
        self._result_json = result_json
        super().__init__(content)

    def render(self, content: dict[str, Any]) -> bytes:
        body = super().render(content)
        if self._result_json is None:
            return body
        return body[:-1] + b',"result":' + _utf8(self._result_json) + b"}"


def success(result: str | None = None) -> dict[str, str]:
    return {"status": "SUCCESS"} if result is None else {"status": "SUCCESS", "result": result}


def timestamp(moment: datetime) -> str:
    """As in `2013-05-29T00:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_fields(error: ErrorData | None) -> dict[str, str]:
    error = error or ErrorData("", "", "")
    return {"message": error.message, "errorClass": error.error_class, "stack": error.stack}


def binary_fields(binary: BinaryInfo) -> dict[str, str]:
    return {"binary-type": binary.binary_type, "upload-time": timestamp(binary.upload_time)}


def context_fields(context: ContextInfo) -> dict[str, str]:
    fields = {
        "id": context.id,
        "name": context.name,
        "startTime": timestamp(context.start_time),
        "endTime": timestamp(context.end_time) if context.end_time else "Empty",
        "state": context.state,
    }
    known = {
        "applicationId": context.application_id,
        "url": context.ui_url,
        "sparkHost": context.host,
        "waitsFor": context.waits_for,
    }
    return fields | {key: value for key, value in known.items() if value}


def job_report(job: JobInfo) -> dict[str, Any]:
    """The report object of all job routes; a FINISHED job's result is spliced in by those that show it."""
    report = {
        "jobId": job.job_id,
        "status": job.state,
        "startTime": timestamp(job.start_time),
        "duration": duration(job),
        "classPath": job.class_path,
        "context": job.context_name,
        "contextId": job.context_id,
    }
    return report | {"result": error_fields(job.error)} if job.error else report


def job_with_result(reply: JobReply) -> JsonWithResult:
    return JsonWithResult(job_report(reply.job), reply.result_json)


def duration(job: JobInfo) -> str:
    if job.end_time is None:
        return "Job not done yet"
    return f"{(job.end_time - job.start_time).total_seconds()} secs"


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")
