"""What a request says: query parameters by type, bodies as text and as configuration."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from email.message import Message
from typing import Any

from starlette.requests import Request

from rayjobs import hocon
from rayjobs.errors import BadConfig, BadParameter, NotFound, TooLarge

_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})
_INT_RANGE = range(-(2**31), 2**31)


def text(request: Request, name: str) -> str | None:
    """The last value of a query parameter; None if it is absent or empty."""
    return request.query_params.get(name) or None


def boolean(request: Request, name: str, default: bool = False) -> bool:
    """Raises `BadParameter` for anything but true, yes, on, 1 and false, no, off, 0, in any case."""
    given = text(request, name)
    if given is None:
        return default
    if given.lower() not in _TRUE | _FALSE:
        raise malformed(name, f"'{given}' is not a valid Boolean value")
    return given.lower() in _TRUE


def integer(request: Request, name: str, minimum: int) -> int | None:
    """None if absent; raises `BadParameter` for what is no 32-bit number, or below `minimum`."""
    given = text(request, name)
    if given is None:
        return None
    if not re.fullmatch(r"[+-]?[0-9]{1,10}", given) or int(given) not in _INT_RANGE:
        raise malformed(name, f"'{given}' is not a valid 32-bit signed integer value")
    if int(given) < minimum:
        raise malformed(name, f"'{given}' is less than {minimum}")
    return int(given)


def waits_for_reset(request: Request) -> bool:
    """`sync` of a request for `reset=reboot`; raises `NotFound` without `reset`, `BadParameter` for another one."""
    how, wait = text(request, "reset"), boolean(request, "sync", default=True)
    if how is None:
        raise NotFound("Request is missing required query parameter 'reset'")
    if how != "reboot":
        raise malformed("reset", f"'{how}' is not reboot")
    return wait


async def body_text(request: Request, limit_bytes: int) -> str:
    """The body in the charset its content type names, else UTF-8, less a byte order mark.

    Raises `TooLarge`, `BadConfig`.
    """
    body = await _body(request, limit_bytes)
    content_type = Message()
    content_type["content-type"] = request.headers.get("content-type", "")
    charset = content_type.get_content_charset("utf-8")
    try:
        return body.decode(charset).removeprefix("\ufeff")
    except (LookupError, ValueError) as error:
        raise BadConfig(f"Cannot parse config: the body is not {charset} text: {error}") from None


async def config_of(body: str) -> dict[str, Any]:
    """The configuration that a body describes; raises `BadConfig`.

    pyhocon takes seconds for some ten kilobytes, so it must not hold the event loop.
    """
    return await asyncio.to_thread(hocon.parse, body)


async def _body(request: Request, limit_bytes: int) -> bytes:
    """A body that says itself that it is too long is not waited for."""
    too_large = TooLarge(f"the body is longer than http.max-body-bytes ({limit_bytes})")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise too_large
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > limit_bytes:
                raise too_large
    return bytes(body)


def malformed(name: str, why: str) -> BadParameter:
    """What a query parameter of the wrong kind is answered with."""
    return BadParameter(f"The query parameter '{name}' was malformed: {why}")
