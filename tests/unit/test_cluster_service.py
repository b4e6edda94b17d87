"""How actors are called: by a line that is kept, through Ray where there is none or it broke."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from rayjobs import cluster_service
from rayjobs.actor_lines import Peer
from rayjobs.cluster_service import ClusterService
from rayjobs.errors import ActorGone, NoRunningJob, NoSuchBinary
from rayjobs.records import BinaryInfo, BinaryType, JobInfo, JobReply
from rayjobs.states import JobEvent, JobState


class FakeLine:
    """A line to an actor that answers with `by line`, raises, or is gone."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self.error: Exception | None = None

    async def call(self, verb: str, *arguments: Any) -> Any:
        if self.gone.done():
            raise ActorGone("gone")
        if self.error:
            raise self.error
        return "by line"

    def close(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class FakeActor:
    def __init__(self) -> None:
        self.asked = 0

    def __getattr__(self, verb: str) -> Any:
        return SimpleNamespace(remote=self._answer)

    async def _answer(self, *arguments: Any) -> str:
        self.asked += 1
        return "through Ray"


class Node:
    """One actor, and the lines to it that were made."""

    def __init__(self) -> None:
        self.actor = FakeActor()
        self.lines: list[FakeLine] = []
        self.offers: bool | None = True

    async def find(self, name: str) -> FakeActor:
        return self.actor

    async def peer(self, handle: FakeActor) -> Peer | None:
        await asyncio.sleep(0.01)
        if self.offers is None:
            return None
        if self.offers:
            self.lines.append(FakeLine())
        return Peer(handle, self.lines[-1] if self.offers else None)  # type: ignore[arg-type]


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Node:
    node = Node()
    monkeypatch.setattr(cluster_service.cluster, "find", node.find)
    monkeypatch.setattr(cluster_service, "peer", node.peer)
    return node


@pytest.fixture
def service() -> ClusterService:
    return ClusterService(1000, 1000)


async def test_the_first_call_is_rays_and_the_next_ones_go_by_a_line(service: ClusterService, node: Node) -> None:
    answers = [await service.list_data_files() for _ in range(3)]
    assert answers == ["through Ray", "by line", "by line"]


async def test_many_first_calls_at_once_make_one_line(service: ClusterService, node: Node) -> None:
    await asyncio.gather(*(service.list_data_files() for _ in range(200)))
    assert len(node.lines) == 1
    assert await service.list_data_files() == "by line"


async def test_a_line_that_broke_is_replaced_by_way_of_ray(service: ClusterService, node: Node) -> None:
    await service.list_data_files()
    node.lines[0].close()
    assert await service.list_data_files() == "through Ray"
    assert await service.list_data_files() == "by line"
    assert len(node.lines) == 2


async def test_an_actor_of_another_node_is_called_through_ray(service: ClusterService, node: Node) -> None:
    node.offers = False
    assert [await service.list_data_files() for _ in range(3)] == ["through Ray"] * 3


async def test_an_actor_that_offers_no_line_yet_is_tried_again(service: ClusterService, node: Node) -> None:
    node.offers = None
    await service.list_data_files()
    node.offers = True
    assert await service.list_data_files() == "through Ray"
    assert await service.list_data_files() == "by line"


async def test_an_error_of_ours_comes_as_itself(service: ClusterService, node: Node) -> None:
    await service.list_data_files()
    node.lines[0].error = NoSuchBinary("appName x not found")
    with pytest.raises(NoSuchBinary):
        await service.get_binary("x")
    node.lines[0].error = None
    assert await service.list_data_files() == "by line"


async def test_a_service_that_is_closed_can_be_asked_again(service: ClusterService, node: Node) -> None:
    await service.list_data_files()
    service.close()
    assert node.lines[0].gone.done()
    assert await service.list_data_files() == "through Ray"


class Scripted(ClusterService):
    """Each question, by its verb, is answered by the next one of its answers, the last one again and again."""

    def __init__(self, **answers: list[Any]):
        super().__init__(1000, 1000)
        self._answers = answers
        self.asked: list[str] = []

    async def _ask(self, actor: str, verb: str, *args: Any) -> Any:
        self.asked.append(verb)
        answers = self._answers[verb]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


JOB = JobInfo(
    "j",
    "c1",
    "ctx",
    BinaryInfo("app", BinaryType.EGG, datetime(2026, 1, 2, tzinfo=UTC), "e" * 64, 12),
    "a.Job",
    JobState.STARTED,
    datetime(2026, 1, 2, tzinfo=UTC),
).after(JobEvent.VALIDATED)
DONE = JOB.after(JobEvent.SUCCEEDED)


async def test_a_kill_between_a_contexts_death_and_its_restart_is_not_lost() -> None:
    """The job is RUNNING, as far as the store knows; its context is gone, and not RESTARTING yet."""
    killed = JOB.after(JobEvent.KILLED)
    service = Scripted(
        get_job=[JobReply(JOB)], kill_job=[ActorGone("killed")], kill_restarting_job=[None, None, None, killed]
    )
    assert await service.kill_job("j") == killed
    assert service.asked.count("kill_restarting_job") == 4


async def test_a_kill_of_a_job_that_ends_meanwhile_says_that_none_runs() -> None:
    service = Scripted(
        get_job=[JobReply(JOB), JobReply(DONE)], kill_job=[NoRunningJob("over")], kill_restarting_job=[None]
    )
    with pytest.raises(NoRunningJob, match="No running job with ID j"):
        await service.kill_job("j")


@pytest.mark.parametrize(
    ("job", "of_context", "of_store", "asked"),
    [
        (JOB, b"so far", b"", ["job_log"]),
        (JOB, b"", b"it has ended since", ["job_log", "read_log"]),
        (JOB, ActorGone("killed"), b"of the one that died", ["job_log", "read_log"]),
        (DONE, b"", b"all", ["read_log"]),
        (DONE, b"not moved yet", b"", ["read_log", "job_log"]),
    ],
)
async def test_a_log_is_found_wherever_it_is_while_it_moves_to_the_store(
    job: JobInfo, of_context: Any, of_store: bytes, asked: list[str]
) -> None:
    service = Scripted(get_job=[JobReply(job)], job_log=[of_context], read_log=[of_store])
    assert await service.job_log("j") == (of_store or of_context)
    assert [verb for verb in service.asked if verb != "get_job"] == asked
