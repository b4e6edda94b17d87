"""Jobs that are asked for twice under one id, by a client that did not hear the first answer: one job, told again."""

from __future__ import annotations

import json
import uuid
from typing import Any

from rayjobs.errors import JobExists, ValidationFailed
from rayjobs.records import JobInfo
from rayjobs.service import Submission
from rayjobs.states import JobState

PROBLEM = "ValidationProblem"
"""The error class of a job whose `validate` returned problems."""

_KEYS = uuid.UUID("6e0f9b52-3c0a-4a55-9d6b-7d6a9ad0c1f4")


def job_id_of(key: str) -> str:
    """The id of the job of an `Idempotency-Key`: the same for the same key, wherever and whenever it is asked."""
    return str(uuid.uuid5(_KEYS, key))


def check_repeated(submission: Submission, job: JobInfo, config: dict[str, Any]) -> None:
    """Raises `JobExists` if `submission` asks for another job than the one of its id, which was posted with `config`.

    Raises what the first caller heard, `ValidationFailed`, for one that its own check refused.
    """
    asked = (submission.app_name, *submission.dependencies), submission.class_path, submission.callback_url
    known = tuple(binary.app_name for binary in job.binaries), job.class_path, job.callback_url
    another = asked != known or not _are_same(submission.config, config)
    if another or submission.context not in (None, job.context_name):
        raise JobExists(f"job {job.job_id} exists, and is another one: {job.class_path} in context {job.context_name}")
    if job.state is JobState.ERROR and job.error and job.error.error_class == PROBLEM:
        raise ValidationFailed(job.error.message, job.error)


def _are_same(config: dict[str, Any], other: dict[str, Any]) -> bool:
    """Also if one of them has been stored: it has a list then where a Python program gave a tuple."""
    return config == other or json.loads(json.dumps(config)) == json.loads(json.dumps(other))
