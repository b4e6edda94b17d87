"""A receiver of callbacks for tests: a real HTTP server on a free loopback port."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Received:
    """One POST; the names of its headers in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def is_signed_with(self, secret: str) -> bool:
        """Whether it passes what the Standard Webhooks specification asks of a receiver, but for the clock."""
        scheme, _, signature = self.headers["webhook-signature"].partition(",")
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        expected = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        return scheme == "v1" and base64.b64decode(signature) == expected


class Receiver:
    """Answers with `statuses`, one after the other, then with 200; holds answers back while `gate` is not set.

    An answer 3xx leads to `/elsewhere`; each sets a cookie.
    """

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def of(self, job_id: str) -> list[Received]:
        """What came for that job."""
        return [received for received in self.received if received.headers["webhook-id"] == job_id]


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    receiver = Receiver(server.server_port)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.received.append(Received(self.path, headers, body))
            receiver.gate.wait(30)
            with contextlib.suppress(ConnectionError):  # the sender may have given up
                self._answer(receiver.statuses.pop(0) if receiver.statuses else 200)

        def _answer(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Set-Cookie", "who=me")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on stderr."""

    server.RequestHandlerClass = Handler
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
