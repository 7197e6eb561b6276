"""A caller's connection: uvicorn's, with limits to what a slow or greedy caller can hold.

- A head must be whole in `HEAD_S` seconds, and be small.
- A caller who does not take its answer loses the connection; soon where very many do not. The application hears of that
  as of any caller who leaves.
- There are at most `max_connections`. One more takes the place of one on which no request is under way.

How long a body may take is for `semroute.api.request_bodies` to say, in the form that the caller's client reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
from http import HTTPStatus
from typing import Any

from httptools import HttpParserError
from litestar.types import HTTPResponseStartEvent, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a head that comes in pieces; also of what else is no body, such as the trailers behind one."""
MAX_HEADERS = 200
MAX_PIPELINED = 16
"""Requests that wait on one connection behind the one that is answered."""
HEAD_S = 30.0
"""How long a head may take, from its first byte or the opening of the connection; and how long the rest of a body is
read, and thrown away, after its request was answered."""
SEND_S = 30.0
"""How long a caller may take nothing of its answer, unless its request says so: `be_patient`."""
SEND_BYTES_PER_S = 16 * 1024
"""How fast a caller must take what waits for it. Whoever is slower uses up that patience, bit by bit."""
CLOSE_S = 10.0
"""How long the last bytes may take once the connection is closed on our side."""
HIGH_WATER_BYTES = 16 * 1024
"""How much of an answer waits in the process for a caller to take it. Whoever writes more waits."""
UNSENT_BYTES = 64 * 1024
"""The same in the system: without a limit it takes megabytes from us before it says that the caller is slow."""
MAX_CONNECTIONS = 8192
MAX_UNREAD = 128
"""Connections whose callers do not take what waits for them. Each costs some 300 kB, from the provider's socket to its
own."""
_HEAD = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
"""Headers that HTTP can carry."""
CONNECTION = "connection"
"""Where a request's scope has its `Connection`, under `state`."""


