"""A context's settings as requests give them: by dotted path, under the names of all versions of the API."""

from __future__ import annotations

from typing import Any

from rayjobs import trees

_PATH = "spark.context-settings."
_ALIASES = {"numCores": "num-cpu-cores", "memPerNode": "memory-per-node"}


def posted(config: dict[str, Any]) -> dict[str, Any]:
    """The `spark.context-settings` of a posted configuration, however nested it is."""
    leaves = trees.flatten(config).items()
    return plain_names({path.removeprefix(_PATH): value for path, value in leaves if path.startswith(_PATH)})


def plain_names(settings: dict[str, Any]) -> dict[str, Any]:
    """The same settings, older names replaced."""
    return {_ALIASES.get(key, key): value for key, value in settings.items()}
