"""A context's settings as requests give them: by dotted path, under the names of all versions of the API."""

from __future__ import annotations

from typing import Any

from rayjobs import trees
from rayjobs.binary_names import DEPENDENT_JARS, is_uri, names_under, refusal_of
from rayjobs.errors import BadConfig

PROXY_USER = "spark.proxy.user"
"""Names the user that a context's Spark is to be, as Hadoop's proxy users are."""
STOP_ON_ERROR = "stop-context-on-job-error"
HIVE = "spark.session.hive.enabled"
SUPERVISE = "launcher.spark.driver.supervise"

_PATH = "spark.context-settings."
_SPELLINGS = {"launcher.spark.": "spark.", "passthrough.spark.": "spark.", "hadoop.": "spark.hadoop."}
_ALIASES = {"numCores": "num-cpu-cores", "memPerNode": "memory-per-node"}


def posted(config: dict[str, Any]) -> dict[str, Any]:
    """The `spark.context-settings` of a posted configuration, however nested it is."""
    leaves = trees.flatten(config).items()
    return plain_names({path.removeprefix(_PATH): value for path, value in leaves if path.startswith(_PATH)})


def is_true(settings: dict[str, Any], key: str) -> bool:
    """Whether a setting is there and says true, as a Boolean or as text."""
    return str(settings.get(key, False)).lower() == "true"


def jar_names(settings: dict[str, Any]) -> list[str]:
    """The uploads that are there for all jobs of a context: those of `cp`, then those of `dependent-jar-uris`.

    Raises `BadConfig` for a URI.
    """
    names = names_under("cp", settings) + names_under(DEPENDENT_JARS, settings)
    for uri in filter(is_uri, names):
        raise BadConfig(refusal_of(uri))
    return names


def plain_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, each under the one name that all of ours goes by."""
    return {_plain_name(key): value for key, value in settings.items()}


def _plain_name(key: str) -> str:
    if key in _ALIASES or key == SUPERVISE:
        return _ALIASES.get(key, key)
    for given, prefix in _SPELLINGS.items():
        if key.startswith(given):
            return prefix + key.removeprefix(given)
    return key
