"""A caller's connection: uvicorn's, with limits for slow or greedy callers.

- A request's head must be complete within `HEAD_S` seconds, and be small.
- If a caller does not take its answer, the connection is closed, and sooner if very many callers do so. For the
  application, this looks like a caller who leaves.
- There are at most `max_connections`. A further one takes the place of one without a request under way.

`semroute.api.request_intake` limits how long a body may take, and answers in the form that the caller's client reads.
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
"""The most bytes of a head that comes in pieces. The same limit holds for other parts outside the body, such as
trailers."""
MAX_HEADERS = 200
MAX_PIPELINED = 16
"""The most requests that may wait on one connection behind the one being answered."""
HEAD_S = 30.0
"""Seconds that a head may take, from its first byte or the opening of the connection. After a request is answered, the
rest of its body is read and dropped for as long."""
SEND_S = 30.0
"""Seconds that a caller may take nothing of its answer, unless `be_patient` sets another time for the request."""
SEND_BYTES_PER_S = 16 * 1024
"""How fast a caller must take its answer. A slower caller uses up its seconds bit by bit."""
CLOSE_S = 10.0
"""Seconds that the last bytes may take after we closed the connection."""
HIGH_WATER_BYTES = 16 * 1024
"""How much of an answer waits in the process for its caller. Then the writer waits."""
UNSENT_BYTES = 64 * 1024
"""How much waits in the operating system. Without a limit, it takes megabytes before it shows a slow caller."""
MAX_CONNECTIONS = 8192
MAX_UNREAD = 128
"""The most connections whose callers do not take their answers. Each costs some 300 kB, from the provider's socket to
the caller's."""
_HEAD = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: [^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
"""Headers that HTTP can carry."""
CONNECTION = "connection"
"""The key under `state` of a request's scope for its `Connection`."""


def connection_of(scope: Any) -> Connection | None:
    """Return the connection of a request. None: another server runs it, such as that of a test."""
    found: Connection | None = scope["state"].get(CONNECTION)
    return found


class SlowReaders:
    """The connections of a process whose callers do not take their answers."""

    def __init__(self, at_most: int = MAX_UNREAD) -> None:
        self._at_most = at_most
        self._waiting: dict[Connection, None] = {}
        """The connection that has waited longest comes first."""

    def add(self, connection: Connection) -> None:
        """Add a connection whose caller takes nothing now. If there are too many, close the one that waited longest."""
        self._waiting[connection] = None
        if len(self._waiting) > self._at_most:
            longest = next(iter(self._waiting))
            self.remove(longest)
            longest.abort()

    def remove(self, connection: Connection) -> None:
        """Remove a connection that is lost, or whose caller takes its answer again."""
        self._waiting.pop(connection, None)


class Connection(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self, *, max_connections: int = MAX_CONNECTIONS, unread: SlowReaders | None = None, **options: Any
    ) -> None:
        """`unread`: shared by all connections of a process."""
        super().__init__(**options)
        self._max_connections = max_connections
        self._all_unread = SlowReaders() if unread is None else unread
        self._in_head, self._unread_bytes = True, 0
        self._late: asyncio.TimerHandle | None = None
        self._unsent: asyncio.TimerHandle | None = None
        self._patience_s = self._left_s = SEND_S
        self._paused_at, self._paused_bytes = 0.0, 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=HIGH_WATER_BYTES)
        option, wire = getattr(socket, "TCP_NOTSENT_LOWAT", None), transport.get_extra_info("socket")
        if option is not None and wire is not None:  # some systems have no such option
            with contextlib.suppress(OSError):  # not TCP, such as the Unix socket of a proxy on this machine
                wire.setsockopt(socket.IPPROTO_TCP, option, UNSENT_BYTES)
        self._late = self.loop.call_later(HEAD_S, self._refuse_late)
        if len(self.connections) > self._max_connections:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """End all waiting for the caller."""
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
        """Note that a head begins."""
        super().on_message_begin()
        self._in_head, self._unread_bytes = True, 0
        self.scope["state"][CONNECTION] = self

    def on_headers_complete(self) -> None:
        """Begin the request now that its head is complete."""
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
        """Take in a piece of a body."""
        self._unread_bytes = 0
        super().on_body(body)

    def on_response_complete(self) -> None:
        """Note that the answer is written. It may not be sent yet."""
        super().on_response_complete()
        cycle = self.cycle
        if not cycle.response_complete:
            return  # another request came meanwhile
        if cycle.body:
            cycle.body.clear()  # the handler did not ask for it
        if not cycle.keep_alive:
            self._close()
        elif cycle.more_body and self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def send_400_response(self, msg: str) -> None:
        """Answer that this is not HTTP, unless an answer was sent already."""
        if not self.transport.is_closing():
            super().send_400_response(msg)
            self._close()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which no request has come for a while."""
        super().timeout_keep_alive_handler()
        self._close()

    def pause_writing(self) -> None:
        """Note that the caller takes less than is written."""
        super().pause_writing()
        self._paused_at, self._paused_bytes = self.loop.time(), self.transport.get_write_buffer_size()
        self._stop_sending()
        self._unsent = self.loop.call_later(self._left_s + self._paused_bytes / SEND_BYTES_PER_S, self.abort)
        self._all_unread.add(self)

    def resume_writing(self) -> None:
        """Note that the caller has taken nearly all."""
        self._all_unread.remove(self)
        self._stop_sending()
        super().resume_writing()
        left_s = self._left_s + self._paused_bytes / SEND_BYTES_PER_S - (self.loop.time() - self._paused_at)
        self._left_s = min(self._patience_s, left_s)
        if self.transport.is_closing():
            self._close()

    @property
    def rests(self) -> bool:
        """Return whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def has_all_of(self, scope: Any) -> bool:
        """Return whether the request with that scope has come completely."""
        return self.cycle.scope is scope and not self.cycle.more_body

    def send_whole(self, send: Send, start: HTTPResponseStartEvent, body: bytes) -> bool:
        """Write the answer of the request under way in one packet, if that is possible. Returns whether it was.

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
        """Set how many seconds the caller of the present request may take nothing of its answer."""
        self._patience_s = self._left_s = seconds

    def abort(self) -> None:
        """Close the connection at once, and drop what is not sent yet."""
        self.transport.abort()

    def _make_room(self) -> None:
        """Close a connection without a request, or this one, because there is one too many."""
        others = (each for each in self.connections if isinstance(each, Connection) and each is not self)
        resting = next((each for each in others if each.rests), None)
        if resting is not None:
            resting.abort()
        else:
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "There are too many connections: try again later.")

    def _close(self) -> None:
        """Close the connection when the last bytes are sent, or after `CLOSE_S`."""
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
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The request headers were not complete after {HEAD_S:g} seconds.")
        elif self.cycle.response_complete:
            self._close()
        else:  # part of a head came while an earlier request was being answered
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def _refuse_large(self) -> None:
        self._refuse(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            f"The request headers are over the limit of {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers.",
        )

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        """Answer with an error, unless another answer is under way, and close."""
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
