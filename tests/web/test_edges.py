"""What holds for all routes: methods, names in paths, query parameters, bodies, the shape of errors."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.routing import Route

from rayjobs.settings import Settings
from rayjobs.web.app import create_app
from tests.web.conftest import MAX_BODY_BYTES
from tests.web.fake_service import FakeService

ROUTES = [route for route in create_app(FakeService(), Settings()).routes if isinstance(route, Route)]
PATHS = sorted({route.path for route in ROUTES})
READ = sorted(route.path for route in ROUTES if "GET" in (route.methods or ()))
JOB = "/jobs?appName=app&classPath=m.Echo"


def _with_names(path: str, **names: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: names.get(found[1], "none"), path)


async def _with_known_names(path: str, http: httpx.AsyncClient) -> str:
    """The path with names of things that are there."""
    job_id = (await http.post(f"{JOB}&sync=true", content="say = hi")).json()["jobId"]
    return _with_names(path, app="app", name="ctx", id=job_id)


# Methods


@pytest.mark.parametrize("path", READ)
async def test_head_is_answered_like_get(path: str, http: httpx.AsyncClient) -> None:
    url = await _with_known_names(path, http)
    got, asked = await http.get(url), await http.head(url)
    assert (asked.status_code, asked.headers) == (got.status_code, got.headers)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["OPTIONS", "PATCH", "TRACE"])
async def test_a_method_that_no_path_has_is_405_and_allow_names_those_of_the_path(
    method: str, path: str, http: httpx.AsyncClient
) -> None:
    url = _with_names(path)
    allowed = sorted({method for route in ROUTES if _with_names(route.path) == url for method in route.methods or ()})
    reply = await http.request(method, url)
    assert (reply.status_code, reply.headers["allow"]) == (405, ", ".join(allowed))
    assert reply.json().keys() == {"status", "result", "code"}
    assert (reply.json()["status"], reply.json()["code"]) == ("ERROR", "method-not-allowed")


# Paths


@pytest.mark.parametrize("path", READ)
async def test_a_trailing_slash_does_not_matter(path: str, http: httpx.AsyncClient) -> None:
    url = await _with_known_names(path, http)
    assert (await http.get(f"{url.rstrip('/')}/")).content == (await http.get(url)).content


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/binaries/{}", "Can't find binary with name {}"),
        ("DELETE", "/binaries/{}", "can't find binary with name {}"),
        ("GET", "/contexts/{}", "can't find context with name {}"),
        ("DELETE", "/contexts/{}", "context {} not found"),
        ("DELETE", "/data/{}", "No such data file {}"),
        ("GET", "/jobs/{}", "No such job ID {}"),
        ("DELETE", "/jobs/{}", "No such job ID {}"),
        ("GET", "/jobs/{}/config", "No such job ID {}"),
        ("GET", "/jobs/{}/log", "No such job ID {}"),
        ("GET", "/jobs/{}/callback", "No such job ID {}"),
        ("POST", "/jobs/{}/callback", "No such job ID {}"),
    ],
)
@pytest.mark.parametrize(
    ("spelled", "name"),
    [
        ("a%2Fb", "a/b"),
        ("a%2fb", "a/b"),
        ("a+b", "a+b"),
        ("a%2Bb%20c", "a+b c"),
        ("%C3%A9t%c3%a9", "été"),
        ("a%252Fb", "a%2Fb"),
        ("a%3Fb%23c", "a?b#c"),
        ("%2E%2E", ".."),
        ("100%", "100%"),
    ],
)
async def test_a_name_is_one_segment_decoded_once_after_the_path_is_split(
    spelled: str, name: str, method: str, path: str, says: str, http: httpx.AsyncClient
) -> None:
    raw_path = path.format(spelled).encode()
    reply = await http.request(method, http.base_url.copy_with(raw_path=raw_path))
    assert (reply.status_code, reply.json()["result"]) == (404, says.format(name))


@pytest.mark.parametrize("path", ["/binaries/a%2Fb%20c", "/jars/a%2Fb%20c", "/contexts/a%2Fb%20c"])
async def test_what_is_made_has_the_decoded_name(path: str, http: httpx.AsyncClient, fake: FakeService) -> None:
    content = b"" if "contexts" in path else b"PK\x03\x04 a jar"
    reply = await http.post(path, content=content, headers={"content-type": "application/java-archive"})
    assert reply.is_success
    assert "a/b c" in fake.binaries.keys() | fake.contexts.keys()


@pytest.mark.parametrize(
    ("path", "code"),
    [("/contexts%2Fctx", "no-such-route"), ("/%2Fjobs", "no-such-route"), ("/jobs/x%2Fconfig", "no-such-job")],
)
async def test_an_encoded_slash_does_not_split_a_path(path: str, code: str, http: httpx.AsyncClient) -> None:
    reply = await http.get(path)
    assert (reply.status_code, reply.json()["code"]) == (404, code)


@pytest.mark.parametrize("path", ["/%6Aobs", "/c%6fntexts/ctx"])
async def test_letters_of_a_path_may_be_encoded_too(path: str, http: httpx.AsyncClient) -> None:
    assert (await http.get(path)).status_code == 200


# Query parameters

BOOLEANS = [
    ("POST", JOB, "sync"),
    ("DELETE", "/contexts/ctx?", "force"),
    ("PUT", "/contexts?reset=reboot", "sync"),
    ("PUT", "/data?reset=reboot", "sync"),
]


def _seen(name: str, fake: FakeService) -> bool:
    """What the service was told."""
    if fake.submissions:
        return fake.submissions.popitem()[1].wait_s > 0
    return (fake.forced or fake.resets or fake.data_resets).pop()


@pytest.mark.parametrize(("method", "url", "name"), BOOLEANS)
@pytest.mark.parametrize(
    ("given", "means"),
    [(word, True) for word in ("true", "TRUE", "yes", "Yes", "on", "oN", "1")]
    + [(word, False) for word in ("false", "False", "no", "NO", "off", "Off", "0")],
)
async def test_a_boolean_has_four_words_for_each_in_any_case(
    given: str, means: bool, method: str, url: str, name: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    assert (await http.request(method, f"{url}&{name}={given}")).is_success
    assert _seen(name, fake) is means


@pytest.mark.parametrize(("method", "url", "name"), BOOLEANS)
@pytest.mark.parametrize("given", ["maybe", "2", "truee", "%20true", "null"])
async def test_any_other_word_for_a_boolean_is_400(
    given: str, method: str, url: str, name: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.request(method, f"{url}&{name}={given}")
    said = f"The query parameter '{name}' was malformed: '{given.replace('%20', ' ')}' is not a valid Boolean value"
    assert reply.status_code == 400
    assert reply.json() == {"status": "ERROR", "result": said, "code": "bad-parameter"}
    assert not (fake.submissions or fake.forced or fake.resets or fake.data_resets)


@pytest.mark.parametrize(("method", "url", "name"), BOOLEANS)
async def test_of_a_repeated_parameter_the_last_one_counts(
    method: str, url: str, name: str, http: httpx.AsyncClient, fake: FakeService
) -> None:
    await http.request(method, f"{url}&{name}=false&{name}=maybe&{name}=true")
    assert _seen(name, fake)


async def test_an_empty_parameter_is_absent(http: httpx.AsyncClient, fake: FakeService) -> None:
    reply = await http.post(f"{JOB}&context=&sync=&timeout=&cp=&mainClass=")
    assert reply.status_code == 202
    assert fake.submissions[reply.json()["jobId"]].context is None
    assert len((await http.get("/jobs?limit=&status=")).json()) == 1


async def test_a_plus_in_a_parameter_is_a_space(http: httpx.AsyncClient, fake: FakeService) -> None:
    await http.post("/contexts/new?spark.app.name=a+b%2Bc%20d")
    assert fake.contexts["new"].settings == {"spark.app.name": "a b+c d"}


@pytest.mark.parametrize("path", READ)
async def test_parameters_that_a_route_does_not_know_are_ignored(path: str, http: httpx.AsyncClient) -> None:
    url = await _with_known_names(path, http)
    plain, asked = await http.get(url), await http.get(f"{url}?nonsense=1&sync=maybe&force=maybe&timeout=x&")
    assert (asked.status_code, asked.content) == (plain.status_code, plain.content)


@pytest.mark.parametrize(("spelled", "name"), [("no%20uri", "no uri"), ("a/b.jar", "a/b.jar"), ("C:a", "C:a")])
async def test_a_name_in_cp_may_be_any_text(spelled: str, name: str, http: httpx.AsyncClient) -> None:
    reply = await http.post(f"/jobs?cp={spelled}&mainClass=m.Echo")
    assert (reply.status_code, reply.json()["result"]) == (404, f"appName {name} not found")


async def test_a_job_and_a_delete_ignore_them_too(http: httpx.AsyncClient, fake: FakeService) -> None:
    assert (await http.post(f"{JOB}&nonsense=1&force=maybe")).status_code == 202
    assert (await http.delete("/contexts/ctx?nonsense=1&sync=maybe")).status_code == 200


# Bodies


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/plain; charset=iso-8859-1", "spark.context-settings { mine = été }".encode("latin-1")),
        ('application/json; charset="utf-16"', '{"spark.context-settings": {"mine": "été"}}'.encode("utf-16")),
        ("application/json", '{"spark.context-settings": {"mine": "été"}}'.encode("utf-8-sig")),
        ("application/x-www-form-urlencoded", "spark.context-settings.mine=été".encode()),
        ("image/png", "spark.context-settings.mine = été".encode()),
    ],
)
async def test_settings_are_read_in_the_bodys_charset_whatever_its_type(
    content_type: str, body: bytes, http: httpx.AsyncClient, fake: FakeService
) -> None:
    reply = await http.post("/contexts/new", content=body, headers={"content-type": content_type})
    assert reply.status_code == 200
    assert fake.contexts["new"].settings == {"mine": "été"}


async def test_what_python_clients_send_is_a_configuration(http: httpx.AsyncClient) -> None:
    """python-sjsclient form-encodes a dict; in HOCON, single quotes are part of a text."""
    encoded = await http.post(f"{JOB}&sync=true", data={"test_config": "test_config_value"})
    quoted = await http.post(f"{JOB}&sync=true", content="say = ['a']")
    configs = [(await http.get(f"/jobs/{reply.json()['jobId']}/config")).json() for reply in (encoded, quoted)]
    assert configs == [{"test_config": "test_config_value"}, {"say": ["'a'"]}]


@pytest.mark.parametrize("url", [JOB, "/contexts/new"])
async def test_a_body_that_says_that_it_is_too_long_is_refused_unread(url: str, http: httpx.AsyncClient) -> None:
    asked_for: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        asked_for.append(MAX_BODY_BYTES)
        yield b"#" * (MAX_BODY_BYTES + 1)

    reply = await http.post(url, content=body(), headers={"content-length": str(MAX_BODY_BYTES + 1)})
    assert (reply.status_code, reply.json()["code"], asked_for) == (413, "too-large", [])
    assert (await http.post(url, content=body())).status_code == 413
    assert asked_for != []


@pytest.mark.parametrize(("method", "path"), [("GET", "/jobs"), ("DELETE", "/contexts/ctx")])
async def test_a_body_where_none_is_expected_is_ignored(method: str, path: str, http: httpx.AsyncClient) -> None:
    assert (await http.request(method, path, content=b"{ not = [parsable")).status_code == 200


# Replies


@pytest.mark.parametrize(
    ("method", "url", "status", "code"),
    [
        ("GET", "/jobs?limit=x", 400, "bad-parameter"),
        ("GET", "/nothing", 404, "no-such-route"),
        ("PUT", "/contexts", 404, "not-found"),
        ("PUT", "/jobs", 405, "method-not-allowed"),
        ("POST", "/contexts/big", 413, "too-large"),
        ("POST", "/binaries/new", 415, "unsupported-binary-type"),
        ("POST", "/contexts/ctx?_method=x", 501, "unknown-method"),
    ],
)
async def test_an_error_is_the_json_envelope_whatever_the_client_accepts(
    method: str, url: str, status: int, code: str, http: httpx.AsyncClient
) -> None:
    content = b"#" * (MAX_BODY_BYTES + 1) if "big" in url else b""
    reply = await http.request(method, url, content=content, headers={"Accept": "text/html"})
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/json")
    assert reply.json().keys() == {"status", "result", "code"}
    assert isinstance(reply.json()["status"], str)
    assert reply.json()["code"] == code


@pytest.mark.parametrize("path", ["/binaries", "/contexts", "/jobs", "/contexts/ctx", "/healthz", "/nothing"])
async def test_json_is_compact_and_names_no_charset(path: str, http: httpx.AsyncClient) -> None:
    await http.post(f"{JOB}&sync=true")
    reply = await http.get(path)
    assert reply.headers["content-type"] == "application/json"
    assert b"\n" not in reply.content and b'": ' not in reply.content and b", " not in reply.content
