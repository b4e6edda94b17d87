"""Which repeated submissions are the job that there is, and which are another one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayjobs.errors import ErrorData, JobExists, ValidationFailed
from rayjobs.records import BinaryInfo, BinaryType, JobInfo, utc_now
from rayjobs.repetition import PROBLEM, check_repeated, job_id_of
from rayjobs.service import Submission
from rayjobs.states import JobEvent, JobState

BINARY = BinaryInfo("app", BinaryType.EGG, utc_now(), "ab", 2)
JOB = JobInfo("j1", "c1", "ctx", BINARY, "m.C", JobState.STARTED, utc_now())
CONFIG = {"n": 1}
AGAIN = Submission("j1", "app", "m.C", "ctx", CONFIG, may_be_repeated=True)


def test_a_key_stands_for_one_id() -> None:
    assert job_id_of("order 7") == job_id_of("order 7") != job_id_of("order 8")


@pytest.mark.parametrize("context", ["ctx", None])
def test_the_same_job_may_be_asked_for_again(context: str | None) -> None:
    check_repeated(replace(AGAIN, context=context, wait_s=9.0), JOB, CONFIG)


@pytest.mark.parametrize("other", [{"app_name": "b"}, {"class_path": "m.D"}, {"context": "d"}, {"config": {}}])
def test_another_job_may_not(other: dict[str, object]) -> None:
    with pytest.raises(JobExists) as refused:
        check_repeated(replace(AGAIN, **other), JOB, CONFIG)  # type: ignore[arg-type]
    assert refused.value.message == "job j1 exists, and is another one: m.C in context ctx"


def test_a_config_is_the_same_once_it_has_been_stored() -> None:
    check_repeated(replace(AGAIN, config={"n": (1, 2)}), JOB, {"n": [1, 2]})


def test_the_same_job_has_the_same_jars_in_the_same_order() -> None:
    job = replace(JOB, dependencies=(replace(BINARY, app_name="b"), replace(BINARY, app_name="c")))
    check_repeated(replace(AGAIN, dependencies=("b", "c")), job, CONFIG)
    for others in ((), ("b",), ("c", "b")):
        with pytest.raises(JobExists):
            check_repeated(replace(AGAIN, dependencies=others), job, CONFIG)


def test_a_refusal_is_raised_again_and_a_failure_is_not() -> None:
    with pytest.raises(ValidationFailed) as refused:
        check_repeated(AGAIN, JOB.after(JobEvent.FAILED, ErrorData("no input", PROBLEM, "")), CONFIG)
    assert refused.value.message == "no input"
    check_repeated(AGAIN, JOB.after(JobEvent.FAILED, ErrorData("no input", "ValueError", "")), CONFIG)
