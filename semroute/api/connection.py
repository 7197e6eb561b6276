"""A caller's connection: uvicorn's, with limits to the head of a request.

What follows the head is bounded by the application (`max_body_bytes`); until the head is whole there is none.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024
"""Of a head that comes in pieces."""
HEAD_S = 30.0
"""How long a head may take, from its first byte or the opening of the connection."""


class Connection(HttpToolsProtocol):
    """Refuses heads that are too large or too slow."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head."""
        super().connection_made(transport)
        self._in_head, self._head_bytes = True, 0
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_S, self._refuse_late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come."""
        super().data_received(data)
        if not self._in_head or self.transport.is_closing():
            return
        self._head_bytes += len(data)
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"The head is over the limit of {MAX_HEAD_BYTES} bytes."
            )
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_S, self._refuse_late)

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        """The head is whole: the request begins."""
        self._in_head = False
        self._stop_waiting()
        super().on_headers_complete()

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _refuse_late(self) -> None:
        self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"The head was not whole after {HEAD_S:g} seconds.")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(reason)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(f"{head}{reason}".encode())
        self.transport.close()
