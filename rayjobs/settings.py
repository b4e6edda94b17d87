"""Every knob of the service: key, default, meaning; read and validated once, by `load`.

A setting's value is, in this order: the command line's, the environment's (`RAYJOBS_` and the key in capitals,
dots and dashes as underscores), the settings file's (HOCON), the default.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from rayjobs import trees
from rayjobs.context_settings import plain_names
from rayjobs.errors import BadConfig


def _setting(key: str, default: Any, meaning: str, is_secret: bool = False) -> Any:
    about = {"key": key, "meaning": meaning, "is_secret": is_secret}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=about)
    return field(default=default, metadata=about, repr=not is_secret)


def _data_home() -> Path:
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "rayjobs"


@dataclass(frozen=True)
class Settings:
    host: str = _setting("http.host", "127.0.0.1", "address the HTTP server binds to")
    port: int = _setting("http.port", 8090, "port of the HTTP server; 0 picks a free one")
    http_processes: int = _setting(
        "http.processes", 1, "processes that serve HTTP; more for many clients at once where there are cores for them"
    )
    allowed_hosts: str = _setting(
        "http.allowed-hosts",
        "",
        "host names, with commas, that requests may be for besides localhost while http.host is a loopback address",
    )
    allowed_origins: str = _setting(
        "http.allowed-origins",
        "",
        "origins of other sites' web pages, with commas, that may call the service from a browser (CORS)",
    )
    max_body_bytes: int = _setting("http.max-body-bytes", 30 * 2**20, "longest job config or context settings accepted")
    data_dir: str = _setting(
        "data-dir",
        "",
        "where history, binaries, results and logs live; empty: rayjobs/ in the user's data home",
    )
    ray_address: str = _setting(
        "ray.address", "", "the Ray cluster to join; empty: start one on this machine (RAY_ADDRESS counts too)"
    )
    ray_num_cpus: int = _setting(
        "ray.num-cpus", 0, "CPU budget of a Ray started here; 0: eight times the cores, at least 32"
    )
    warm_workers: int = _setting(
        "ray.warm-workers", 2, "Ray workers started ahead for each context, for it and its runners to start in"
    )
    ray_dashboard_port: int = _setting(
        "ray.dashboard-port", 8265, "port of the Ray dashboard of a Ray started here; another free one if taken"
    )
    ray_autoscaling: bool = _setting(
        "ray.autoscaling", False, "the cluster can grow: a context is never refused for lack of nodes, it waits"
    )
    ray_object_store_bytes: int = _setting("ray.object-store-bytes", 512 * 2**20, "object store of a Ray started here")
    max_binary_bytes: int = _setting("binaries.max-bytes", 2 * 2**30, "largest binary accepted")
    max_data_bytes: int = _setting("data.max-bytes", 2 * 2**30, "largest data file accepted")
    predefined_binaries: dict[str, Any] = _setting(
        "binaries.predefined",
        {},
        "binaries that are uploaded at start: paths of .whl, .egg, .zip, .py, .jar files by app",
    )
    context_per_jvm: bool = _setting(
        "contexts.context-per-jvm",
        True,
        "each context its own Spark application; false: contexts share one, each with a session of its own; "
        "context-per-jvm of a context wins",
    )
    standby: int = _setting(
        "contexts.standby", 0, "Spark applications of the default settings kept started, for contexts to come"
    )
    max_jobs_per_context: int = _setting(
        "contexts.max-jobs-per-context", 8, "job slots of a context: jobs that run at once in it"
    )
    context_creation_timeout_s: float = _setting(
        "contexts.creation-timeout-s", 120.0, "a context not up by then ends in ERROR"
    )
    context_deletion_timeout_s: float = _setting(
        "contexts.deletion-timeout-s", 15.0, "a DELETE answers 202 when the stop takes longer"
    )
    context_kill_after_s: float = _setting("contexts.kill-after-s", 60.0, "a stop that takes longer is ended by force")
    context_restart: bool = _setting(
        "contexts.supervise",
        False,
        "a context that dies is started again, and its async jobs with it; launcher.spark.driver.supervise of a "
        "context wins",
    )
    context_restart_attempts: int = _setting(
        "contexts.restart-attempts", 3, "how often in a row a supervised context is started again"
    )
    context_idle_timeout_s: float = _setting(
        "contexts.idle-timeout-s",
        0.0,
        "a context without a job for that long is stopped, 0 never; idle-timeout-s of a context wins",
    )
    executor_timeout_s: float = _setting(
        "contexts.executor-timeout-s", 120.0, "a context that has no executor for that long is ended"
    )
    predefined_contexts: dict[str, Any] = _setting(
        "contexts.predefined", {}, "contexts that are created at start and by a reset, by name, with their settings"
    )
    context_settings: dict[str, Any] = _setting(
        "contexts.context-settings",
        {},
        "default settings of every context: num-cpu-cores, memory-per-node, context-factory, spark.*",
    )
    jvm_options: str = _setting(
        "contexts.jvm-options",
        "-XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Xss4m -Xms64m",
        "JVM flags of drivers, chosen for a fast start",
    )
    executor_jvm_options: str = _setting(
        "contexts.executor-jvm-options",
        "-XX:+UseSerialGC -XX:Tier4InvocationThreshold=15000 -XX:Tier4MinInvocationThreshold=1800 "
        "-XX:Tier4CompileThreshold=45000 -XX:Tier4BackEdgeThreshold=120000",
        "JVM flags of executors; with -XX:TieredStopAtLevel=1 long CPU-heavy work takes two to three times as long",
    )
    spare_runners: int = _setting(
        "runners.spare",
        1,
        "started runners that a context, or its shared application, keeps ready for a new binary",
    )
    runner_idle_timeout_s: float = _setting(
        "runners.idle-timeout-s", 3600.0, "a runner without a job for that long is ended; 0: never"
    )
    sync_timeout_s: float = _setting(
        "jobs.sync-timeout-s", 10.0, "how long a sync job is waited for when the request has no timeout"
    )
    job_load_timeout_s: float = _setting(
        "jobs.load-timeout-s", 120.0, "a job whose module takes longer to import is refused"
    )
    job_defaults: dict[str, Any] = _setting("job-defaults", {}, "configuration that lies under every job's own")
    callback_secret: str = _setting(
        "callbacks.secret",
        "",
        "what callbacks are signed with, whsec_ and base64; empty: made at first start, callback-secret in data-dir",
        is_secret=True,
    )
    callback_attempts: int = _setting("callbacks.attempts", 8, "how often a callback is tried before it is FAILED")
    callback_first_retry_s: float = _setting(
        "callbacks.first-retry-s", 1.0, "the second attempt comes that long after the first; doubled each time, to 300"
    )
    callback_timeout_s: float = _setting(
        "callbacks.timeout-s", 10.0, "an attempt whose receiver has not answered by then has failed"
    )
    retention_s: float = _setting(
        "records.retention-s",
        72 * 3600.0,
        "ended jobs and contexts, their results and logs are deleted after that; 0: never",
    )
    inline_result_bytes: int = _setting(
        "results.inline-bytes", 256 * 2**10, "larger results live in files beside the store"
    )

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir).expanduser() if self.data_dir else _data_home()

    @property
    def origins(self) -> frozenset[str]:
        """`http.allowed-origins`, one by one."""
        return frozenset(origin for given in self.allowed_origins.split(",") if (origin := given.strip()))


@dataclass(frozen=True)
class SettingInfo:
    """One row of `rayjobs settings`."""

    key: str
    env: str
    default: Any
    meaning: str
    attribute: str
    is_secret: bool


def setting_infos() -> list[SettingInfo]:
    """Every setting there is, in the order they are declared."""
    infos = []
    for declared in fields(Settings):
        key = declared.metadata["key"]
        default = getattr(Settings(), declared.name)
        meaning, is_secret = declared.metadata["meaning"], declared.metadata["is_secret"]
        infos.append(SettingInfo(key, _env_name(key), default, meaning, declared.name, is_secret))
    return infos


def load(
    file: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings in force. `overrides` are the command line's, by attribute; None values do not count.

    Settings of contexts are by dotted path, as requests give them, however nested the source is.
    `file` None means `RAYJOBS_CONFIG`, else `rayjobs.conf` in the data directory if there is one.
    Raises `BadConfig` for an unknown key, a value of the wrong kind, or a file that cannot be read.
    """
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    in_file = _read_file(_file_of(file, given.get("data_dir") or environ.get("RAYJOBS_DATA_DIR", ""), environ))
    types = get_type_hints(Settings)
    values: dict[str, Any] = {}
    for info in setting_infos():
        for source, value in ((info.key, in_file.pop(info.key, None)), (info.env, environ.get(info.env))):
            if value is not None:
                values[info.attribute] = _convert(source, value, types[info.attribute])
    if in_file:
        raise BadConfig(f"unknown setting {', '.join(sorted(in_file))}; `rayjobs settings` lists them all")
    if environ.get("RAY_ADDRESS"):
        values.setdefault("ray_address", environ["RAY_ADDRESS"])
    values["context_settings"] = plain_names(trees.flatten(values.get("context_settings", {})))
    return _checked(Settings(**values | given))


