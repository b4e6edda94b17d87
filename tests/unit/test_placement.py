"""Whether executors fit on nodes, and how a refusal reads."""

from __future__ import annotations

import pytest

from rayjobs.placement import NodeShare, Room, room_for, shortage
from rayjobs.spark.needs import SparkNeeds, needs_of

GIB = 2**30
BUSY = NodeShare({"CPU": 8, "memory": 8 * GIB}, {"CPU": 1, "memory": 8 * GIB})
IDLE = NodeShare({"CPU": 4, "memory": 4 * GIB, "GPU": 1}, {"CPU": 4, "memory": 4 * GIB, "GPU": 1})


@pytest.mark.parametrize(
    ("needs", "room"),
    [
        (SparkNeeds(1, 4, "1g"), Room.NOW),
        (SparkNeeds(5, 1, "1g"), Room.NOW),
        (SparkNeeds(6, 1, "1g"), Room.LATER),
        (SparkNeeds(1, 8, "1g"), Room.LATER),
        (SparkNeeds(1, 9, "1g"), Room.NEVER),
        (SparkNeeds(13, 1, "1m"), Room.NEVER),
        (SparkNeeds(1, 1, "9g"), Room.NEVER),
        (SparkNeeds(2, 1, "5g"), Room.NEVER),
        (SparkNeeds(1, 1, "1g", {"GPU": 1}), Room.NOW),
        (SparkNeeds(2, 1, "1g", {"GPU": 1}), Room.NEVER),
        (SparkNeeds(1, 1, "1g", {"TPU": 1}), Room.NEVER),
    ],
)
def test_room_is_now_later_or_never(needs, room):
    assert room_for(needs, [BUSY, IDLE]) is room


def test_a_cluster_without_nodes_has_no_room():
    assert room_for(SparkNeeds(1, 1, "1m"), []) is Room.NEVER
    assert "the largest node has 0 core(s) and 0 MiB" in shortage(SparkNeeds(1, 1, "1m"), [], {})


def test_a_refusal_says_what_is_needed_what_there_is_and_who_holds_it():
    said = shortage(SparkNeeds(1, 10000, "1g"), [BUSY, IDLE], {"etl": SparkNeeds(1, 7, "512m")})
    assert said == (
        "it needs 1 executor(s) of 10000 core(s) and 1024 MiB each; the largest node has 8 core(s) and 8192 MiB, "
        "the largest free share is 4 core(s) and 4096 MiB; held by contexts: etl (1 x 7 core(s) and 512 MiB)"
    )


def test_rays_other_resources_are_counted_by_name():
    key = "spark.ray.raydp_spark_executor.actor.resource."
    needs = needs_of({"num-cpu-cores": 2, f"{key}GPU": "0.5", f"{key}cpu": 1}, 4)
    assert needs.per_executor == {"CPU": 1, "memory": 512 * 2**20, "GPU": 0.5}
