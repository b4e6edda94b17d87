"""The JSON of replies as JSON Schemas, by the names that the OpenAPI document gives them; made in `render.py`."""

from __future__ import annotations

from collections.abc import Iterable

from rayjobs.records import BinaryType, CallbackState
from rayjobs.states import JOB_FINAL, ContextState, JobState
from rayjobs.web.openapi_errors import ERROR, EXCEPTION, JsonObject, ref

TEXT: JsonObject = {"type": "string"}
ANY_JSON: JsonObject = {"description": "any JSON value"}

_TIME = "2013-05-29T00:00:00.000Z"
_ID = "5453779a-f004-45fc-a11d-a39dae0f9bf4"
_EXCEPTION_EXAMPLE = {"message": "nothing there", "errorClass": "LookupError", "stack": "Traceback (most recent ..."}


def array_of(schema: JsonObject, example: list[object]) -> JsonObject:
    return {"type": "array", "items": schema, "examples": [example]}


def by_name(schema: JsonObject, example: JsonObject) -> JsonObject:
    """An object with any keys, whose values are of that schema."""
    return {"type": "object", "additionalProperties": schema, "examples": [example]}


def _record(properties: JsonObject, example: JsonObject, optional: Iterable[str] = ()) -> JsonObject:
    required = [name for name in properties if name not in set(optional)]
    return {"type": "object", "required": required, "properties": properties, "examples": [example]}


def _enum(values: Iterable[str], description: str = "") -> JsonObject:
    return {"type": "string", "enum": sorted(values)} | ({"description": description} if description else {})


_TIMESTAMP: JsonObject = {"type": "string", "format": "date-time", "description": "UTC, milliseconds"}
_DURATION: JsonObject = {"type": "string", "description": "as `6.341 secs`; `Job not done yet`"}
_JOB_ID: JsonObject = {"type": "string", "description": "the job's id"}
_FILE: JsonObject = {"filename": "/srv/rayjobs/data/words.txt-2016-07-04T09_09_57.928Z.dat"}
_BINARY = {
    "binary-type": _enum(BinaryType),
    "upload-time": _TIMESTAMP,
}
_REPORT = {
    "jobId": _JOB_ID,
    "status": ref("JobState"),
    "startTime": _TIMESTAMP,
    "duration": _DURATION,
    "classPath": TEXT | {"description": "the job's class"},
    "context": TEXT | {"description": "the name of its context"},
    "contextId": TEXT | {"description": "the id of its context"},
}
_REPORT_EXAMPLE = {
    "jobId": _ID,
    "status": JobState.RUNNING,
    "startTime": _TIME,
    "duration": "Job not done yet",
    "classPath": "wordcount.Job",
    "context": "etl",
    "contextId": "6a1e7f3c-0a4b-4b0c-9d55-0e4f4f3b2a10",
}

SCHEMAS: dict[str, JsonObject] = {
    "Error": ERROR,
    "Exception": EXCEPTION,
    "Success": _record(
        {"status": {"const": "SUCCESS"}, "result": TEXT | {"description": "where there is something to say"}},
        {"status": "SUCCESS"},
        optional=["result"],
    ),
    "About": _record(
        {"service": {"const": "rayjobs"}, "version": TEXT, "routes": {"type": "array", "items": TEXT}},
        {"service": "rayjobs", "version": "0.1.0", "routes": ["/binaries", "/contexts", "/jobs"]},
    ),
    "BinaryInfo": _record(_BINARY, {"binary-type": "Wheel", "upload-time": _TIME}),
    "NamedBinaryInfo": _record(
        {"app-name": TEXT, **_BINARY}, {"app-name": "wordcount", "binary-type": "Wheel", "upload-time": _TIME}
    ),
    "Timestamp": _TIMESTAMP,
    "ContextState": _enum(ContextState, "FINISHED, ERROR and KILLED are final"),
    "ContextInfo": _record(
        {
            "id": TEXT,
            "name": TEXT,
            "startTime": _TIMESTAMP,
            "endTime": {"type": "string", "description": "a time; `Empty` while the context lives"},
            "state": ref("ContextState"),
            "applicationId": TEXT | {"description": "of the Spark application, once known"},
            "url": TEXT | {"description": "of the Spark UI, once known"},
            "sparkHost": TEXT | {"description": "of an application that it shares, or that stood by"},
            "waitsFor": TEXT | {"description": "what a STARTED or RESTARTING context lacks room for"},
        },
        {
            "id": _REPORT_EXAMPLE["contextId"],
            "name": "etl",
            "startTime": _TIME,
            "endTime": "Empty",
            "state": ContextState.RUNNING,
            "applicationId": "raydp-1369785600000",
            "url": "http://10.0.0.7:4040",
        },
        optional=["applicationId", "url", "sparkHost", "waitsFor"],
    ),
    "JobState": _enum(JobState, "FINISHED, ERROR and KILLED are final"),
    "JobReport": _record(
        _REPORT
        | {
            "result": ANY_JSON
            | {"description": "of a job with an error: an Exception; of a finished one: its result, not in lists"}
        },
        _REPORT_EXAMPLE,
        optional=["result"],
    ),
    "FinishedJob": _record(
        {
            "jobId": _JOB_ID,
            "status": {"const": JobState.FINISHED},
            "duration": _DURATION,
            "result": ANY_JSON | {"description": "what the job returned; absent if it was lost"},
        },
        {"jobId": _ID, "status": JobState.FINISHED, "duration": "0.31 secs", "result": {"a": 2, "b": 1}},
        optional=["result"],
    ),
    "FinishedNews": _record(
        {"jobId": _JOB_ID, "status": {"const": JobState.FINISHED}, "result": ANY_JSON},
        {"jobId": _ID, "status": JobState.FINISHED, "result": {"a": 2, "b": 1}},
        optional=["result"],
    ),
    "FailedJob": _record(
        {"jobId": _JOB_ID, "status": _enum(JOB_FINAL - {JobState.FINISHED}), "result": ref("Exception")},
        {"jobId": _ID, "status": JobState.ERROR, "result": _EXCEPTION_EXAMPLE},
    ),
    "KilledJob": _record({"status": {"const": JobState.KILLED}}, {"status": JobState.KILLED}),
    "JobThatHadFailed": _record(
        {"status": {"const": JobState.ERROR}, "ERROR": ref("Exception")},
        {"status": JobState.ERROR, "ERROR": _EXCEPTION_EXAMPLE},
    ),
    "CallbackState": _enum(CallbackState, "SENT and FAILED are final, until it is asked for again"),
    "CallbackInfo": _record(
        {
            "jobId": _JOB_ID,
            "url": TEXT | {"description": "with stars for a name and password"},
            "state": ref("CallbackState"),
            "attempts": {"type": "integer", "minimum": 0},
            "lastAttempt": _TIMESTAMP,
            "lastStatus": {"type": "integer", "description": "the HTTP status of the last answer"},
            "lastError": TEXT | {"description": "what else went wrong in the last attempt"},
            "nextAttempt": _TIMESTAMP,
        },
        {
            "jobId": _ID,
            "url": "https://me.example/told",
            "state": CallbackState.SENT,
            "attempts": 1,
            "lastAttempt": _TIME,
            "lastStatus": 204,
        },
        optional=["lastAttempt", "lastStatus", "lastError", "nextAttempt"],
    ),
    "StoredDataFile": _record(
        {"result": _record({"filename": TEXT | {"description": "its path, for jobs to open"}}, _FILE)},
        {"result": _FILE},
    ),
}
