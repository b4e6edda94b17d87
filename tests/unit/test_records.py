"""Records: frozen, whole across processes, changed by the state tables only."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from datetime import UTC, datetime, timedelta

import pytest

from rayjobs.errors import ErrorData, IllegalTransition
from rayjobs.records import BinaryInfo, BinaryType, ContextInfo, ContextOver, JobInfo, JobReply, utc_now
from rayjobs.states import CONTEXT_TRANSITIONS, JOB_TRANSITIONS, ContextEvent, ContextState, JobEvent, JobState

START = datetime(2026, 1, 2, 3, 4, 5, 678000, UTC)
BINARY = BinaryInfo("word-count", BinaryType.WHEEL, START, "0123456789abcdef" * 4, 12)
CONTEXT = ContextInfo("c1", "etl", ContextState.STARTED, START, {"num-cpu-cores": 2})
JOB = JobInfo("j1", "c1", "etl", BINARY, "jobs.WordCount", JobState.STARTED, START)
LOST = ErrorData("the context died", "ContextLost", "")


def test_now_is_utc_in_whole_milliseconds() -> None:
    before = datetime.now(UTC)
    now = utc_now()
    assert now.tzinfo is UTC and now.microsecond % 1000 == 0
    assert before - timedelta(milliseconds=1) < now <= datetime.now(UTC)


@pytest.mark.parametrize("record", [BINARY, CONTEXT, JOB, JobReply(JOB, "[1]"), ContextOver("idle", True), LOST])
def test_a_record_is_frozen_and_crosses_processes_unchanged(record: object) -> None:
    assert pickle.loads(pickle.dumps(record)) == record
    for name in vars(record):
        with pytest.raises(FrozenInstanceError):
            setattr(record, name, None)


def test_two_contexts_do_not_share_their_settings() -> None:
    first, second = (ContextInfo(name, name, ContextState.STARTED, START) for name in "ab")
    assert first.settings == {} and first.settings is not second.settings


# Binaries


@pytest.mark.parametrize(
    ("binary_type", "name"),
    [
        (BinaryType.JAR, "word_count-0123456789abcdef.jar"),
        (BinaryType.EGG, "word_count-0123456789abcdef.egg"),
        (BinaryType.WHEEL, "word_count-0123456789abcdef.zip"),
        (BinaryType.ZIP, "word_count-0123456789abcdef.zip"),
        (BinaryType.PYTHON, "word_count-0123456789abcdef.zip"),
    ],
)
def test_a_binary_s_file_is_named_by_its_sha_and_with_a_suffix_that_spark_ships(
    binary_type: BinaryType, name: str
) -> None:
    assert replace(BINARY, binary_type=binary_type).file_name == name


def test_two_versions_of_an_app_have_two_files() -> None:
    assert replace(BINARY, sha256="f" * 64).file_name != BINARY.file_name


@pytest.mark.parametrize(
    ("app", "module"),
    [
        ("jobs", "jobs"),
        ("my-app", "my_app"),
        ("my.app v2", "my_app_v2"),
        ("2nd", "_2nd"),
        ("größe", "gr__e"),
        ("../etc", "___etc"),
    ],
)
def test_a_module_is_named_as_the_app_as_far_as_python_allows(app: str, module: str) -> None:
    assert replace(BINARY, app_name=app).module_name == module
    assert module.isidentifier()


def test_all_but_jars_are_python() -> None:
    assert [kind for kind in BinaryType if not kind.is_python] == [BinaryType.JAR]


# Contexts


@pytest.mark.parametrize(("state", "event"), CONTEXT_TRANSITIONS)
def test_a_context_has_an_end_time_in_final_states_only(state: ContextState, event: ContextEvent) -> None:
    before = utc_now()
    after = replace(CONTEXT, state=state).after(event)
    assert after.state is CONTEXT_TRANSITIONS[state, event]
    if after.state.is_final:
        assert after.end_time and before <= after.end_time <= utc_now()
    else:
        assert after.end_time is None
    assert replace(after, state=CONTEXT.state, end_time=None) == CONTEXT


def test_a_context_keeps_its_first_error_unless_a_later_event_brings_another() -> None:
    died = CONTEXT.after(ContextEvent.DIED_SUPERVISED, LOST)
    again = ErrorData("out of attempts", "ContextLost", "")
    assert died.error == LOST
    assert died.after(ContextEvent.INIT_FAILED).error == LOST
    assert died.after(ContextEvent.INIT_FAILED, again).error == again


def test_a_context_takes_no_event_that_its_table_lacks() -> None:
    over = CONTEXT.after(ContextEvent.INIT_FAILED, LOST)
    with pytest.raises(IllegalTransition, match="a context in state ERROR cannot take the event 'stop requested'"):
        over.after(ContextEvent.STOP_REQUESTED)


# Jobs


@pytest.mark.parametrize(("state", "event"), JOB_TRANSITIONS)
def test_a_job_has_an_end_time_in_final_states_only(state: JobState, event: JobEvent) -> None:
    before = utc_now()
    after = replace(JOB, state=state).after(event, LOST)
    assert after.state is JOB_TRANSITIONS[state, event]
    if after.state.is_final:
        assert after.end_time and before <= after.end_time <= utc_now()
    else:
        assert after.end_time is None
    assert replace(after, state=JOB.state, end_time=None) == replace(JOB, error=LOST)


def test_a_restarted_job_leaves_its_error_behind() -> None:
    running = JOB.after(JobEvent.VALIDATED)
    restarting = running.after(JobEvent.CONTEXT_RESTARTING, LOST)
    assert restarting.error == LOST
    assert restarting.after(JobEvent.VALIDATED) == running


def test_a_job_takes_no_event_that_its_table_lacks() -> None:
    with pytest.raises(IllegalTransition, match="a job in state STARTED cannot take the event 'succeeded'"):
        JOB.after(JobEvent.SUCCEEDED)


@pytest.mark.parametrize(
    ("text", "result"), [(None, None), ("null", None), ('{"a":[1,2.5,"é"]}', {"a": [1, 2.5, "é"]})]
)
def test_a_reply_s_result_is_its_json_as_python(text: str | None, result: object) -> None:
    assert JobReply(JOB, text).result == result
