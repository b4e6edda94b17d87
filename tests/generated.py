"""Requests made up from the OpenAPI document, right ones and wrong ones, and what each reply must be like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import schemathesis
from hypothesis import strategies
from schemathesis.checks import CheckContext

from rayjobs import errors
from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from rayjobs.web.binaries import CONTENT_TYPES
from rayjobs.web.openapi import document
from tests.service import zip_of
from tests.web.fake_service import FakeService

Operations = Sequence[dict[str, Any]]
"""What schemathesis is to do otherwise for some operations, as in its settings file."""

# 400 is the right answer to some requests that the document allows: it cannot say which texts are HOCON, or code, and
# to JSON Schema 10.0 is an integer.
_MAY_BE_REFUSED = ["createContext", "listJobs", "startJob", "uploadBinary", "uploadJar", "uploadDataFile"]
_MEANT = (errors.UnknownMethod, errors.ContextInitError, errors.NotEnoughResources, errors.NoSlotsAvailable)
_FILES = strategies.sampled_from([zip_of({"a.py": "x = 1"}), b"x = 1", b"PK\x03\x04", b""]) | strategies.binary()

for _media_type in (name for name in CONTENT_TYPES if "/" in name):
    schemathesis.openapi.media_type(_media_type, _FILES)


def described(
    examples: int, dictionaries: dict[str, list[str]], operations: Operations = ()
) -> schemathesis.BaseSchema:
    """All operations; `dictionaries` are values for parameters, like `path.id`, that are known to lead somewhere.

    The same requests each time. Their replies may have no fields that the document does not name.
    """
    app = create_app(FakeService(), Settings())
    refused = {"include-operation-id": _MAY_BE_REFUSED, "checks": {"positive_data_acceptance": {"enabled": False}}}
    names = {parameter: parameter.replace(".", "-") for parameter in dictionaries}
    settings = {
        "generation": {"deterministic": True, "max-examples": examples, "database": "none"},
        "dictionaries": {names[parameter]: {"values": values} for parameter, values in dictionaries.items()},
        "parameters": {parameter: {"dictionary": names[parameter], "probability": 0.5} for parameter in dictionaries},
        "checks": {"not_a_server_error": {"enabled": False}},
        "operations": [refused, *operations],
    }
    return schemathesis.openapi.from_dict(_closed(document(app.routes)), config=schemathesis.Config.from_dict(settings))


def no_defect(context: CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    """A check for schemathesis: no 5xx but those that tell the caller of a context without room, and the like."""
    if response.status_code >= 500:
        assert response.json()["code"] in {kind.code for kind in _MEANT}, response.text


def _closed(part: Any) -> Any:
    """The same document, with objects that have no other fields than those it names."""
    if isinstance(part, list):
        return [_closed(item) for item in part]
    if not isinstance(part, dict):
        return part
    closed = {key: _closed(value) for key, value in part.items()}
    return closed | {"additionalProperties": False} if "properties" in part and "type" in part else closed
