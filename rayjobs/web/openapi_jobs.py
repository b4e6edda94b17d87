"""What the OpenAPI document says of the routes of jobs."""

from __future__ import annotations

from rayjobs import errors
from rayjobs.records import JOB_ID
from rayjobs.states import JobState
from rayjobs.web.jobs import DEFAULT_LIMIT, MAX_KEY_LENGTH
from rayjobs.web.openapi_errors import JsonObject, ref
from rayjobs.web.openapi_operation import OF_A_CONFIG, Operation, Parameter, Reply, Tag, boolean, config, path, query
from rayjobs.web.openapi_schemas import TEXT

_JOB = path("id", "the job's id", "5453779a-f004-45fc-a11d-a39dae0f9bf4")


def _int32(minimum: int) -> JsonObject:
    return {"type": "integer", "format": "int32", "minimum": minimum, "maximum": 2**31 - 1}


_KEY: JsonObject = {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH}
_CODE = (
    query("appName", TEXT, "the uploaded code", "wordcount"),
    query("classPath", TEXT, "the class in it, `module.Class`", "wordcount.Job"),
    query("cp", TEXT, "the same as `appName`, which wins; or several jars, with commas; may stand in the body"),
    query("mainClass", TEXT, "the same as `classPath`, with `cp`; may stand in the body"),
)
_NEWS: JsonObject = {
    "summary": "Sent to `callbackUrl` when the job has ended, again and again until it is answered with 2xx",
    "description": "Signed as Standard Webhooks are: `webhook-id`, `webhook-timestamp`, `webhook-signature`.",
    "requestBody": {
        "content": {"application/json": {"schema": {"oneOf": [ref("FinishedNews"), ref("FailedJob")]}}},
    },
    "responses": {"2XX": {"description": "heard"}},
}

JOBS = {
    ("GET", "/jobs"): Operation(
        "listJobs",
        Tag.JOBS,
        "Jobs, latest start first",
        (Reply(200, "reports, without results", {"type": "array", "items": ref("JobReport")}),),
        (errors.BadParameter,),
        parameters=(
            query("limit", _int32(0) | {"default": DEFAULT_LIMIT}, "how many at most"),
            query(
                "status",
                TEXT,
                f"only jobs in this state: {', '.join(JobState)}, in any case; others have none",
                "running",
            ),
        ),
    ),
    ("POST", "/jobs"): Operation(
        "startJob",
        Tag.JOBS,
        "Start a job, and wait for its end if `sync` is true",
        (
            Reply(
                200,
                "it ended: FINISHED, in reply to `sync`; or ERROR or KILLED before the answer",
                {"oneOf": [ref("FinishedJob"), ref("FailedJob")]},
            ),
            Reply(
                202,
                "accepted; or, with `sync`, not ended in time, and goes on",
                ref("JobReport"),
                headers={"Location": "with `sync`: where to ask for the job"},
            ),
        ),
        (
            *OF_A_CONFIG,
            errors.BadParameter,
            errors.JobLoadingFailed,
            errors.InvalidJobType,
            errors.ValidationFailed,
            errors.NoSuchBinary,
            errors.NoSuchContext,
            errors.NoSuchClass,
            errors.ContextStopping,
            errors.JobExists,
            errors.ContextInitError,
            errors.NotEnoughResources,
            errors.NoSlotsAvailable,
            errors.ContextRestarting,
            errors.ServiceStarting,
        ),
        description="`appName` and `classPath`, or `cp` and `mainClass`, say what runs; `dependent-jar-uris` in the "
        "body are further jars. A client that goes away does not end its job. The same request again with the same "
        "`jobId` or `Idempotency-Key` is answered with the job that there is.",
        parameters=(
            *_CODE,
            query("context", TEXT, "the context to run in; without it the job gets one of its own", "etl"),
            boolean("sync", "wait for the end", False),
            query("callbackUrl", {"type": "string", "format": "uri"}, "http or https; told of the job's end"),
            query("timeout", _int32(0), "how many seconds `sync` waits, at least 1; else `jobs.sync-timeout-s`", 60),
            query("jobId", {"type": "string", "pattern": f"^{JOB_ID}$"}, "its id; else the service chooses one"),
            Parameter("header", "Idempotency-Key", _KEY, "instead of `jobId`: the same key is the same job"),
        ),
        body=config("the job's configuration", {"input": {"string": "a b a"}}, 'input.string = "a b a"'),
        callbacks={"ended": {"{$request.query.callbackUrl}": {"post": _NEWS}}},
    ),
    ("GET", "/jobs/{id}"): Operation(
        "getJob",
        Tag.JOBS,
        "The report of a job, with its result once FINISHED",
        (Reply(200, "the report", ref("JobReport")),),
        (errors.NoSuchJob,),
        parameters=(_JOB,),
    ),
    ("DELETE", "/jobs/{id}"): Operation(
        "killJob",
        Tag.JOBS,
        "End a job",
        (
            Reply(
                200,
                "it is KILLED; or had ended in ERROR",
                {"oneOf": [ref("KilledJob"), ref("JobThatHadFailed")]},
            ),
        ),
        (errors.NoSuchJob, errors.NoRunningJob),
        parameters=(_JOB,),
    ),
    ("GET", "/jobs/{id}/config"): Operation(
        "getJobConfig",
        Tag.JOBS,
        "The configuration that was posted",
        (Reply(200, "pretty-printed", {"type": "object"}),),
        (errors.NoSuchJob,),
        parameters=(_JOB,),
    ),
    ("GET", "/jobs/{id}/log"): Operation(
        "getJobLog",
        Tag.JOBS,
        "What the job printed and logged so far",
        (Reply(200, "the log, UTF-8", TEXT, "text/plain"),),
        (errors.NoSuchJob,),
        parameters=(_JOB,),
    ),
    ("GET", "/jobs/{id}/callback"): Operation(
        "getCallback",
        Tag.JOBS,
        "What became of a job's callback",
        (Reply(200, "the callback", ref("CallbackInfo")),),
        (errors.NoSuchJob, errors.NoSuchCallback),
        parameters=(_JOB,),
    ),
    ("POST", "/jobs/{id}/callback"): Operation(
        "resendCallback",
        Tag.JOBS,
        "Send the callback of a job that has ended again",
        (Reply(202, "it is due now", ref("CallbackInfo")),),
        (errors.NoSuchJob, errors.NoSuchCallback, errors.JobNotOver),
        parameters=(_JOB,),
    ),
}