def _env_name(key: str) -> str:
    return "RAYJOBS_" + key.upper().replace(".", "_").replace("-", "_")


def _file_of(file: Path | None, data_dir: str, environ: Mapping[str, str]) -> Path | None:
    if file or environ.get("RAYJOBS_CONFIG"):
        return Path(file or environ["RAYJOBS_CONFIG"])
    usual = Settings(data_dir=data_dir).data_path / "rayjobs.conf"
    return usual if usual.exists() else None


def _read_file(path: Path | None) -> dict[str, Any]:
    """The file's settings by key; objects stay whole where a setting is an object."""
    if path is None:
        return {}
    try:
        tree = _parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfig(f"cannot read the settings file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadConfig(f"cannot read the settings file {path}: {error}") from None
    except BadConfig as error:
        raise BadConfig(f"{path}: {error.message}") from None
    return trees.flatten(tree, whole={info.key for info in setting_infos() if isinstance(info.default, dict)})


def _parse(text: str) -> dict[str, Any]:
    """The parser is imported where there is a text: a context's process has none, and starts sooner without."""
    from rayjobs import hocon

    return hocon.parse(text)


_BOOLEANS = {"true": True, "on": True, "yes": True, "1": True, "false": False, "off": False, "no": False, "0": False}
# As browsers write them: a star, a path or a capital letter would match no `Origin`, or all.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9._\[\]:-]+")
SIGNING_SECRET = re.compile(r"whsec_([A-Za-z0-9+/]{4}){8,}([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_KIND_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}


def _convert(source: str, given: Any, kind: type) -> Any:
    """`given`, from a file or the environment, as `kind`; by way of its text, for which true is no number."""
    try:
        if kind is bool:
            return _BOOLEANS[str(given).lower()]
        if kind is str and isinstance(given, (bool, list)):
            raise ValueError
        if kind in (int, float, str):
            return kind(str(given))
        return given if isinstance(given, dict) else _parse(str(given))
    except BadConfig as error:
        raise BadConfig(f"setting {source}: {error.message}") from None
    except (ValueError, KeyError):
        raise BadConfig(f"setting {source}: expected {_KIND_NAMES[kind]}, found {given!r}") from None


def _checked(settings: Settings) -> Settings:
    for key, port in (("http.port", settings.port), ("ray.dashboard-port", settings.ray_dashboard_port)):
        if not 0 <= port <= 65535:
            raise BadConfig(f"setting {key}: {port} is not a port (0 to 65535)")
    for info in setting_infos():
        if isinstance(value := getattr(settings, info.attribute), (int, float)) and not value >= 0:
            raise BadConfig(f"setting {info.key}: {value} is below 0")
    for origin in sorted(settings.origins):
        if not _ORIGIN.fullmatch(origin):
            raise BadConfig(f"setting http.allowed-origins: {origin!r} is not an origin like https://jobs.example:8443")
    if settings.http_processes < 1:
        raise BadConfig("setting http.processes: HTTP needs at least one process")
    if settings.max_jobs_per_context < 1:
        raise BadConfig("setting contexts.max-jobs-per-context: a context needs at least one job slot")
    if settings.callback_secret and not SIGNING_SECRET.fullmatch(settings.callback_secret):
        raise BadConfig("setting callbacks.secret: expected whsec_ and the base64 of at least 24 bytes")
    if settings.callback_attempts < 1:
        raise BadConfig("setting callbacks.attempts: a callback needs at least one attempt")
    return settings
