"""A job that is awaited is told of at once, one that goes on a moment later, one that is over not at all."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import pytest

from rayjobs import teller as teller_module
from rayjobs.teller import PATIENCE_S, Teller
from tests.service import eventually

LONG_S = 10 * PATIENCE_S


class Told(list[str]):
    """What was told, and by which thread."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []

    def tell(self, job_id: str) -> None:
        self.append(job_id)
        self.threads.append(threading.current_thread().name)


@pytest.fixture
def told() -> Told:
    return Told()


def test_a_job_that_is_awaited_is_told_of_at_once(told: Told) -> None:
    teller = Teller(told.tell)
    teller.passed("j", at_once=True)
    assert told == ["j"]
    assert told.threads == [threading.current_thread().name]
    teller.over()
    time.sleep(LONG_S)
    assert told == ["j"]


def test_a_job_that_goes_on_is_told_of_once_and_not_before_its_time(told: Told) -> None:
    teller = Teller(told.tell)
    began = time.monotonic()
    teller.passed("j", at_once=False)
    eventually(lambda: told == ["j"], why="the job was never told of")
    assert time.monotonic() - began >= PATIENCE_S
    time.sleep(LONG_S)
    teller.over()
    assert told == ["j"]


def test_short_jobs_are_never_told_of_and_the_long_one_after_them_is(told: Told) -> None:
    teller = Teller(told.tell)
    may_be_told = {"long"}
    for number in range(200):
        began = time.monotonic()
        teller.passed(f"j{number}", at_once=False)
        teller.over()
        if time.monotonic() - began >= PATIENCE_S:  # the machine was busy
            may_be_told.add(f"j{number}")
    teller.passed("long", at_once=False)
    eventually(lambda: "long" in told, why="the job was never told of")
    teller.over()
    assert set(told) <= may_be_told


def test_each_of_several_long_jobs_is_told_of(told: Told) -> None:
    teller = Teller(told.tell)
    for number in range(5):
        teller.passed(f"j{number}", at_once=False)
        eventually(lambda number=number: f"j{number}" in told, why=f"job {number} was never told of")
        teller.over()
        time.sleep(number * PATIENCE_S)
    assert told == [f"j{number}" for number in range(5)]


def test_a_job_that_begins_as_the_thread_goes_to_sleep_is_told_of(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    long_job = threading.Thread(target=lambda: teller.passed("long", at_once=False))

    class Event(threading.Event):
        """The thread that clears it for the first time loses the processor to the job just then."""

        def clear(self) -> None:
            if not long_job.ident:
                long_job.start()
                long_job.join(0.2)
            super().clear()

    monkeypatch.setattr(
        teller_module,
        "threading",
        SimpleNamespace(Event=Event, Lock=threading.Lock, Thread=threading.Thread),
    )
    teller = Teller(told.tell)
    teller.passed("short", at_once=False)
    teller.over()
    eventually(lambda: "long" in told, why="the job was never told of")


def test_a_job_is_not_told_of_once_it_is_over(told: Told) -> None:
    def tell_slowly(job_id: str) -> None:
        time.sleep(PATIENCE_S)
        told.append(job_id)

    teller = Teller(tell_slowly)
    teller.passed("j", at_once=False)
    time.sleep(2 * PATIENCE_S)
    teller.over()
    known = list(told)
    time.sleep(LONG_S)
    assert told == known
