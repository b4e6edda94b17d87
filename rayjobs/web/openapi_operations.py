"""What the OpenAPI document says of each route, by method and path; those of jobs are in `openapi_jobs.py`."""

from __future__ import annotations

from rayjobs import errors
from rayjobs.records import BinaryType
from rayjobs.web.binaries import CONTENT_TYPES
from rayjobs.web.openapi_errors import JsonObject, ref
from rayjobs.web.openapi_jobs import JOBS
from rayjobs.web.openapi_operation import (
    OF_A_CONFIG,
    Body,
    Operation,
    Parameter,
    Reply,
    Tag,
    boolean,
    config,
    path,
    success,
)
from rayjobs.web.openapi_schemas import TEXT, array_of, by_name

_FILE: JsonObject = {"description": "the file's bytes"}
_APP = path("app", "the name of the uploaded code", "wordcount")
_CONTEXT = path("name", "the name of the context", "etl")
_DATA_FILE = "words.txt-2016-07-04T09_09_57.928Z.dat"
_RESET = Parameter("query", "reset", {"const": "reboot"}, "what to do", "reboot", required=True)

_SERVICE = {
    ("GET", "/"): Operation(
        "about",
        Tag.SERVICE,
        "Name and version of the service, and its main routes",
        (Reply(200, "what this is", ref("About")),),
        is_local=True,
    ),
    ("GET", "/healthz"): Operation(
        "checkHealth",
        Tag.SERVICE,
        "Whether supervisor and job store answer",
        (success("they do"),),
    ),
    ("GET", "/openapi.json"): Operation(
        "getOpenApi", Tag.SERVICE, "This document", (Reply(200, "OpenAPI 3.1", {"type": "object"}),), is_local=True
    ),
    ("GET", "/docs"): Operation(
        "browseDocs",
        Tag.SERVICE,
        "This document as a page, to read and to try",
        (Reply(200, "the page", TEXT, "text/html"),),
        is_local=True,
    ),
}

_BINARIES = {
    ("GET", "/binaries"): Operation(
        "listBinaries",
        Tag.BINARIES,
        "The latest upload of each app, by name",
        (
            Reply(
                200,
                "by name",
                by_name(
                    ref("BinaryInfo"),
                    {"wordcount": {"binary-type": BinaryType.WHEEL, "upload-time": "2013-05-29T00:00:00.000Z"}},
                ),
            ),
        ),
    ),
    ("GET", "/binaries/{app}"): Operation(
        "getBinary",
        Tag.BINARIES,
        "The latest upload of an app",
        (Reply(200, "its type and time", ref("NamedBinaryInfo")),),
        (errors.NoSuchBinary,),
        parameters=(_APP,),
    ),
    ("POST", "/binaries/{app}"): Operation(
        "uploadBinary",
        Tag.BINARIES,
        "Upload code",
        (success("stored durably", 201),),
        (errors.BadBinary, errors.TooLarge, errors.UnsupportedBinaryType),
        description="A later upload under the same name replaces it for jobs started from then on. `Content-Type` says "
        "what the file is; it may be `binaries.max-bytes` long. An upload that breaks off is not stored.",
        parameters=(_APP,),
        body=Body(
            ", ".join(f"`{name}`: {kind}" for name, kind in CONTENT_TYPES.items()),
            # A key without a slash is no media type, and not allowed in the document.
            {name: {"schema": _FILE} for name in CONTENT_TYPES if "/" in name},
            required=True,
        ),
    ),
    ("DELETE", "/binaries/{app}"): Operation(
        "deleteBinary",
        Tag.BINARIES,
        "Remove all uploads of an app",
        (success("removed"),),
        (errors.NoSuchBinary, errors.BinaryInUse),
        parameters=(_APP,),
    ),
    ("GET", "/jars"): Operation(
        "listJars",
        Tag.BINARIES,
        "For older clients: the upload times of jars, by name",
        (Reply(200, "by name", by_name(ref("Timestamp"), {"wordcount": "2013-05-29T00:00:00.000Z"})),),
    ),
    ("POST", "/jars/{app}"): Operation(
        "uploadJar",
        Tag.BINARIES,
        "For older clients: upload a jar, whatever the content type",
        (success("`Jar uploaded`"),),
        (errors.BadBinary, errors.TooLarge),
        parameters=(_APP,),
        body=Body("the jar", {"application/java-archive": {"schema": _FILE}}, required=True),
    ),
}


def _setting(
    name: str, schema: JsonObject, description: str, example: object = None, deprecated: bool = False
) -> Parameter:
    return Parameter("query", name, schema, description, example, deprecated=deprecated)


