"""Where a setting's value comes from, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from rayjobs.errors import BadConfig
from rayjobs.settings import SettingInfo, Settings, load, setting_infos

INFOS = {info.attribute: info for info in setting_infos()}
NUMBERS = [info for info in INFOS.values() if type(info.default) in (int, float)]
WITH_A_FORM = {"http.allowed-origins", "callbacks.secret"}
TEXTS = [info for info in INFOS.values() if isinstance(info.default, str) and info.key not in WITH_A_FORM]
OBJECTS = [info for info in INFOS.values() if isinstance(info.default, dict)]


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The user's own data home may hold a `rayjobs.conf`."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data-home"))


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "some.conf"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def _value_of(info: SettingInfo, text: str, path: Path | None = None) -> Any:
    return getattr(load(path, environ={info.env: text} if path is None else {}), info.attribute)


# Sources


def test_there_are_settings_of_every_kind() -> None:
    assert {type(info.default) for info in INFOS.values()} == {str, int, float, bool, dict}


def test_without_any_source_every_setting_has_its_default() -> None:
    assert load(environ={}) == Settings()
    assert {info.attribute: info.default for info in INFOS.values()} == vars(Settings())


@pytest.mark.parametrize("info", NUMBERS, ids=lambda info: info.key)
def test_a_number_is_the_environment_s_else_the_file_s(info: SettingInfo, file: Callable[[str], Path]) -> None:
    path = file(f"{info.key} = 21")
    for environ, value in (({}, 21), ({info.env: "22"}, 22)):
        loaded = getattr(load(path, environ=environ), info.attribute)
        assert loaded == value and type(loaded) is type(info.default)


@pytest.mark.parametrize("info", TEXTS, ids=lambda info: info.key)
def test_a_text_is_the_environment_s_else_the_file_s(info: SettingInfo, file: Callable[[str], Path]) -> None:
    path = file(f'{info.key} = "in the file: é"')
    assert getattr(load(path, environ={}), info.attribute) == "in the file: é"
    assert getattr(load(path, environ={info.env: "of the environment"}), info.attribute) == "of the environment"


@pytest.mark.parametrize("info", OBJECTS, ids=lambda info: info.key)
def test_an_object_is_the_environment_s_else_the_file_s_as_a_whole(
    info: SettingInfo, file: Callable[[str], Path]
) -> None:
    path = file(f"{info.key} {{ a = 1, b = [x, {{c = true}}] }}")
    assert getattr(load(path, environ={}), info.attribute) == {"a": 1, "b": ["x", {"c": True}]}
    assert getattr(load(path, environ={info.env: "a = 2, d = 512m"}), info.attribute) == {"a": 2, "d": "512m"}
    assert getattr(load(path, environ={info.env: '{"a": 3}'}), info.attribute) == {"a": 3}


def test_the_command_line_wins_over_environment_file_and_default(file: Callable[[str], Path]) -> None:
    path = file("http { host = file, port = 1 }, data-dir = file, ray.address = file")
    environ = {info.env: "2" for info in (INFOS["host"], INFOS["port"], INFOS["data_dir"], INFOS["ray_address"])}
    given = {"host": "given", "port": 0, "data_dir": "given", "ray_address": "given"}
    loaded = load(path, environ, given)
    assert {name: getattr(loaded, name) for name in given} == given


def test_what_the_command_line_leaves_out_does_not_count() -> None:
    assert load(environ={"RAYJOBS_HTTP_PORT": "2"}, overrides={"port": None, "host": None}).port == 2


def test_without_an_environ_the_process_s_own_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYJOBS_HTTP_PORT", "4711")
    assert load().port == 4711


def test_a_key_becomes_a_variable_s_name() -> None:
    assert INFOS["max_jobs_per_context"].env == "RAYJOBS_CONTEXTS_MAX_JOBS_PER_CONTEXT"
    assert len({info.env for info in INFOS.values()}) == len({info.key for info in INFOS.values()}) == len(INFOS)


def test_ray_address_of_the_environment_counts_where_nothing_of_ours_names_a_cluster(
    file: Callable[[str], Path],
) -> None:
    ray = {"RAY_ADDRESS": "10.0.0.1:6379"}
    assert load(environ=ray).ray_address == "10.0.0.1:6379"
    assert load(environ={"RAY_ADDRESS": ""}).ray_address == ""
    assert load(file("ray.address = auto"), environ=ray).ray_address == "auto"
    assert load(environ=ray | {"RAYJOBS_RAY_ADDRESS": "auto"}).ray_address == "auto"
    assert load(environ=ray | {"RAYJOBS_RAY_ADDRESS": ""}).ray_address == ""
    assert load(environ=ray, overrides={"ray_address": "auto"}).ray_address == "auto"


# The file


def test_the_file_is_the_given_one_else_that_of_rayjobs_config_else_the_data_directory_s(tmp_path: Path) -> None:
    given, named = tmp_path / "given.conf", tmp_path / "named.conf"
    data = {name: tmp_path / name for name in ("on-the-command-line", "in-the-environment", "data-home/rayjobs")}
    for port, folder in enumerate(data.values(), 1):
        folder.mkdir(parents=True)
        (folder / "rayjobs.conf").write_text(f"http.port = {port}")
    given.write_text("http.port = 11")
    named.write_text("http.port = 12")

    environ = {"RAYJOBS_CONFIG": str(named), "RAYJOBS_DATA_DIR": str(data["in-the-environment"])}
    overrides = {"data_dir": str(data["on-the-command-line"])}
    assert load(given, environ, overrides).port == 11
    assert load(None, environ, overrides).port == 12
    del environ["RAYJOBS_CONFIG"]
    assert load(None, environ, overrides).port == 1
    assert load(None, environ).port == 2
    assert load(None, {}).port == 3


def test_a_data_directory_without_a_file_is_no_mistake(tmp_path: Path) -> None:
    assert load(environ={"RAYJOBS_DATA_DIR": str(tmp_path / "nowhere")}).port == 8090


@pytest.mark.parametrize("environ", [{}, {"RAYJOBS_CONFIG": "{}"}])
def test_a_named_file_that_is_missing_is(environ: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "missing.conf"
    file = None if environ else missing
    with pytest.raises(BadConfig) as refused:
        load(file, {name: value.format(missing) for name, value in environ.items()})
    assert refused.value.message == f"cannot read the settings file {missing}: No such file or directory"


def test_a_folder_or_a_file_that_is_no_text_cannot_be_read(tmp_path: Path) -> None:
    binary = tmp_path / "binary.conf"
    binary.write_bytes(b"http.host = \xff\xfe")
    for path in (tmp_path, binary):
        with pytest.raises(BadConfig, match=f"^cannot read the settings file {path}: "):
            load(path, {})


def test_a_broken_file_is_named(file: Callable[[str], Path]) -> None:
    path = file("http {")
    with pytest.raises(BadConfig, match=f"^{path}: Cannot parse config: Expected"):
        load(path, {})


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "http.port = 8090", "http { port = 8090 }", '{"http": {"port": 8090}}', "http {}"]
)
def test_a_file_is_hocon_or_json_and_may_be_blank(text: str, file: Callable[[str], Path]) -> None:
    assert load(file(text), {}) == Settings()


def test_null_in_a_file_is_no_value(file: Callable[[str], Path]) -> None:
    assert load(file("http.port = null, job-defaults = null"), {}) == Settings()


@pytest.mark.parametrize(
    ("text", "unknown"),
    [
        ("http.prot = 1", "http.prot"),
        ("port = 1", "port"),
        ("http = 1", "http"),
        ("contexts = 5", "contexts"),
        ("contexts = context-settings", "contexts"),
        ("http.port { a = 1 }", "http.port.a"),
        ("contexts { context-settings { a = 1 }, spare = 1, max = 2 }", "contexts.max, contexts.spare"),
    ],
)
def test_an_unknown_key_is_refused_by_name(text: str, unknown: str, file: Callable[[str], Path]) -> None:
    with pytest.raises(BadConfig) as refused:
        load(file(text), {})
    assert refused.value.message == f"unknown setting {unknown}; `rayjobs settings` lists them all"


# Objects


@pytest.mark.parametrize(
    "text",
    [
        "contexts.context-settings { num-cpu-cores = 2, spark { executor { memory = 1g } } }",
        "contexts { context-settings { num-cpu-cores = 2, spark.executor.memory = 1g } }",
        '{"contexts.context-settings": {"num-cpu-cores": 2, "spark.executor.memory": "1g"}}',
        '{"contexts": {"context-settings": {"num-cpu-cores": 2, "spark": {"executor.memory": "1g"}}}}',
    ],
)
def test_settings_of_contexts_are_by_dotted_path_however_the_file_nests_them(
    text: str, file: Callable[[str], Path]
) -> None:
    assert load(file(text), {}).context_settings == {"num-cpu-cores": 2, "spark.executor.memory": "1g"}


def test_settings_of_contexts_are_by_dotted_path_from_the_environment_too() -> None:
    environ = {"RAYJOBS_CONTEXTS_CONTEXT_SETTINGS": "num-cpu-cores = 2, spark { executor.memory = 1g }"}
    assert load(environ=environ).context_settings == {"num-cpu-cores": 2, "spark.executor.memory": "1g"}


def test_defaults_of_jobs_stay_nested(file: Callable[[str], Path]) -> None:
    nested = {"input": {"path": "/tmp", "columns": ["a", "b"]}, "limit": None}
    text = "input { path = /tmp, columns = [a, b] }, limit = null"
    assert load(file(f"job-defaults {{ {text} }}"), {}).job_defaults == nested
    assert load(environ={"RAYJOBS_JOB_DEFAULTS": text}).job_defaults == nested


@pytest.mark.parametrize("info", OBJECTS, ids=lambda info: info.key)
@pytest.mark.parametrize("given", ["5", "true", "[1]", "{a", "text"])
def test_anything_else_in_place_of_an_object_is_refused_by_name(
    info: SettingInfo, given: str, file: Callable[[str], Path]
) -> None:
    with pytest.raises(BadConfig, match=f"^setting {info.env}: Cannot parse config: [Ee]xpected"):
        _value_of(info, given)
    if given != "{a":
        with pytest.raises(BadConfig, match=f"^setting {info.key}: Cannot parse config: [Ee]xpected"):
            _value_of(info, given, file(f"{info.key} = {given}"))


# Kinds


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("http.port", "true", "a whole number, found True"),
        ("http.port", "1.5", "a whole number, found 1.5"),
        ("http.port", "many", "a whole number, found 'many'"),
        ("http.port", "[1]", "a whole number, found [1]"),
        ("jobs.sync-timeout-s", "true", "a number, found True"),
        ("jobs.sync-timeout-s", "10 s", "a number, found '10 s'"),
        ("jobs.sync-timeout-s", "[1]", "a number, found [1]"),
        ("http.host", "false", "text, found False"),
        ("http.host", "[a]", "text, found ['a']"),
        ("contexts.context-per-jvm", "maybe", "true or false, found 'maybe'"),
        ("contexts.context-per-jvm", "2", "true or false, found 2"),
        ("contexts.context-per-jvm", "[true]", "true or false, found [True]"),
    ],
)
def test_a_value_of_the_wrong_kind_in_a_file_is_refused_by_name(
    key: str, given: str, expected: str, file: Callable[[str], Path]
) -> None:
    with pytest.raises(BadConfig) as refused:
        load(file(f"{key} = {given}"), {})
    assert refused.value.message == f"setting {key}: expected {expected}"


@pytest.mark.parametrize(
    ("env", "given", "expected"),
    [
        ("RAYJOBS_HTTP_PORT", "true", "a whole number"),
        ("RAYJOBS_HTTP_PORT", "", "a whole number"),
        ("RAYJOBS_HTTP_PORT", "1.5", "a whole number"),
        ("RAYJOBS_JOBS_SYNC_TIMEOUT_S", "10s", "a number"),
        ("RAYJOBS_CONTEXTS_CONTEXT_PER_JVM", "", "true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_in_the_environment_is_refused_by_name(env: str, given: str, expected: str) -> None:
    with pytest.raises(BadConfig) as refused:
        load(environ={env: given})
    assert refused.value.message == f"setting {env}: expected {expected}, found {given!r}"


@pytest.mark.parametrize("given", ["true", "True", "on", "yes", "1"])
def test_true_has_several_words(given: str, file: Callable[[str], Path]) -> None:
    assert _value_of(INFOS["context_per_jvm"], given) is True
    assert _value_of(INFOS["context_per_jvm"], given, file(f"contexts.context-per-jvm = {given}")) is True


@pytest.mark.parametrize("given", ["false", "False", "off", "no", "0"])
def test_false_has_several_words(given: str, file: Callable[[str], Path]) -> None:
    assert _value_of(INFOS["context_per_jvm"], given) is False
    assert _value_of(INFOS["context_per_jvm"], given, file(f"contexts.context-per-jvm = {given}")) is False


def test_a_number_in_quotes_is_a_number_and_a_number_for_a_text_is_text(file: Callable[[str], Path]) -> None:
    loaded = load(file('http { port = "81", host = 10 }'), {})
    assert (loaded.port, loaded.host) == (81, "10")


# Ranges


@pytest.mark.parametrize("attribute", ["port", "ray_dashboard_port"])
def test_a_port_lies_between_0_and_65535(attribute: str) -> None:
    info = INFOS[attribute]
    assert [_value_of(info, str(port)) for port in (0, 65535)] == [0, 65535]
    for port in (-1, 65536):
        with pytest.raises(BadConfig) as refused:
            _value_of(info, str(port))
        assert refused.value.message == f"setting {info.key}: {port} is not a port (0 to 65535)"
    with pytest.raises(BadConfig, match="is not a port"):
        load(environ={}, overrides={attribute: 65536})


@pytest.mark.parametrize("info", NUMBERS, ids=lambda info: info.key)
def test_no_number_is_below_0(info: SettingInfo) -> None:
    with pytest.raises(BadConfig, match=f"^setting {info.key}: -1(.0)? is "):
        _value_of(info, "-1")


def test_a_context_has_a_job_slot() -> None:
    with pytest.raises(BadConfig, match=r"^setting contexts\.max-jobs-per-context: a context needs at least one"):
        load(environ={"RAYJOBS_CONTEXTS_MAX_JOBS_PER_CONTEXT": "0"})


def test_http_has_a_process() -> None:
    with pytest.raises(BadConfig, match=r"^setting http\.processes: HTTP needs at least one"):
        load(environ={"RAYJOBS_HTTP_PROCESSES": "0"})


# Forms


@pytest.mark.parametrize(
    "given", ["https://jobs.example", "http://localhost:3000, https://a-b.example", "app://-", "http://[::1]:8080", ""]
)
def test_allowed_origins_are_as_browsers_send_them(given: str) -> None:
    loaded = load(environ={"RAYJOBS_HTTP_ALLOWED_ORIGINS": given})
    assert loaded.origins == {origin for origin in given.split(", ") if origin}


@pytest.mark.parametrize(
    "given", ["*", "null", "jobs.example", "https://*.jobs.example", "https://jobs.example/", "https://Jobs.example"]
)
def test_what_is_no_origin_of_one_site_is_refused(given: str) -> None:
    with pytest.raises(BadConfig) as refused:
        load(environ={"RAYJOBS_HTTP_ALLOWED_ORIGINS": f"https://a.example, {given}"})
    expected = f"setting http.allowed-origins: '{given}' is not an origin like https://jobs.example:8443"
    assert refused.value.message == expected


@pytest.mark.parametrize("secret", ["whsec_" + "aB3+" * 8, "whsec_" + "a/" * 20 + "aa=="])
def test_a_signing_secret_is_base64_behind_its_prefix_and_shown_by_no_record(secret: str) -> None:
    loaded = load(environ={"RAYJOBS_CALLBACKS_SECRET": secret})
    assert loaded.callback_secret == secret
    assert secret not in repr(loaded)


@pytest.mark.parametrize("secret", ["secret", "aB3+" * 8, "whsec_", "whsec_" + "aB3+" * 7, "whsec_" + "aB3-" * 8])
def test_a_signing_secret_of_another_form_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(BadConfig) as refused:
        load(environ={"RAYJOBS_CALLBACKS_SECRET": secret})
    assert refused.value.message == "setting callbacks.secret: expected whsec_ and the base64 of at least 24 bytes"


def test_a_callback_has_an_attempt() -> None:
    with pytest.raises(BadConfig, match=r"^setting callbacks\.attempts: a callback needs at least one"):
        load(environ={"RAYJOBS_CALLBACKS_ATTEMPTS": "0"})


# The record


def test_settings_are_frozen_and_do_not_share_their_objects() -> None:
    settings = Settings()
    with pytest.raises(FrozenInstanceError):
        settings.port = 1  # type: ignore[misc]
    assert settings.job_defaults is not Settings().job_defaults


def test_the_data_directory_is_the_named_one_else_in_the_user_s_data_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(data_dir="/srv/rayjobs").data_path == Path("/srv/rayjobs")
    assert Settings(data_dir="~/rayjobs").data_path == tmp_path / "rayjobs"
    assert Settings().data_path == tmp_path / "data-home" / "rayjobs"
    monkeypatch.delenv("XDG_DATA_HOME")
    assert Settings().data_path == tmp_path / ".local" / "share" / "rayjobs"
