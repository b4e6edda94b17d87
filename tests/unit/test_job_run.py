"""One job in its slot, against a real job store and a real journal; its runner does what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayjobs import job_run as job_run_module
from rayjobs.errors import (
    ActorGone,
    BadParameter,
    ErrorData,
    JobExists,
    NoSuchClass,
    NoSuchJob,
    StorageFailure,
    ValidationFailed,
)
from rayjobs.job_run import JobRun, Workplace
from rayjobs.job_writer import JobWriter
from rayjobs.records import BinaryInfo, ContextInfo, JobInfo, JobReply, killed_error
from rayjobs.repetition import PROBLEM
from rayjobs.runners import RunnerSlot
from rayjobs.states import ContextEvent, ContextState, JobEvent, JobState
from rayjobs.store.journal import Journal, journals_folder
from rayjobs.store.store import Store
from rayjobs.store.under_way import UnderWay, left_by
from rayjobs.tasks import Done, Failed, Refused, Task, UserError
from tests.stores import EGG, INLINE_BYTES, START, LocalActor

BAD = ErrorData("bad\nthing", "ValueError", "the stack")
LONG_S = 60.0


class FakeRunner:
    """A runner's handle. Its `outcome` is set by the test: what `perform` returns, or raises."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.performing = asyncio.Event()
        self.loads: Exception | None = None
        self.awaited: bool | None = None

    async def load(self, class_path: str) -> None:
        if self.loads:
            raise self.loads

    async def perform(self, task: Task, is_awaited: bool) -> Any:
        self.awaited = is_awaited
        self.performing.set()
        return await self.outcome


class FakePool:
    """Always has the one runner; `calls` tells what became of it."""

    def __init__(self, handle: FakeRunner):
        self.slot = RunnerSlot("etl/runner-1", handle)  # type: ignore[arg-type]
        self.calls: list[str] = []
        self.fails: Exception | None = None

    async def take(self, binaries: tuple[BinaryInfo, ...]) -> RunnerSlot:
        if self.fails:
            raise self.fails
        return self.slot

    def give_back(self, slot: RunnerSlot) -> None:
        self.calls.append("given back")

    async def end(self, slot: RunnerSlot) -> None:
        self.calls.append("ended")


