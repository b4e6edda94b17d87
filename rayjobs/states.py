"""The two state machines of the service, each a table; nothing else changes a state.

A row reads: from this state, that event leads to this state. A pair that the table does not hold raises
`IllegalTransition`; final states have no rows.
"""

from __future__ import annotations

from enum import StrEnum

from rayjobs.errors import IllegalTransition


class ContextState(StrEnum):
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    RESTARTING = "RESTARTING"
    FINISHED = "FINISHED"
    ERROR = "ERROR"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        return self in CONTEXT_FINAL


class ContextEvent(StrEnum):
    INITIALISED = "initialised"
    INIT_FAILED = "init failed"
    STOP_REQUESTED = "stop requested"
    STOPPED = "stopped"
    DIED = "died"
    DIED_SUPERVISED = "died, supervised"
    LOST = "lost at recovery"
    JOBS_NOT_RESTARTED = "no job restarted"


class JobState(StrEnum):
    STARTED = "STARTED"
    RUNNING = "RUNNING"
    RESTARTING = "RESTARTING"
    FINISHED = "FINISHED"
    ERROR = "ERROR"
    KILLED = "KILLED"

    @property
    def is_final(self) -> bool:
        return self in JOB_FINAL


class JobEvent(StrEnum):
    VALIDATED = "validated"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    KILLED = "killed"
    CONTEXT_LOST = "context lost"
    CONTEXT_RESTARTING = "context restarting"


CONTEXT_FINAL = frozenset({ContextState.FINISHED, ContextState.ERROR, ContextState.KILLED})
JOB_FINAL = frozenset({JobState.FINISHED, JobState.ERROR, JobState.KILLED})

_C, _CE = ContextState, ContextEvent
CONTEXT_TRANSITIONS: dict[tuple[ContextState, ContextEvent], ContextState] = {
    (_C.STARTED, _CE.INITIALISED): _C.RUNNING,
    (_C.STARTED, _CE.INIT_FAILED): _C.ERROR,
    (_C.STARTED, _CE.STOP_REQUESTED): _C.STOPPING,
    (_C.STARTED, _CE.DIED): _C.KILLED,
    (_C.STARTED, _CE.DIED_SUPERVISED): _C.RESTARTING,
    (_C.STARTED, _CE.LOST): _C.ERROR,
    (_C.RUNNING, _CE.STOP_REQUESTED): _C.STOPPING,
    (_C.RUNNING, _CE.DIED): _C.KILLED,
    (_C.RUNNING, _CE.DIED_SUPERVISED): _C.RESTARTING,
    (_C.RUNNING, _CE.LOST): _C.ERROR,
    (_C.STOPPING, _CE.STOPPED): _C.FINISHED,
    (_C.STOPPING, _CE.LOST): _C.ERROR,
    (_C.RESTARTING, _CE.INITIALISED): _C.RUNNING,
    (_C.RESTARTING, _CE.INIT_FAILED): _C.ERROR,
    (_C.RESTARTING, _CE.JOBS_NOT_RESTARTED): _C.ERROR,
    (_C.RESTARTING, _CE.STOP_REQUESTED): _C.STOPPING,
}

_J, _JE = JobState, JobEvent
JOB_TRANSITIONS: dict[tuple[JobState, JobEvent], JobState] = {
    (_J.STARTED, _JE.VALIDATED): _J.RUNNING,
    (_J.STARTED, _JE.FAILED): _J.ERROR,
    (_J.STARTED, _JE.KILLED): _J.KILLED,
    (_J.STARTED, _JE.CONTEXT_LOST): _J.ERROR,
    (_J.RUNNING, _JE.SUCCEEDED): _J.FINISHED,
    (_J.RUNNING, _JE.FAILED): _J.ERROR,
    (_J.RUNNING, _JE.KILLED): _J.KILLED,
    (_J.RUNNING, _JE.CONTEXT_LOST): _J.ERROR,
    (_J.RUNNING, _JE.CONTEXT_RESTARTING): _J.RESTARTING,
    (_J.RESTARTING, _JE.VALIDATED): _J.RUNNING,
    (_J.RESTARTING, _JE.FAILED): _J.ERROR,
    (_J.RESTARTING, _JE.KILLED): _J.KILLED,
    (_J.RESTARTING, _JE.CONTEXT_LOST): _J.ERROR,
}


def next_context_state(state: ContextState, event: ContextEvent) -> ContextState:
    """The state a context has after `event`; raises `IllegalTransition` for a pair the table lacks."""
    try:
        return CONTEXT_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a context in state {state} cannot take the event '{event}'") from None


def next_job_state(state: JobState, event: JobEvent) -> JobState:
    """The state a job has after `event`; raises `IllegalTransition` for a pair the table lacks."""
    try:
        return JOB_TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"a job in state {state} cannot take the event '{event}'") from None


def job_states_leading(event: JobEvent) -> frozenset[JobState]:
    """The states that `event` may leave: what a conditional update of a job's row names."""
    return frozenset(state for state, known in JOB_TRANSITIONS if known is event)
