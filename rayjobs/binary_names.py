"""Names of binaries as configurations give them. Uploads have names; URIs are refused wherever a name is meant."""

from __future__ import annotations

from typing import Any

from rayjobs.trees import names_of

DEPENDENT_JARS = "dependent-jar-uris"


def names_under(key: str, config: dict[str, Any]) -> list[str]:
    """The names under `key`, a list or a text with commas between them; none if it is absent, null or empty."""
    return names_of(config.get(key) or "")


def is_uri(name: str) -> bool:
    """Whether it says where code lies, not what its upload is called."""
    return "://" in name or name.startswith("file:")


def refusal_of(uri: str) -> str:
    """A service that read any URL or file of its node for its callers would be a hole."""
    return f"{uri} is a URI, and none is loaded: upload the file with POST /binaries/<name>, and give that name"
