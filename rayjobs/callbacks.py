"""Callbacks: the end of a job, told at least once to the URL that its submitter gave.

What is due, and what came of each attempt, is in the store; signatures are those of standardwebhooks.com.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import logging
import os
import secrets
import tempfile
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Protocol

import httpx

from rayjobs import __version__
from rayjobs.errors import BadConfig, ErrorData
from rayjobs.records import Callback, CallbackState, JobReply, utc_now
from rayjobs.settings import SIGNING_SECRET, Settings
from rayjobs.states import JobState

log = logging.getLogger(__name__)

STEP_S = 1.0
LONGEST_RETRY_S = 300.0
LONGEST_ANSWER_BYTES = 64 * 2**10
LONGEST_RESULT_BYTES = 16 * 2**20
"""A longer result is left out: it would pass through the memory of the supervisor, for each attempt."""
SKIM_S = 1.0
AT_ONCE = 32
AT_ONCE_PER_RECEIVER = 4
SECRET_FILE = "callback-secret"
SECRET_PREFIX = "whsec_"
SECRET_BYTES = 32


class CallbackStore(Protocol):
    """What the sender needs of the job store; `rayjobs/store/store.py` says more of each."""

    async def due_callbacks(self, now: datetime, sending: list[str], limit: int, per_receiver: int) -> list[Callback]:
        """What is to be sent at `now`, without what is being sent."""

    async def get_job(self, job_id: str, longest_result_bytes: int | None = None) -> JobReply:
        """The job and its result, unless that is longer."""

    async def record_attempt(self, before: Callback, after: Callback) -> None:
        """Write what an attempt came to."""


@dataclass(frozen=True)
class Attempt:
    """What came of one: the HTTP status of the answer, or the error without one; `time` is when that was known."""

    time: datetime
    status: int | None = None
    error: str | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def body_of(reply: JobReply) -> bytes:
    """The JSON that is sent: `jobId`, `status` and `result`, which a FINISHED job lacks if it was lost or too long."""
    job = reply.job
    fields = {"jobId": job.job_id, "status": job.state}
    if job.state is JobState.FINISHED:
        head = json.dumps(fields).encode()
        if reply.result_json is None:
            return head
        return head[:-1] + b', "result": ' + reply.result_json.encode("utf-8", "backslashreplace") + b"}"
    error = job.error or ErrorData("", "", "")
    result = {"message": error.message, "errorClass": error.error_class, "stack": error.stack}
    return json.dumps(fields | {"result": result}).encode()


def key_of(secret: str) -> bytes:
    """The key that a secret is the text of; raises `ValueError` for what is none."""
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)


def signature_of(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`; `timestamp` in seconds since 1970."""
    signed = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{base64.b64encode(signed).decode()}"


def after_attempt(callback: Callback, attempt: Attempt, settings: Settings) -> Callback:
    """The callback after an attempt: SENT, or due again later, or FAILED when the attempts are used up."""
    attempts = callback.attempts + 1
    tried = replace(
        callback,
        attempts=attempts,
        last_attempt=attempt.time,
        last_status=attempt.status,
        last_error=attempt.error,
        next_attempt=None,
    )
    if attempt.is_success:
        return replace(tried, state=CallbackState.SENT)
    if attempts >= settings.callback_attempts:
        return replace(tried, state=CallbackState.FAILED)
    return replace(tried, next_attempt=attempt.time + timedelta(seconds=retry_s(attempts, settings)))


def retry_s(attempts: int, settings: Settings) -> float:
    """How long to wait after that many attempts that failed."""
    doubled = min(attempts - 1, 30)  # no float holds 2 to the power of any number
    return min(settings.callback_first_retry_s * 2**doubled, LONGEST_RETRY_S)


def kept_secret(folder: Path) -> str:
    """The secret in the data directory, readable by its owner only; made if there is none. Blocks."""
    path = folder / SECRET_FILE
    if not path.exists():
        descriptor, draft = tempfile.mkstemp(dir=folder)
        with open(descriptor, "w") as file:
            file.write(SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode())
            file.flush()
            os.fsync(descriptor)
        os.replace(draft, path)
    secret = path.read_text().strip()
    if not SIGNING_SECRET.fullmatch(secret):
        raise BadConfig(f"{path} holds no secret (whsec_ and base64): callbacks wait until it does, or is deleted")
    return secret


