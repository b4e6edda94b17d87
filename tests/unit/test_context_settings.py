"""The names of settings, the jars that they name, and which contexts can have some."""

from __future__ import annotations

from typing import Any

import pytest

from rayjobs.context_settings import jar_names, plain_names, posted
from rayjobs.errors import BadConfig
from rayjobs.settings import Settings
from rayjobs.spark_hosts import wants_own_jvm

SHARED = {"context-per-jvm": "false"}


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, []),
        ({"cp": "", "dependent-jar-uris": None}, []),
        ({"cp": "a, b"}, ["a", "b"]),
        ({"dependent-jar-uris": ["c", "d"]}, ["c", "d"]),
        ({"dependent-jar-uris": "c", "cp": ["a"]}, ["a", "c"]),
    ],
)
def test_jars_are_named_by_cp_and_then_by_dependent_jar_uris(settings: dict[str, Any], names: list[str]) -> None:
    assert jar_names(settings) == names


def test_the_jars_of_an_ad_hoc_context_stand_with_its_other_settings() -> None:
    assert jar_names(posted({"spark": {"context-settings": {"cp": ["a"]}}, "cp": "of the job"})) == ["a"]


@pytest.mark.parametrize("uri", ["http://x/a.jar", "file:/srv/a.jar", "file:a.jar"])
@pytest.mark.parametrize("key", ["cp", "dependent-jar-uris"])
def test_a_uri_is_refused(key: str, uri: str) -> None:
    with pytest.raises(BadConfig, match=r"is a URI, and none is loaded: upload the file"):
        jar_names({key: ["a", uri]})


@pytest.mark.parametrize("own", [{"cp": "a"}, {"dependent-jar-uris": ["a"]}])
def test_a_context_that_shares_an_application_has_no_jars_of_its_own(own: dict[str, Any]) -> None:
    with pytest.raises(BadConfig, match="need a Spark application of its own"):
        wants_own_jvm(SHARED | own, Settings())
    assert wants_own_jvm(own, Settings())


def test_it_has_those_of_the_shared_application() -> None:
    settings = Settings(context_settings={"cp": "a,b"}, context_per_jvm=False)
    assert not wants_own_jvm({"cp": ["a", "b"]}, settings)
    for other in ({"cp": "a"}, {"cp": ""}, {"cp": "a,b", "dependent-jar-uris": "c"}):
        with pytest.raises(BadConfig, match="need a Spark application of its own"):
            wants_own_jvm(other, settings)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("numCores", "num-cpu-cores"),
        ("launcher.spark.executor.memory", "spark.executor.memory"),
        ("passthrough.spark.sql.ansi.enabled", "spark.sql.ansi.enabled"),
        ("hadoop.fs.s3a.endpoint", "spark.hadoop.fs.s3a.endpoint"),
        ("passthrough.my.key", "passthrough.my.key"),
        ("launcher.spark.driver.supervise", "launcher.spark.driver.supervise"),
    ],
)
def test_every_spelling_of_a_setting_is_one_name(given: str, plain: str) -> None:
    assert plain_names({given: "x"}) == {plain: "x"}
