"""OpenAI's files, batches and moderations, as a provider serves them.

Sources: https://platform.openai.com/docs/api-reference/files, /batch and /moderations.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler
from typing import Any, NamedTuple
from urllib.parse import parse_qs

from tests.vendors.server import ServerInThread

LARGE_BYTES = 20 * 1024 * 1024
USAGE = {"input_tokens": 1000, "output_tokens": 100, "total_tokens": 1100}


CONTENTS: dict[str, tuple[bytes, str, int | None]] = {
    "file-large/content": (b"x" * LARGE_BYTES, "application/jsonl", None),
    "file-html/content": (b"<script>alert(1)</script>", "text/html", None),
    "file-odd/content": (b"odd", "text/plain; of=\u00e9", None),
    "file-cut/content": (b"x" * 1000, "text/plain", 2000),
}
"""Files: the bytes, their type, and how many are announced where that is more."""
ANSWERS: dict[str, Any] = {
    "moderations": {"id": "modr-1", "model": "omni", "results": [{"flagged": False}]},
    "batches/batch-done": {
        "id": "batch-done",
        "object": "batch",
        "status": "completed",
        "model": "gpt-x-2026-01-01",
        "usage": USAGE,
    },
    "batches/batch-late": {"id": "batch-late", "object": "batch", "status": "completed", "model": "x", "usage": USAGE},
    "batches/batch-outputs": {
        "id": "batch-outputs",
        "object": "batch",
        "status": "completed",
        "output_file_id": "file-output",
        "error_file_id": None,
    },
}
LISTED = [f"file-{number}" for number in range(1, 8)]
"""The files in the lists, three on a page."""


class Seen(NamedTuple):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class FilesVendor(ServerInThread):
    """Serves them, at `url`."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.gone = threading.Event()
        """Set when a caller left inside the endless file."""
        vendor = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                vendor.answer(self)

            do_POST = do_DELETE = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        super().__init__(Handler)
        self.url += "/v1"

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def answer(self, call: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in call.headers.items()}
        path, _, query = call.path.partition("?")
        if path == "/v1/files" and "early" in query:  # refuses before it has read the body
            self.seen.append(Seen(call.command, call.path, headers, b""))
            self._send(call, 413, {"error": {"message": "too large for us", "code": "too_large"}}, close=True)
            while call.rfile.read(65536):
                pass  # as servers do: what is closed with bytes unread may lose the answer
            return
        self.seen.append(Seen(call.command, call.path, headers, _body(call, headers)))
        if "hang" in query:
            call.rfile.read(1)  # until the caller goes
            return
        if (content := CONTENTS.get(path.removeprefix("/v1/files/"))) is not None:
            self._raw(call, *content)
        elif path.endswith("file-endless/content"):
            self._endless(call)
        elif (body := ANSWERS.get(path.removeprefix("/v1/"))) is not None:
            self._send(call, 200, body)
        else:
            self._common(call, path, query, headers)

    def _common(self, call: BaseHTTPRequestHandler, path: str, query: str, headers: dict[str, str]) -> None:
        if call.command == "GET" and path in ("/v1/files", "/v1/batches"):
            self._send(call, 200, _page(parse_qs(query).get("after", [""])[0]))
        elif path.endswith("/file-key"):
            message = f"got the key {headers.get('authorization')} at {self.url}"
            self._send(call, 401, {"error": {"message": message}})
        elif path.endswith("/file-inner"):
            self._send(call, 409, {"error": {"message": "locked by http://store-3.internal:9000 for sk-inner-0123456"}})
        elif path.endswith("/file-busy"):
            self._send(call, 429, {"error": {"message": "slow down"}}, more={"retry-after": "7"})
        elif path.endswith("/file-none"):
            self._send(call, 404, {"error": {"message": f"No such thing: {path}", "code": "gone", "type": "x"}})
        elif call.command == "DELETE":
            self._send(call, 200, {"id": path.rpartition("/")[2], "object": "file", "deleted": True})
        else:
            said = {"id": "file-1", "object": "file", "bytes": len(self.last.body)}
            if b'"id"' in self.last.body:
                said["id"] = json.loads(self.last.body)["id"]
            self._send(call, 201 if b'"created"' in self.last.body else 200, said)

    def _send(
        self,
        call: BaseHTTPRequestHandler,
        status: int,
        body: Any,
        *,
        close: bool = False,
        more: dict[str, str] | None = None,
    ) -> None:
        self._raw(call, json.dumps(body).encode(), "application/json", status=status, close=close, more=more)

    def _raw(
        self,
        call: BaseHTTPRequestHandler,
        body: bytes,
        media: str,
        announced: int | None = None,
        *,
        status: int = 200,
        close: bool = False,
        more: dict[str, str] | None = None,
    ) -> None:
        call.send_response(status)
        fields = {"content-type": media, "content-length": str(announced or len(body)), "set-cookie": "their=cookie"}
        for name, value in {**fields, "x-their-account": "org-1", **(more or {})}.items():
            call.send_header(name, value)
        call.end_headers()
        call.wfile.write(body)
        call.close_connection = close or announced is not None

    def _endless(self, call: BaseHTTPRequestHandler) -> None:
        call.send_response(200)
        call.send_header("content-type", "text/plain")
        call.end_headers()
        call.close_connection = True
        try:
            while True:
                call.wfile.write(b"x" * 65536)
        except OSError:
            self.gone.set()


def _page(after: str) -> dict[str, Any]:
    start = LISTED.index(after) + 1 if after in LISTED else 0
    ids = LISTED[start : start + 3]
    data = [{"id": id_, "object": "file"} for id_ in ids]
    more = start + 3 < len(LISTED)
    return {"object": "list", "data": data, "first_id": ids[0], "last_id": ids[-1], "has_more": more}


def _body(call: BaseHTTPRequestHandler, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return call.rfile.read(int(headers.get("content-length", 0)))
    pieces = []
    while size := int(call.rfile.readline(), 16):
        pieces.append(call.rfile.read(size))
        call.rfile.readline()
    call.rfile.readline()
    return b"".join(pieces)