class CallbackSender:
    """Sends what is due, a few at once, to each receiver fewer; what it does not finish is due still.

    To be made inside a running event loop; `run` is its life.
    """

    def __init__(self, store: CallbackStore, settings: Settings):
        self._store = store
        self._settings = settings
        self._key: bytes | None = None
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._has_sent = asyncio.Event()
        logging.getLogger("httpx").setLevel(logging.WARNING)  # below, it logs whole URLs, with passwords
        self._http: httpx.AsyncClient | None = None

    async def run(self) -> None:
        """A step each second, and when an attempt is over, until cancelled; attempts under way are then cancelled."""
        try:
            while True:
                try:
                    await self.step(utc_now())
                except Exception:
                    log.exception("a step of the sender of callbacks failed; it goes on")
                await self._pause()
        finally:
            await self._close()

    async def step(self, now: datetime) -> None:
        """Begin to send what is due at `now`, as far as there is room."""
        key = self._key = self._key or await self._find_key()
        if room := AT_ONCE - len(self._sending):
            due = await self._store.due_callbacks(now, list(self._sending), room, AT_ONCE_PER_RECEIVER)
            for callback in due:
                task = asyncio.create_task(self._attempt(callback, key), name=f"callback-{callback.job_id}")
                self._sending[callback.job_id] = task

    async def _find_key(self) -> bytes:
        given = self._settings.callback_secret
        return key_of(given or await asyncio.to_thread(kept_secret, self._settings.data_path))

    async def _pause(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STEP_S):
                await self._has_sent.wait()
        self._has_sent.clear()

    async def _attempt(self, callback: Callback, key: bytes) -> None:
        """Send it and record what came of that; while that cannot be recorded it is not sent again."""
        try:
            after = after_attempt(callback, await self._send(callback, key), self._settings)
            _log(after)
            while not await self._record(callback, after):
                await asyncio.sleep(STEP_S)
            self._has_sent.set()
        finally:
            del self._sending[callback.job_id]

    async def _record(self, before: Callback, after: Callback) -> bool:
        try:
            await self._store.record_attempt(before, after)
        except Exception:
            log.exception("the callback of job %s was sent, and that could not be recorded yet", before.job_id)
            return False
        return True

    async def _send(self, callback: Callback, key: bytes) -> Attempt:
        """Whatever goes wrong is the attempt's failure, so that nothing is tried for ever; a URL may be anything."""
        limit_s = self._settings.callback_timeout_s
        try:
            body = body_of(await self._store.get_job(callback.job_id, LONGEST_RESULT_BYTES))
            async with asyncio.timeout(limit_s):
                status = await self._post(callback, body, key)
        except TimeoutError:
            return Attempt(utc_now(), error=f"no answer within {limit_s:g} s")
        except Exception as error:
            return Attempt(utc_now(), error=f"{type(error).__name__}: {error}")
        return Attempt(utc_now(), status, "redirects are not followed" if 300 <= status < 400 else None)

    async def _post(self, callback: Callback, body: bytes, key: bytes) -> int:
        """The status of the answer. httpx sends a name and password in the URL by the Basic scheme."""
        now = int(utc_now().timestamp())
        headers = {
            "content-type": "application/json",
            "user-agent": f"rayjobs/{__version__}",
            "webhook-id": callback.job_id,
            "webhook-timestamp": str(now),
            "webhook-signature": signature_of(key, callback.job_id, now, body),
        }
        async with self._client().stream("POST", callback.url, content=body, headers=headers) as answer:
            with contextlib.suppress(httpx.HTTPError, TimeoutError):
                async with asyncio.timeout(SKIM_S):
                    await _skim(answer)
            return answer.status_code

    def _client(self) -> httpx.AsyncClient:
        """Made at the first attempt, whose failure it is if the environment names proxies that cannot be used.

        Without cookies: a receiver that knows one submitter by a cookie must not take another one for him. Without the
        timeouts of httpx, each for a part: an attempt has one as a whole.
        """
        if self._http is None:
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._http = httpx.AsyncClient(cookies=no_cookies, timeout=None, follow_redirects=False)
        return self._http

    async def _close(self) -> None:
        for task in self._sending.values():
            task.cancel()
        await asyncio.gather(*self._sending.values(), return_exceptions=True)
        if self._http:
            await self._http.aclose()


async def _skim(answer: httpx.Response) -> None:
    """Let the receiver finish its answer, unless that is endless; the connection can then be used again."""
    size = 0
    async with contextlib.aclosing(answer.aiter_raw()) as chunks:
        async for chunk in chunks:
            size += len(chunk)
            if size > LONGEST_ANSWER_BYTES:
                break


def _log(after: Callback) -> None:
    """One line for each attempt, without the URL's password, path and query: all may be secrets."""
    came = ", ".join(str(part) for part in (after.last_status, after.last_error) if part)
    what = f"callback of job {after.job_id} to {_receiver(after.url)}, attempt {after.attempts}: {came}"
    if after.state is CallbackState.SENT:
        log.info("%s", what)
    elif after.state is CallbackState.FAILED:
        log.error("%s; given up", what)
    else:
        log.warning("%s; tried again at %s", what, after.next_attempt)


def _receiver(url: str) -> str:
    try:
        return str(httpx.URL(url).copy_with(userinfo=b"", raw_path=b"", fragment=None))
    except httpx.InvalidURL:
        return "an invalid URL"
