"""What a context's settings ask for: executors, and the entry point that its jobs receive."""

from __future__ import annotations

from typing import Any

import pytest

from rayjobs.errors import BadConfig, ContextInitError
from rayjobs.spark.kinds import ContextKind, kind_of
from rayjobs.spark.needs import SparkNeeds, needs_of
from rayjobs.spark.session import own_spark_settings


@pytest.mark.parametrize(("cpu_count", "cores"), [(1, 1), (2, 2), (4, 4), (64, 4)])
def test_by_default_a_context_has_one_executor_with_up_to_four_of_the_cores(cpu_count: int, cores: int) -> None:
    assert needs_of({}, cpu_count) == SparkNeeds(1, cores, "512m")


@pytest.mark.parametrize(
    ("settings", "needs"),
    [
        ({"num-cpu-cores": 3}, SparkNeeds(1, 3, "512m")),
        ({"num-cpu-cores": "3", "memory-per-node": "2G"}, SparkNeeds(1, 3, "2G")),
        ({"num-cpu-cores": 6, "spark.executor.instances": 3}, SparkNeeds(3, 2, "512m")),
        ({"num-cpu-cores": 7, "spark.executor.instances": 3}, SparkNeeds(3, 2, "512m")),
        ({"num-cpu-cores": 2, "spark.executor.instances": 5}, SparkNeeds(5, 1, "512m")),
        ({"num-cpu-cores": 8, "spark.executor.cores": 5}, SparkNeeds(1, 5, "512m")),
        ({"memory-per-node": "1g", "spark.executor.memory": "900m"}, SparkNeeds(1, 4, "900m")),
    ],
)
def test_spark_s_own_settings_win_over_cores_and_memory_of_the_context(
    settings: dict[str, Any], needs: SparkNeeds
) -> None:
    assert needs_of(settings, 4) == needs


@pytest.mark.parametrize("key", ["num-cpu-cores", "spark.executor.instances", "spark.executor.cores"])
@pytest.mark.parametrize("given", [0, -1, "none", "", 1.5, True, None, [2], float("inf"), {"a": 1}])
def test_a_number_that_is_none_is_refused_by_its_name(key: str, given: object) -> None:
    with pytest.raises(BadConfig) as refused:
        needs_of({key: given}, 4)
    assert refused.value.message == f"{key}: {given!r} is not a whole number above 0"


@pytest.mark.parametrize("key", ["memory-per-node", "spark.executor.memory"])
@pytest.mark.parametrize("given", ["", "m", "512", 512, "1.5g", "0m", "-1g", "512 m", "512x", "²m", "1g\n", None])
def test_an_amount_of_memory_that_is_none_is_refused_by_its_name(key: str, given: object) -> None:
    with pytest.raises(BadConfig) as refused:
        needs_of({"memory-per-node": "1g", key: given}, 4)
    assert refused.value.message == f"{key}: {str(given)!r} is not an amount like 512m or 2g"


# The kinds of contexts


def test_without_a_factory_jobs_receive_a_session() -> None:
    assert kind_of({}) is ContextKind.SESSION


@pytest.mark.parametrize(
    ("factory", "kind"),
    [
        ("spark.jobserver.context.DefaultSparkContextFactory", ContextKind.SPARK),
        ("spark.jobserver.context.JavaSparkContextFactory", ContextKind.SPARK),
        ("spark.jobserver.python.PythonSparkContextFactory", ContextKind.SPARK),
        ("spark.jobserver.context.SessionContextFactory", ContextKind.SESSION),
        ("spark.jobserver.context.JavaSessionContextFactory", ContextKind.SESSION),
        ("spark.jobserver.python.PythonSessionContextFactory", ContextKind.SESSION),
        ("spark.jobserver.context.SQLContextFactory", ContextKind.SQL),
        ("spark.jobserver.context.JavaSQLContextFactory", ContextKind.SQL),
        ("spark.jobserver.python.PythonSQLContextFactory", ContextKind.SQL),
        ("spark.jobserver.context.HiveContextFactory", ContextKind.HIVE),
        ("spark.jobserver.context.JavaHiveContextFactory", ContextKind.HIVE),
        ("spark.jobserver.python.PythonHiveContextFactory", ContextKind.HIVE),
    ],
)
def test_the_factories_of_spark_jobserver_are_known_with_and_without_their_package(
    factory: str, kind: ContextKind
) -> None:
    assert kind_of({"context-factory": factory}) is kind
    assert kind_of({"context-factory": factory.rpartition(".")[2]}) is kind


@pytest.mark.parametrize("kind", ContextKind)
def test_the_plain_name_of_an_entry_point_is_a_factory_too(kind: ContextKind) -> None:
    assert kind_of({"context-factory": kind.value}) is kind


@pytest.mark.parametrize("factory", ["spark.jobserver.context.StreamingContextFactory", "SparkSession.", "", None, 1])
def test_an_unknown_factory_is_refused_with_those_there_are(factory: object) -> None:
    with pytest.raises(ContextInitError) as refused:
        kind_of({"context-factory": factory})
    assert refused.value.message == (
        f"unknown context-factory {factory}; use one of SparkSession, SparkContext, SQLContext, HiveContext, "
        "CustomContext"
    )


def test_rdd_ttl_changes_nothing() -> None:
    given = {"num-cpu-cores": 2, "spark.sql.ansi.enabled": "true"}
    with_it = given | {"rdd-ttl": "86400"}
    assert needs_of(with_it, 8) == needs_of(given, 8)
    assert own_spark_settings(with_it) == own_spark_settings(given)