class Unread:
    """The connections of a process whose callers do not take their answers."""

    def __init__(self, at_most: int = MAX_UNREAD) -> None:
        self._at_most = at_most
        self._waiting: dict[Connection, None] = {}
        """Who has waited longest comes first."""

    def add(self, connection: Connection) -> None:
        """Its caller takes nothing from now on. Where there are too many, the one that has waited longest is closed."""
        self._waiting[connection] = None
        if len(self._waiting) > self._at_most:
            longest = next(iter(self._waiting))
            self.remove(longest)
            longest.abort()

    def remove(self, connection: Connection) -> None:
        """Its caller takes its answer again, or the connection is lost."""
        self._waiting.pop(connection, None)


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *, max_connections: int = MAX_CONNECTIONS, unread: Unread | None = None, **options: Any) -> None:
        """`unread`: shared by all connections of a process."""
        super().__init__(**options)
        self._max_connections = max_connections
        self._all_unread = Unread() if unread is None else unread
        self._in_head, self._unread_bytes = True, 0
        self._late: asyncio.TimerHandle | None = None
        self._unsent: asyncio.TimerHandle | None = None
        self._patience_s = self._left_s = SEND_S
        self._paused_at, self._paused_bytes = 0.0, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        _limit_unsent(transport)
        self._late = self.loop.call_later(HEAD_S, self._refuse_late)
        if len(self.connections) > self._max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._all_unread.remove(self)
        self._stop_waiting()
        self._stop_sending()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        self._unread_bytes += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._unread_bytes > MAX_HEAD_BYTES or (self.headers and len(self.headers) > MAX_HEADERS):
            self._refuse_large()
        elif self._late is None and (self._in_head or self.cycle.response_complete):
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._unread_bytes = True, 0
        self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        """The head is whole: the request begins."""
        if len(self.headers) > MAX_HEADERS:
            self._refuse_large()
            raise HttpParserError("too many headers")
        if len(self.pipeline) == MAX_PIPELINED:
            self.abort()
            raise HttpParserError("too many requests wait on one connection")
        self._in_head, self._unread_bytes = False, 0
        if self.cycle is None or self.cycle.response_complete:
            self._patience_s = self._left_s = SEND_S
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A piece of a body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """The answer is written, but perhaps not sent."""
        super().on_response_complete()
        cycle = self.cycle
        if not cycle.response_complete:
            return  # another request has come meanwhile
        if cycle.body:
            cycle.body.clear()  # nobody has asked for it
        if not cycle.keep_alive:
            self._close()
        elif cycle.more_body and self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def send_400_response(self, msg: str) -> None:
        """Say that this is no HTTP, unless something else was said already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for a while."""
        super().timeout_keep_alive_handler()
        self._close()

    def pause_writing(self) -> None:
        """The caller takes less than is written."""
        super().pause_writing()
        self._paused_at, self._paused_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        self._stop_sending()
        self._unsent = self.loop.call_later(self._left_s + self._paused_bytes / SEND_BYTES_PER_S, self.abort)
        self._all_unread.add(self)

    def resume_writing(self) -> None:
        """The caller has taken nearly all."""
        self._all_unread.remove(self)
        self._stop_sending()
        super().resume_writing()
        left_s = self._left_s + self._paused_bytes / SEND_BYTES_PER_S - (self.loop.time() - self._paused_at)
        self._left_s = min(self._patience_s, left_s)
        if self.transport.is_closing():
            self._close()

    @property
    def rests(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def has_all_of(self, scope: Any) -> bool:
        """Whether the request with that scope has come whole."""
        return self.cycle.scope is scope and not self.cycle.more_body

    def send_whole(self, send: Send, start: HTTPResponseStartEvent, body: bytes) -> bool:
        """Write the answer of the request under way, if nothing stands against writing all of it at once.

        uvicorn's own way takes two events, and looks at each header by itself.
        """
        cycle = self.cycle
        if (
            getattr(send, "__self__", None) is not cycle  # somebody changes what is sent, or the caller has gone on
            or cycle.response_started
            or cycle.disconnected
            or cycle.access_log
            or cycle.flow.write_paused
        ):
            return False
        lines = [b"%b: %b\r\n" % field for field in (*cycle.default_headers, *start["headers"])]
        if not cycle.keep_alive:
            lines.append(b"connection: close\r\n")
        head = b"".join(lines)
        if not _HEAD.fullmatch(head) or head.count(b"\n") != len(lines):
            return False  # uvicorn says what is wrong with it
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        sent = b"" if cycle.scope["method"] == "HEAD" else body
        cycle.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[start["status"]], head, sent))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()
        return True

    def be_patient(self, seconds: float) -> None:
        """Let the caller of the request under way take nothing of its answer for so long."""
        self._patience_s = self._left_s = seconds

    def abort(self) -> None:
        """Close it at once, with what is not sent yet."""
        self.transport.abort()

    def _make_room(self) -> None:
        """There is one connection too many: close one that rests, or this one."""
        others = (each for each in self.connections if isinstance(each, Connection) and each is not self)
        resting = next((each for each in others if each.rests), None)
        if resting is not None:
            resting.abort()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections: try again later.")

    def _close(self) -> None:
        """Close it when the last bytes are sent, and soon."""
        self.transport.close()
        if self._unsent is None:
            self._unsent = self.loop.call_later(CLOSE_S, self.abort)

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _stop_sending(self) -> None:
        if self._unsent is not None:
            self._unsent.cancel()
            self._unsent = None

    def _refuse_late(self) -> None:
        self._late = None
        if self.cycle is None or (self._in_head and self.cycle.response_complete):
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The head was not whole after {HEAD_S:g} seconds.")
        elif self.cycle.response_complete:
            self._close()
        else:  # part of a head came behind a request that is still answered
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def _refuse_large(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The head is over the limit of {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers.",
        )

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer, where no other answer is under way, and close."""
        if self.cycle is None or self.cycle.response_complete:
            retry = "retry-after: 1\r\n" if status is HTTPStatus.SERVICE_UNAVAILABLE else ""
            head = (
                f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
                f"content-length: {len(reason)}\r\n{retry}connection: close\r\n\r\n"
            )
            self.transport.write(f"{head}{reason}".encode())
            self._close()
        else:
            self.abort()


async def send_whole(scope: Any, send: Send, start: HTTPResponseStartEvent, body: bytes) -> None:
    """Send an answer whose body is there. Head and body go out in one packet, by one system call."""
    caller = of(scope)
    if caller is not None and caller.send_whole(send, start, body):
        return
    await send(start)
    await send({"type": "http.response.body", "body": body, "more_body": False})


def of(scope: Any) -> Connection | None:
    """The connection of a request; None under another server, such as that of a test."""
    found: Connection | None = scope["state"].get(CONNECTION)
    return found


def _limit_unsent(transport: asyncio.Transport) -> None:
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)  # not on every system
    wire = transport.get_extra_info("socket")
    if option is not None and wire is not None:
        with contextlib.suppress(OSError):  # no TCP, such as the socket of a proxy on this machine
            wire.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