class Place:
    """A `Workplace` of fakes around a real store, and what jobs did with it."""

    def __init__(self, store: Store, folder: Path):
        self.store = store
        self.journal = Journal(journals_folder(folder))
        self.runner = FakeRunner()
        self.pool = FakePool(self.runner)
        self.cancelled: list[str] = []
        self.spark_is_up = asyncio.Event()
        self.spark_is_up.set()
        self.logs = folder / "job-logs"
        self.logs.mkdir()
        actor: Any = LocalActor(store)
        self.writer = JobWriter(actor, self.journal, INLINE_BYTES)
        self.under_way = UnderWay(journals_folder(folder), "c1")
        self.writes: list[str] = []
        self.shown: list[JobInfo] = []
        self._note_writes()
        self.lent = Workplace(
            actor,
            self.writer,
            self.under_way,
            None,
            self.pool,
            self,
            {},
            LONG_S,
            self._cancel_spark,  # type: ignore[arg-type]
            self.spark_is_up.wait,  # type: ignore[arg-type]
            self.shown.append,
        )

    def log_file(self, job_id: str) -> Path:
        return self.logs / f"{job_id}.log"

    def run(self, job_id: str = "j1", is_secret: bool = True, is_async: bool = False) -> JobRun:
        info = JobInfo(job_id, "c1", "ctx", EGG, "a.Job", JobState.STARTED, START, is_async=is_async)
        return JobRun(info, {"a": 1}, self.lent, is_secret)

    async def _cancel_spark(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def _note_writes(self) -> None:
        def noting(verb: str, write: Callable[..., Any]) -> Callable[..., Any]:
            def noted(*args: Any) -> Any:
                self.writes.append(verb)
                return write(*args)

            return noted

        for verb in ("create", "change", "finish", "record"):
            setattr(self.writer, verb, noting(verb, getattr(self.writer, verb)))


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    store = Store(str(tmp_path), INLINE_BYTES)
    await store.save_context(ContextInfo("c1", "ctx", ContextState.STARTED, START).after(ContextEvent.INITIALISED))
    made = Place(store, tmp_path)
    yield made
    await made.writer.close()
    await store.close()


@pytest.fixture
def withheld_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of the test stay withheld, however slow the machine is."""
    monkeypatch.setattr(job_run_module, "WITHHELD_S", LONG_S)


async def soon(what: Any) -> Any:
    async with asyncio.timeout(10):
        return await what


async def stored(place: Place, job_id: str = "j1") -> JobReply | None:
    try:
        return await place.store.get_job(job_id)
    except NoSuchJob:
        return None


async def until_stored(place: Place, state: JobState) -> None:
    async with asyncio.timeout(10):
        while (reply := await stored(place)) is None or reply.job.state is not state:
            await asyncio.sleep(0.005)


# Jobs that are over before anything of them is stored


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_is_stored_in_one_piece_before_its_caller_hears_of_it(place: Place) -> None:
    job = place.run()
    waiting = asyncio.create_task(job.wait(LONG_S))
    await soon(place.runner.performing.wait())
    assert await stored(place) is None
    place.runner.outcome.set_result(Done("[1]"))
    reply = await soon(waiting)
    assert reply.job.state is JobState.FINISHED
    assert reply.result == [1]
    assert await stored(place) == reply
    assert await place.store.job_config("j1") == {"a": 1}
    assert place.writes == ["record"]
    await soon(job.task)
    assert place.pool.calls == ["given back"]
    assert place.cancelled == []


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_is_noted_until_it_is_over(place: Place) -> None:
    notes = journals_folder(place.logs.parent)
    job = place.run()
    await soon(place.runner.performing.wait())
    assert [(row["job_id"], row["config"]) for row in left_by(notes, "c1")] == [("j1", '{"a": 1}')]
    place.runner.outcome.set_result(Done("[1]"))
    await soon(job.wait(LONG_S))
    await soon(job.task)
    assert left_by(notes, "c1") == []


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_with_a_large_result_is_stored_by_a_call(place: Place) -> None:
    job, large = place.run(), '"' + "x" * 2 * INLINE_BYTES + '"'
    place.runner.outcome.set_result(Done(large))
    assert (await soon(job.wait(LONG_S))).result_json == large
    assert not list(journals_folder(place.logs.parent).glob("*.jsonl"))
    assert (await place.store.get_job("j1")).result_json == large


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_that_fails_is_stored_with_its_error(place: Place) -> None:
    job = place.run()
    place.runner.outcome.set_result(Failed(BAD))
    reply = await soon(job.wait(LONG_S))
    assert (reply.job.state, reply.job.error) == (JobState.ERROR, BAD)
    assert await stored(place) == reply
    assert place.writes == ["record"]
    assert place.pool.calls == ["given back"]


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_that_its_check_refuses_is_stored_and_its_caller_refused(place: Place) -> None:
    job = place.run()
    place.runner.outcome.set_result(Refused(["no input", "no output"]))
    with pytest.raises(ValidationFailed, match="no input; no output"):
        await soon(job.wait(LONG_S))
    known = await stored(place)
    assert known
    assert (known.job.state, known.job.error) == (
        JobState.ERROR,
        ErrorData("no input; no output", PROBLEM, ""),
    )
    assert place.writes == ["record"]
    await soon(job.task)
    assert place.pool.calls == ["given back"]


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_whose_runner_dies_is_stored_and_its_spark_work_ended(place: Place) -> None:
    job = place.run()
    place.runner.outcome.set_exception(ActorGone("exit code 139"))
    reply = await soon(job.wait(LONG_S))
    assert reply.job.state is JobState.ERROR
    assert reply.job.error and reply.job.error.error_class == "RunnerDied"
    assert await stored(place) == reply
    await soon(job.task)
    assert place.pool.calls == ["ended"]
    assert place.cancelled == ["j1"]


@pytest.mark.parametrize("how", [ActorGone("its owner died"), Failed(BAD)])
async def test_a_job_that_went_with_spark_is_left_to_who_ends_its_context(place: Place, how: Any) -> None:
    """Its runner has died as well, or its call of the JVM broke off, which looks like an error of its own."""
    place.spark_is_up.clear()
    job = place.run(is_secret=False)
    if isinstance(how, Failed):
        place.runner.outcome.set_result(how)
    else:
        place.runner.outcome.set_exception(how)
    await asyncio.sleep(0.05)
    gone = ErrorData("its Spark is gone", "", "")
    assert await soon(job.end(JobEvent.CONTEXT_LOST, gone))
    assert (await stored(place)).job.error == gone


async def test_a_job_whose_runner_died_is_told_of_when_its_runner_has_gone(place: Place) -> None:
    """So its slot is free for whoever posts the next one then."""
    job = place.run(is_secret=False)
    place.runner.outcome.set_exception(ActorGone("it died"))
    assert (await soon(job.wait(LONG_S))).job.state is JobState.ERROR
    assert place.pool.calls == ["ended"]
    assert place.cancelled == ["j1"]


async def test_spark_work_that_cannot_be_cancelled_does_not_keep_a_job_from_its_end(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_run_module, "CANCEL_TIMEOUT_S", 0.05)
    place.lent = replace(place.lent, cancel_spark=lambda job_id: asyncio.Event().wait())
    job = place.run(is_secret=False)
    place.runner.outcome.set_exception(ActorGone("it died"))
    assert (await soon(job.wait(LONG_S))).job.state is JobState.ERROR


async def test_a_class_that_is_not_there_leaves_no_record(place: Place) -> None:
    place.runner.loads = NoSuchClass("classPath a.Job not found")
    job = place.run()
    with pytest.raises(NoSuchClass):
        await soon(job.wait(LONG_S))
    await soon(job.task)
    assert await stored(place) is None
    assert place.writes == []
    assert place.pool.calls == ["given back"]


@pytest.mark.usefixtures("withheld_for_long")
async def test_what_a_short_job_printed_is_kept(place: Place) -> None:
    job = place.run()
    place.log_file("j1").write_text("hello")
    place.runner.outcome.set_result(Done("1"))
    await soon(job.wait(LONG_S))
    assert await place.store.read_log("j1") == b"hello"
    assert not place.log_file("j1").exists()


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_record_that_cannot_be_written_is_a_failure_that_the_caller_hears(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(line: bytes) -> None:
        raise StorageFailure("no space")

    monkeypatch.setattr(place.journal, "append", fail)
    for outcome in (Done("1"), Failed(BAD), Refused(["no"])):
        place.runner.outcome = asyncio.get_running_loop().create_future()
        place.runner.outcome.set_result(outcome)
        job = place.run()
        with pytest.raises(StorageFailure, match="no space"):
            await soon(job.wait(LONG_S))
        await soon(job.task)
        assert await stored(place) is None
    assert place.pool.calls == ["given back"] * 3


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_short_job_that_utf8_cannot_hold_fails_alone(place: Place) -> None:
    bad, good = place.run("bad"), place.run("good")
    bad.info = replace(bad.info, callback_url="http://me.example/\ud800")
    place.runner.outcome.set_result(Done("1"))
    with pytest.raises(BadParameter, match="UTF-8"):
        await soon(bad.wait(LONG_S))
    assert await soon(good.wait(LONG_S)) == await stored(place, "good")
    assert await stored(place, "bad") is None


# Ended from outside


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_job_that_is_killed_while_it_is_withheld_is_stored_as_killed(place: Place) -> None:
    job = place.run()
    waiting = asyncio.create_task(job.wait(LONG_S))
    await soon(place.runner.performing.wait())
    killed = await soon(job.end(JobEvent.KILLED, killed_error("j1")))
    assert killed and killed.state is JobState.KILLED
    assert await soon(waiting) == JobReply(killed)
    assert await stored(place) == JobReply(killed)
    assert job.task.done()
    assert place.pool.calls == ["ended"]
    assert place.cancelled == ["j1"]


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_kill_comes_too_late_once_the_record_is_on_its_way(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    append = place.journal.append

    async def append_late(line: bytes) -> None:
        begun.set()
        await gate.wait()
        await append(line)

    monkeypatch.setattr(place.journal, "append", append_late)
    job = place.run()
    place.runner.outcome.set_result(Done("1"))
    waiting = asyncio.create_task(job.wait(LONG_S))
    await soon(begun.wait())
    killing = asyncio.create_task(job.end(JobEvent.KILLED, killed_error("j1")))
    await asyncio.sleep(0.01)
    assert not killing.done()
    gate.set()
    assert await soon(killing) is None
    reply = await soon(waiting)
    assert reply.job.state is JobState.FINISHED
    assert await stored(place) == reply


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_kill_while_the_log_of_a_short_job_is_being_kept_ends_it_as_killed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, gate = asyncio.Event(), asyncio.Event()
    save_log = place.store.save_log

    async def save_late(job_id: str, content: bytes) -> None:
        await save_log(job_id, content)
        begun.set()
        await gate.wait()

    monkeypatch.setattr(place.store, "save_log", save_late)
    job = place.run()
    place.log_file("j1").write_text("hello")
    place.runner.outcome.set_result(Done("1"))
    waiting = asyncio.create_task(job.wait(LONG_S))
    await soon(begun.wait())
    killing = asyncio.create_task(job.end(JobEvent.KILLED, killed_error("j1")))
    await asyncio.sleep(0)
    gate.set()
    killed = await soon(killing)
    assert killed and killed.state is JobState.KILLED
    assert await soon(waiting) == JobReply(killed)
    assert await stored(place) == JobReply(killed)


@pytest.mark.usefixtures("withheld_for_long")
async def test_two_kills_at_once_kill_it_once(place: Place) -> None:
    job = place.run()
    await soon(place.runner.performing.wait())
    ends = [job.end(JobEvent.KILLED, killed_error("j1")) for _ in range(2)]
    killed = [info for info in await soon(asyncio.gather(*ends)) if info]
    assert {info.state for info in killed} == {JobState.KILLED}
    assert place.pool.calls == ["ended"]


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_job_that_ends_while_its_kill_is_being_stored_is_killed(place: Place) -> None:
    job = place.run()
    waiting = asyncio.create_task(job.wait(LONG_S))
    await soon(place.runner.performing.wait())
    killing = asyncio.create_task(job.end(JobEvent.KILLED, killed_error("j1")))
    await asyncio.sleep(0)
    place.runner.outcome.set_result(Done("1"))
    assert await soon(killing)
    assert (await soon(waiting)).job.state is JobState.KILLED
    assert (await soon(job.wait(0))).job.state is JobState.KILLED


@pytest.mark.usefixtures("withheld_for_long")
async def test_a_job_whose_context_stops_is_stored_as_lost(place: Place) -> None:
    lost = ErrorData("Context (ctx) for this job was terminated", "", "")
    job = place.run()
    await soon(place.runner.performing.wait())
    ended = await soon(job.end(JobEvent.CONTEXT_LOST, lost))
    assert ended and (ended.state, ended.error) == (JobState.ERROR, lost)
    assert await stored(place) == JobReply(ended)


# Jobs that go on, or that others know of


async def test_a_job_that_goes_on_is_stored_as_started_then_running_then_over(place: Place) -> None:
    job = place.run()
    waiting = asyncio.create_task(job.wait(LONG_S))
    await until_stored(place, JobState.STARTED)
    job.note_passed()
    await until_stored(place, JobState.RUNNING)
    assert (await soon(job.wait(0))).job.state is JobState.RUNNING
    place.runner.outcome.set_result(Done("1"))
    reply = await soon(waiting)
    assert (reply.job.state, reply.result) == (JobState.FINISHED, 1)
    assert await stored(place) == reply
    assert place.writes == ["create", "change", "finish"]


async def test_a_job_that_goes_on_and_is_killed_is_ended(place: Place) -> None:
    job = place.run()
    await until_stored(place, JobState.STARTED)
    job.note_passed()
    await until_stored(place, JobState.RUNNING)
    assert await soon(job.end(JobEvent.KILLED, killed_error("j1")))
    assert (await soon(job.wait(LONG_S))).job.state is JobState.KILLED
    assert place.pool.calls == ["ended"]


async def test_a_job_that_goes_on_but_cannot_be_stored_is_ended_with_its_spark_work(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(info: JobInfo, config: dict[str, Any]) -> None:
        raise StorageFailure("no space")

    monkeypatch.setattr(place.store, "create_job", fail)
    job = place.run()
    with pytest.raises(StorageFailure, match="no space"):
        await soon(job.wait(LONG_S))
    await soon(job.task)
    assert place.pool.calls == ["ended"]
    assert place.cancelled == ["j1"]


async def test_the_end_of_a_job_may_come_before_the_word_that_it_passed(place: Place) -> None:
    job = place.run()
    await until_stored(place, JobState.STARTED)
    place.runner.outcome.set_result(Done("1"))
    assert (await soon(job.wait(LONG_S))).job.state is JobState.FINISHED
    job.note_passed()
    await soon(job.task)
    assert place.writes == ["create", "change", "finish"]


async def test_a_job_with_a_chosen_id_is_stored_before_it_begins(place: Place) -> None:
    job = place.run(is_secret=False)
    await soon(place.runner.performing.wait())
    known = await stored(place)
    assert known and known.job.state is JobState.STARTED
    place.runner.outcome.set_result(Done("1"))
    assert (await soon(job.wait(LONG_S))).job.state is JobState.FINISHED


async def test_a_job_does_not_begin_under_an_id_that_is_taken(place: Place) -> None:
    other = JobInfo("j1", "c1", "ctx", EGG, "a.Other", JobState.STARTED, START.replace(year=2025))
    await place.store.create_job(other, {})
    job = place.run(is_secret=False)
    with pytest.raises(JobExists):
        await soon(job.wait(LONG_S))
    await soon(job.task)
    assert not place.runner.performing.is_set()
    assert await stored(place) == JobReply(other)
    assert place.cancelled == []


async def test_a_job_that_fails_before_it_begins_is_not_stored_under_an_id_that_is_taken(place: Place) -> None:
    other = JobInfo("j1", "c1", "ctx", EGG, "a.Other", JobState.STARTED, START.replace(year=2025))
    await place.store.create_job(other, {})
    place.pool.fails = UserError(BAD)
    with pytest.raises(JobExists):
        await soon(place.run(is_secret=False).wait(LONG_S))
    assert await stored(place) == JobReply(other)
    assert place.writes == ["create"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_runner_of_an_async_job_is_to_say_at_once_that_it_passed(place: Place, is_async: bool) -> None:
    job = place.run(is_secret=not is_async, is_async=is_async)
    await soon(place.runner.performing.wait())
    assert place.runner.awaited is is_async
    place.runner.outcome.set_result(Done("1"))
    await soon(job.task)