_SETTINGS = (
    _setting("num-cpu-cores", {"type": "integer", "minimum": 1}, "cores of all its executors together", 2),
    _setting("memory-per-node", {"type": "string", "pattern": "^[1-9][0-9]*[kmgtKMGT]$"}, "of each executor", "1g"),
    _setting("context-factory", TEXT, "what its jobs get: `SparkSession`, `SparkContext`, ...", "SparkSession"),
    _setting("cp", TEXT, "uploaded jars, with commas, for all its jobs; so `dependent-jar-uris`", "postgresql"),
    _setting("idle-timeout-s", {"type": "number"}, "stopped after that long without a job; 0: never", 3600),
    _setting("context-per-jvm", {"type": "boolean"}, "`false`: share one Spark application"),
    _setting("launcher.spark.driver.supervise", {"type": "boolean"}, "start it again when it dies"),
    _setting("numCores", {"type": "integer", "minimum": 1}, "older `num-cpu-cores`", deprecated=True),
    _setting("memPerNode", TEXT, "older `memory-per-node`", deprecated=True),
    _setting(
        "settings",
        {"type": "object", "additionalProperties": {"type": "string"}},
        "any other setting is a query parameter of its own: `spark.*`, `passthrough.*`",
        {"spark.executor.instances": "1"},
    ),
)

_CONTEXTS = {
    ("GET", "/contexts"): Operation(
        "listContexts",
        Tag.CONTEXTS,
        "The names of contexts that run, restart or stop, newest first",
        (Reply(200, "names", array_of(TEXT, ["etl", "adhoc"])),),
    ),
    ("PUT", "/contexts"): Operation(
        "resetContexts",
        Tag.CONTEXTS,
        "Stop all contexts, then create those of the settings again",
        (success("`Context reset`, or `Context reset requested`"),),
        (errors.BadParameter, errors.NotFound, errors.ServiceStarting),
        parameters=(
            _RESET,
            boolean("sync", "wait until all are stopped", True),
        ),
    ),
    ("GET", "/contexts/{name}"): Operation(
        "getContext",
        Tag.CONTEXTS,
        "A context that has not ended",
        (Reply(200, "the context", ref("ContextInfo")),),
        (errors.NoSuchContext,),
        parameters=(_CONTEXT,),
    ),
    ("POST", "/contexts/{name}"): Operation(
        "createContext",
        Tag.CONTEXTS,
        "Create a context and wait until it runs",
        (success("`Context initialized`"),),
        (
            *OF_A_CONFIG,
            errors.BadContextName,
            errors.ContextExists,
            errors.ContextInitError,
            errors.NotEnoughResources,
            errors.ServiceStarting,
        ),
        description="Its name starts with a letter. Every query parameter is a setting of it; settings may also stand "
        "in the body, in its object `spark.context-settings`, which wins.",
        parameters=(_CONTEXT, *_SETTINGS),
        body=config(
            "settings in `spark.context-settings`",
            {"spark": {"context-settings": {"num-cpu-cores": 2}}},
            "spark.context-settings { num-cpu-cores = 2 }",
        ),
    ),
    ("DELETE", "/contexts/{name}"): Operation(
        "stopContext",
        Tag.CONTEXTS,
        "Stop a context and end its jobs",
        (
            success("`Context stopped`"),
            Reply(202, "the stop takes longer and goes on", headers={"Location": "the path to poll, 404 in the end"}),
        ),
        (
            errors.BadParameter,
            errors.NoSuchContext,
            errors.ContextDeleteError,
            errors.ServiceStarting,
        ),
        parameters=(_CONTEXT, boolean("force", "end its processes at once, without asking Spark to stop", False)),
    ),
}

_DATA = {
    ("GET", "/data"): Operation(
        "listDataFiles",
        Tag.DATA,
        "The paths of all data files",
        (Reply(200, "absolute paths", array_of(TEXT, [f"/srv/rayjobs/data/{_DATA_FILE}"])),),
    ),
    ("PUT", "/data"): Operation(
        "resetData",
        Tag.DATA,
        "Delete all data files",
        (success("`Data reset`, or `Data reset requested`"),),
        (errors.BadParameter, errors.NotFound),
        parameters=(_RESET, boolean("sync", "wait until all are deleted", True)),
    ),
    ("POST", "/data/{name}"): Operation(
        "uploadDataFile",
        Tag.DATA,
        "Store a file for jobs to read",
        (Reply(200, "stored durably", ref("StoredDataFile")),),
        (errors.BadDataFileName, errors.TooLarge),
        description="The time of the upload is added to its name. It may be `data.max-bytes` long.",
        parameters=(path("name", "how the file's name begins", "words.txt"),),
        body=Body("any bytes", {"application/octet-stream": {"schema": _FILE}}),
    ),
    ("DELETE", "/data/{name}"): Operation(
        "deleteDataFile",
        Tag.DATA,
        "Delete a data file",
        (Reply(200, "`OK`", TEXT, "text/plain"),),
        (errors.NoSuchDataFile,),
        parameters=(path("name", "the path that the upload answered, or the file's name", _DATA_FILE),),
    ),
}

OPERATIONS: dict[tuple[str, str], Operation] = {**_BINARIES, **_CONTEXTS, **JOBS, **_DATA, **_SERVICE}
