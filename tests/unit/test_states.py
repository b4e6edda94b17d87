"""The two state machines against tables of their own, written from the design and not from the code."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from itertools import product

import pytest

from rayjobs.errors import IllegalTransition
from rayjobs.states import (
    CONTEXT_TRANSITIONS,
    JOB_TRANSITIONS,
    ContextEvent,
    ContextState,
    JobEvent,
    JobState,
    job_states_leading,
    next_context_state,
    next_job_state,
)

CONTEXTS = {
    "STARTED": {
        "initialised": "RUNNING",
        "init failed": "ERROR",
        "lost at recovery": "ERROR",
        "stop requested": "STOPPING",
        "died": "KILLED",
        "died, supervised": "RESTARTING",
    },
    "RUNNING": {
        "stop requested": "STOPPING",
        "died": "KILLED",
        "died, supervised": "RESTARTING",
        "lost at recovery": "ERROR",
    },
    "STOPPING": {"stopped": "FINISHED", "lost at recovery": "ERROR"},
    "RESTARTING": {
        "initialised": "RUNNING",
        "stop requested": "STOPPING",
        "init failed": "ERROR",
        "no job restarted": "ERROR",
    },
    "FINISHED": {},
    "ERROR": {},
    "KILLED": {},
}
JOBS = {
    "STARTED": {"validated": "RUNNING", "failed": "ERROR", "killed": "KILLED", "context lost": "ERROR"},
    "RUNNING": {
        "succeeded": "FINISHED",
        "failed": "ERROR",
        "killed": "KILLED",
        "context lost": "ERROR",
        "context restarting": "RESTARTING",
    },
    "RESTARTING": {"validated": "RUNNING", "failed": "ERROR", "killed": "KILLED", "context lost": "ERROR"},
    "FINISHED": {},
    "ERROR": {},
    "KILLED": {},
}
FINAL = {"FINISHED", "ERROR", "KILLED"}

Table = dict[str, dict[str, str]]


def _reached(step: Callable[..., StrEnum], state: StrEnum, event: StrEnum) -> str | None:
    try:
        return step(state, event).value
    except IllegalTransition as error:
        assert state.value in error.message and f"'{event.value}'" in error.message
        return None


@pytest.mark.parametrize(("state", "event"), list(product(ContextState, ContextEvent)))
def test_a_context_goes_where_the_design_says_and_nowhere_else(state: ContextState, event: ContextEvent) -> None:
    assert _reached(next_context_state, state, event) == CONTEXTS[state].get(event)


@pytest.mark.parametrize(("state", "event"), list(product(JobState, JobEvent)))
def test_a_job_goes_where_the_design_says_and_nowhere_else(state: JobState, event: JobEvent) -> None:
    assert _reached(next_job_state, state, event) == JOBS[state].get(event)


@pytest.mark.parametrize(
    ("states", "events", "table"), [(ContextState, ContextEvent, CONTEXTS), (JobState, JobEvent, JOBS)]
)
def test_the_design_knows_the_same_states_and_events(
    states: type[StrEnum], events: type[StrEnum], table: Table
) -> None:
    assert set(states) == set(table)
    assert set(events) == {event for row in table.values() for event in row}


@pytest.mark.parametrize("states", [ContextState, JobState])
def test_finished_error_and_killed_are_final_and_no_other(states: type[ContextState] | type[JobState]) -> None:
    assert {state.value for state in states if state.is_final} == FINAL


@pytest.mark.parametrize(("table", "states"), [(CONTEXT_TRANSITIONS, ContextState), (JOB_TRANSITIONS, JobState)])
def test_final_states_have_no_rows_and_every_other_state_has_a_way_to_one(
    table: dict[tuple[StrEnum, StrEnum], StrEnum], states: type[StrEnum]
) -> None:
    with_rows = {state for state, _ in table}
    assert with_rows == set(states) - FINAL
    can_end = set(FINAL)
    for _ in states:
        can_end |= {state for (state, _), reached in table.items() if reached in can_end}
    assert can_end == set(states)


@pytest.mark.parametrize("event", JobEvent)
def test_the_states_that_an_event_may_leave_are_those_with_a_row_for_it(event: JobEvent) -> None:
    assert job_states_leading(event) == {JobState(state) for state, row in JOBS.items() if event in row}


def test_a_success_may_only_leave_running() -> None:
    assert job_states_leading(JobEvent.SUCCEEDED) == {JobState.RUNNING}
