"""A local server that speaks one vendor's format, over real sockets, in a thread.

What it answers depends on the request alone: a model `status-500` gets the vendor's error, a request with tools two
calls at once, one with a picture a word about it, one with a JSON Schema an object, all others a greeting. It refuses
what the vendor would refuse, so that a badly translated request shows.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

GREETING = ("Hello ", "from the ", "vendor.")
JSON_ANSWER = ('{"city": "Paris", ', '"population": 2100000}')
SEEN = ("I see ", "a picture.")
RESULT = ("It is ", "18 degrees.")
CALLS = (("get_weather", ('{"city": ', '"Paris"}')), ("get_time", ('{"zone": ', '"CET"}')))
"""Tools that are called at once, and the pieces of their arguments."""
# Tokens of each answer, as every vendor must report them in its own way.
FRESH, CACHED, WRITTEN, SAID, THOUGHT = 12, 5, 3, 6, 4


@dataclass
class Refused(Exception):
    """The vendor's error."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


class Cut(Exception):
    """The vendor cuts the connection, in the middle of an answer."""


@dataclass
class Seen:
    """A request that came."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    raw: bytes = b""
    """The body as it came."""


class Vendor:
    """What a vendor answers. `answer` gives a whole answer, `events` the bytes of a streamed one."""

    content_type = "text/event-stream"
    """Of a streamed answer."""
    calls = CALLS
    """The tools that it calls, and the pieces of their arguments."""

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def events(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> Iterator[bytes]:
        raise NotImplementedError

    def streamed(self, path: str, body: dict[str, Any]) -> bool:
        return bool(body.get("stream"))


class ServerInThread:
    """Serves while its context is open."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class VendorServer(ServerInThread):
    """Serves a vendor."""

    def __init__(self, vendor: Vendor) -> None:
        self.requests: list[Seen] = []
        super().__init__(_handler(vendor, self.requests))

    @property
    def last(self) -> Seen:
        return self.requests[-1]


def _handler(vendor: Vendor, requests: list[Seen]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            body = json.loads(raw)
            seen = Seen(self.path, {name.lower(): value for name, value in self.headers.items()}, body, raw)
            requests.append(seen)
            try:
                if vendor.streamed(self.path, body):
                    self._stream(vendor.events(self.path, seen.headers, body))
                else:
                    self._whole(200, vendor.answer(self.path, seen.headers, body), {})
            except Refused as refused:
                self._whole(refused.status, refused.body, refused.headers)
            except Cut:
                self.close_connection = True

        def _whole(self, status: int, body: dict[str, Any], headers: dict[str, str]) -> None:
            encoded = json.dumps(body).encode()
            self.send_response(status)
            for name, value in {"content-type": "application/json", **headers}.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def _stream(self, events: Iterator[bytes]) -> None:
            first = next(events)  # a refusal comes before the head
            self.send_response(200)
            self.send_header("content-type", vendor.content_type)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for event in itertools.chain((first,), events):
                self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    return Handler


def event(data: dict[str, Any], name: str = "") -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(data)}\n\n".encode()


def require(holds: bool, refused: Refused) -> None:
    if not holds:
        raise refused
