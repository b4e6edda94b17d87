"""Error replies for the OpenAPI document, from the classes of `rayjobs/errors.py` and their HTTP answers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from http import HTTPStatus
from itertools import groupby

from rayjobs.errors import RayJobsError
from rayjobs.web.errors import ANSWERS, INTERNAL_ERROR, METHOD_NOT_ALLOWED, NO_SUCH_ROUTE, Answer, answer_for

JsonObject = dict[str, object]


def ref(name: str, kind: str = "schemas") -> JsonObject:
    return {"$ref": f"#/components/{kind}/{name}"}


@dataclass(frozen=True)
class ErrorCode:
    """One value of `code`, and how it is answered."""

    code: str
    answer: Answer


@dataclass(frozen=True)
class ErrorReply:
    """All errors that an operation answers with one status; operations with the same ones share the reply."""

    status_code: int
    errors: tuple[ErrorCode, ...]

    @property
    def name(self) -> str:
        return "-or-".join(error.code for error in self.errors)

    def described(self) -> JsonObject:
        codes = ", ".join(f"`{error.code}`" for error in self.errors)
        only_these: JsonObject = {"properties": {"code": {"enum": [error.code for error in self.errors]}}}
        schema: JsonObject = {"allOf": [ref("Error"), only_these]}
        return {
            "description": f"{HTTPStatus(self.status_code).phrase}: {codes}",
            "content": {"application/json": {"schema": schema, "example": _example(self.errors[0])}},
        }


def error_replies(kinds: Collection[type[RayJobsError]]) -> list[ErrorReply]:
    """The replies that errors of these classes get, by status; any operation may meet a defect of the service."""
    found = [*(ErrorCode(kind.code, answer_for(kind)) for kind in kinds), _INTERNAL]
    found.sort(key=lambda error: (error.answer.status_code, error.code))
    groups = groupby(found, key=lambda error: error.answer.status_code)
    return [ErrorReply(status_code, tuple(errors)) for status_code, errors in groups]


def _example(error: ErrorCode) -> JsonObject:
    message = "what went wrong"
    exception = {"message": message, "errorClass": "LookupError", "stack": ""}
    result = exception if error.answer.as_exception else message
    return {"status": error.answer.text, "result": result, "code": error.code}


def _codes(root: type[RayJobsError] = RayJobsError) -> list[str]:
    return [root.code, *(code for child in root.__subclasses__() for code in _codes(child))]


_INTERNAL = ErrorCode(INTERNAL_ERROR, Answer(500, as_exception=True))

EXCEPTION: JsonObject = {
    "type": "object",
    "description": "an exception of a job, of Spark or of the service",
    "required": ["message", "errorClass", "stack"],
    "properties": {
        "message": {"type": "string"},
        "errorClass": {"type": "string", "description": "the name of its class"},
        "stack": {"type": "string", "description": "its traceback; may be empty"},
    },
    "examples": [
        {
            "message": "nothing there",
            "errorClass": "LookupError",
            "stack": "Traceback (most recent call last):\n...\nLookupError: nothing there\n",
        }
    ],
}

ERROR: JsonObject = {
    "type": "object",
    "description": "any error; decide by `code`",
    "required": ["status", "result", "code"],
    "properties": {
        "status": {"enum": sorted({answer.text for answer in ANSWERS.values()})},
        "result": {"anyOf": [{"type": "string"}, ref("Exception")]},
        "code": {"enum": sorted({*_codes(), NO_SUCH_ROUTE, METHOD_NOT_ALLOWED, INTERNAL_ERROR})},
    },
    "examples": [{"status": "ERROR", "result": "No such job ID x", "code": "no-such-job"}],
}
