"""One request to the fault server, and the raw socket for its answer."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any


@dataclass
class Seen:
    """A request that the server got."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: dict[str, Any]
    connection: int
    """Counts the connections; two requests with one number came over the same."""
    at: float
    """`time.monotonic()`."""
    nth: int = 0
    """How many requests for the same model came before."""
    since_first_s: float = 0.0
    """Since the first request for the same model."""
    disconnected: threading.Event = field(default_factory=threading.Event)
    """Set when the client goes away before the answer is whole."""

    @property
    def model(self) -> str:
        return str(self.body.get("model"))

    @property
    def streamed(self) -> bool:
        return bool(self.body.get("stream"))


class Exchange:
    """One request and the raw socket for its answer."""

    def __init__(self, seen: Seen, argument: int, writer: asyncio.StreamWriter) -> None:
        self.seen = seen
        self.argument = argument
        self._writer = writer

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def answer(self, status: int, body: bytes, content_type: str = "application/json", **headers: str) -> None:
        """A whole answer."""
        lines = {"content-type": content_type, "content-length": str(len(body)), **headers}
        await self.write(head(status, lines) + body)

    async def start_events(self) -> None:
        """The head of a streamed answer; `event` and `end_events` follow."""
        await self.write(head(200, {"content-type": "text/event-stream", "transfer-encoding": "chunked"}))

    async def event(self, data: bytes) -> None:
        await self.piece(b"data: " + data + b"\n\n")

    async def piece(self, data: bytes) -> None:
        await self.write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end_events(self) -> None:
        await self.write(b"0\r\n\r\n")

    def cut(self) -> None:
        """Close as a server does that ends early."""
        self._writer.close()

    def reset(self) -> None:
        """Close as a crashed server does: RST instead of FIN."""
        raw = self._writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def phrase(status: int) -> str:
    """What a status is called; those that servers made up are not."""
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Unknown"


def head(status: int, headers: dict[str, str]) -> bytes:
    reason = phrase(status)
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
