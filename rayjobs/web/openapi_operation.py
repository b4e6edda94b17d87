"""The parts of one operation as the OpenAPI document wants them: parameters, bodies, replies."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from rayjobs import errors
from rayjobs.errors import RayJobsError
from rayjobs.web.openapi_errors import ErrorReply, JsonObject, error_replies, ref

ErrorKinds = tuple[type[RayJobsError], ...]

OF_ANY: ErrorKinds = (errors.ForeignOrigin,)
OF_A_POST: ErrorKinds = (errors.UnknownMethod,)
OF_THE_CLUSTER: ErrorKinds = (errors.ActorGone, errors.StorageFailure, errors.IllegalTransition)
OF_A_CONFIG: ErrorKinds = (errors.BadConfig, errors.TooLarge)


class Tag(StrEnum):
    BINARIES = "binaries"
    CONTEXTS = "contexts"
    JOBS = "jobs"
    DATA = "data"
    SERVICE = "service"


@dataclass(frozen=True)
class Parameter:
    """`where` is `path`, `query` or `header`; one that `may_be_empty` counts as absent then."""

    where: str
    name: str
    schema: JsonObject
    description: str
    example: object = None
    required: bool = False
    deprecated: bool = False
    may_be_empty: bool = False

    def described(self) -> JsonObject:
        found: JsonObject = {"name": self.name, "in": self.where, "description": self.description}
        found |= {"required": self.required or self.where == "path", "schema": self.schema}
        found |= {"deprecated": True} if self.deprecated else {}
        found |= {"allowEmptyValue": True} if self.may_be_empty else {}
        return found if self.example is None else found | {"example": self.example}


@dataclass(frozen=True)
class Body:
    """`content` has the schema and an example by media type."""

    description: str
    content: dict[str, JsonObject]
    required: bool = False

    def described(self) -> JsonObject:
        return {"description": self.description, "required": self.required, "content": self.content}


@dataclass(frozen=True)
class Reply:
    """An answer that is no error; without `schema` it has no body. `headers` are their descriptions."""

    status_code: int
    description: str
    schema: JsonObject | None = None
    media_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)

    def described(self) -> JsonObject:
        found: JsonObject = {"description": self.description}
        if self.schema is not None:
            found["content"] = {self.media_type: {"schema": self.schema}}
        if self.headers:
            text: JsonObject = {"type": "string"}
            found["headers"] = {name: {"description": said, "schema": text} for name, said in self.headers.items()}
        return found


@dataclass(frozen=True)
class Operation:
    """One method of one path. `errors` are the classes of the errors that it answers with, besides those of any.

    `callbacks` are the requests that the service makes in turn, as the document has them. `is_local`: it asks neither
    the supervisor nor the job store nor a context.
    """

    id: str
    tag: Tag
    summary: str
    replies: tuple[Reply, ...]
    errors: ErrorKinds = ()
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    callbacks: JsonObject = field(default_factory=dict)
    is_local: bool = False

    def error_replies(self, method: str) -> list[ErrorReply]:
        always = OF_ANY + (() if self.is_local else OF_THE_CLUSTER) + (OF_A_POST if method == "POST" else ())
        return error_replies(always + self.errors)

    def described(self, method: str) -> JsonObject:
        found: JsonObject = {"operationId": self.id, "tags": [self.tag], "summary": self.summary}
        if self.description:
            found["description"] = self.description
        if self.parameters:
            found["parameters"] = [parameter.described() for parameter in self.parameters]
        if self.body:
            found["requestBody"] = self.body.described()
        if self.callbacks:
            found["callbacks"] = self.callbacks
        replies = {str(reply.status_code): reply.described() for reply in self.replies}
        refused = {str(reply.status_code): ref(reply.name, "responses") for reply in self.error_replies(method)}
        return found | {"responses": replies | refused}


def path(name: str, description: str, example: str) -> Parameter:
    return Parameter("path", name, {"type": "string", "minLength": 1}, description, example)


def query(name: str, schema: JsonObject, description: str, example: object = None) -> Parameter:
    return Parameter("query", name, schema, description, example, may_be_empty=True)


def boolean(name: str, description: str, default: bool) -> Parameter:
    return query(name, {"type": "boolean", "default": default}, description)


def config(description: str, example: JsonObject, example_text: str) -> Body:
    """A configuration as JSON or HOCON; `example_text` is the same as HOCON."""
    return Body(
        f"{description}; HOCON, of which JSON is a subset",
        {
            "application/json": {"schema": {"type": "object"}, "example": example},
            "text/plain": {"schema": {"type": "string"}, "example": example_text},
        },
    )


def success(description: str, status_code: int = 200) -> Reply:
    return Reply(status_code, description, ref("Success"))
