"""Take in requests: limit how many are under way in one process, and the size, the time and the memory of their bodies.

A request takes a place before its body is read and keeps it until its answer is sent. If there are several keys, one
key gets at most half of the places and half of the memory, so that the others still get through. A key with a larger
`concurrency` may have that many places.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from litestar.exceptions import HTTPException
from litestar.types import HTTPDisconnectEvent, HTTPRequestEvent, HTTPScope, Receive

from semroute.api import http_connection
from semroute.api.error_responses import AnyRequest
from semroute.caller import Caller
from semroute.errors import LimitError, OverloadedError, PayloadTooLargeError, SlowCallerError

CLIENT_CLOSED_REQUEST = 499
NOBODY = Caller()
FREE_BYTES = 64 * 1024
"""Bytes of each body that need no room. The connection holds as much anyway, so ordinary prompts need none."""


class RequestPlaces:
    """The places of one process, and its room for bodies in bytes."""

    def __init__(
        self, max_running: int, max_bytes: int, max_body_bytes: int, several_keys: Callable[[], bool] = lambda: False
    ) -> None:
        """`max_bytes`: of all bodies together. There is always room for one body of `max_body_bytes`."""
        self._max_running = max_running
        self._max_bytes = max(max_bytes, max_body_bytes)
        self._max_body_bytes = max_body_bytes
        self._several_keys = several_keys
        self._running = 0
        self._running_of: dict[str, int] = {}
        self._bytes = 0
        self._bytes_of: dict[str, int] = {}

    @property
    def running(self) -> int:
        """How many places are taken."""
        return self._running

    @property
    def bytes(self) -> int:
        """How many bytes of room are taken."""
        return self._bytes

    def take(self, caller: Caller) -> Place:
        """Take a place for one request. Call its `leave` at the end. Raises `OverloadedError` and `LimitError`."""
        if self._running >= self._max_running:
            raise OverloadedError(
                f"the service handles {self._running} requests already, which is its limit: try again later"
            )
        of_key = self._running_of.get(caller.id, 0)
        if 2 * of_key >= self._max_running - 1:
            self._check_share(caller, of_key)
        self._running += 1
        self._running_of[caller.id] = of_key + 1
        return Place(self, caller.id)

    def _check_share(self, caller: Caller, of_key: int) -> None:
        share = max(1, self._max_running // 2, caller.concurrency or 0)
        if self._several_keys() and of_key >= share:
            raise LimitError(
                f"the key {caller.id} has {of_key} requests under way already, which is its share: try again later",
                retry_after_s=1,
            )

    def _make_room(self, key: str, more_bytes: int) -> None:
        if self._bytes + more_bytes > self._max_bytes:
            raise OverloadedError(
                f"the bodies of requests under way take {self._bytes} of {self._max_bytes} bytes already, and this one "
                f"needs {more_bytes} more: try again later"
            )
        share = max(self._max_bytes // 2, self._max_body_bytes) if self._several_keys() else self._max_bytes
        of_key = self._bytes_of.get(key, 0)
        if of_key + more_bytes > share:
            raise LimitError(
                f"the bodies of the key {key} take {of_key} of its share of {share} bytes already, and "
                f"this one needs {more_bytes} more: try again later",
                retry_after_s=1,
            )
        self._bytes += more_bytes
        self._bytes_of[key] = of_key + more_bytes


class Place:
    """The place of one request."""

    __slots__ = ("_held_bytes", "_key", "_places")

    def __init__(self, places: RequestPlaces, key: str) -> None:
        self._places = places
        self._key = key
        self._held_bytes = 0

    def make_room(self, body_bytes: int) -> None:
        """Take room for a body of this many bytes in total. Raises `OverloadedError` and `LimitError`."""
        more_bytes = body_bytes - FREE_BYTES - self._held_bytes
        if more_bytes > 0:
            self._places._make_room(self._key, more_bytes)
            self._held_bytes += more_bytes

    def leave(self) -> None:
        """Give back the place and the room. A second call does nothing."""
        places, key = self._places, self._key
        places._running -= 1
        places._running_of[key] -= 1
        if not places._running_of[key]:
            del places._running_of[key]
        if self._held_bytes:
            places._bytes -= self._held_bytes
            places._bytes_of[key] -= self._held_bytes
            if not places._bytes_of[key]:
                del places._bytes_of[key]


class BodyLimits(NamedTuple):
    """Limits for bodies in one process."""

    places: RequestPlaces
    max_bytes: int
    """The most bytes of one body."""
    receive_s: float
    """Seconds that one body may take."""


class Body:
    """The `receive` of one request. Call `leave` when the request is answered.

    Nothing of the body is read before a handler asks for it, and handlers first check the caller.
    """

    __slots__ = ("_awaited", "_bytes", "_deadline", "_headers", "_limits", "_passing", "_place", "_receive", "_scope")

    def __init__(self, scope: HTTPScope, receive: Receive, limits: BodyLimits) -> None:
        self._scope = scope
        self._headers = scope["headers"]
        """The headers as they came. Those in the scope no longer say how the body was compressed."""
        self._receive = receive
        self._limits = limits
        self._place: Place | None = None
        self._awaited = False
        """Whether some of the body is still to come."""
        self._passing = False
        """Whether each piece is passed on and none is kept."""

    async def __call__(self) -> Any:
        """Return the next piece of the body. After its end, wait until the caller has gone.

        Raises `OverloadedError`, `LimitError`, `PayloadTooLargeError` and `SlowCallerError`.
        """
        if self._awaited:
            return await self._next()
        if self._place is not None:
            return await self._receive()
        state = self._scope["state"]
        self._place = place = self._limits.places.take(state.get("caller") or NOBODY)
        connection = http_connection.connection_of(self._scope)
        if connection is None or not connection.has_all_of(self._scope):
            self._begin(place)
            return await self._next()
        message: Any = await self._receive()  # no wait: most bodies have come completely before anybody asks
        if message["type"] == "http.request" and len(message["body"]) > FREE_BYTES:
            self._check(len(message["body"]))
            place.make_room(len(message["body"]))
        return message

    def pass_on(self, max_bytes: int) -> None:
        """Accept a body of up to this size without keeping it. Each piece must come in time, and needs no room."""
        self._limits = self._limits._replace(max_bytes=max_bytes)
        self._passing = True

    def make_room(self, size: int) -> None:
        """Find room for a body that turns out to be larger. Raises the same errors as the call."""
        assert self._place is not None, "a body that has not been asked for has no size"
        self._place.make_room(size)

    def leave(self) -> None:
        """Note that the request is answered."""
        if self._place is not None:
            self._place.leave()

    def _begin(self, place: Place) -> None:
        """Find room for the announced size, and set the deadline."""
        announced = next((int(value) for name, value in self._headers if name == b"content-length"), 0)
        self._check(announced)
        if not self._passing:
            place.make_room(announced)
        self._awaited, self._bytes = True, 0
        self._deadline = asyncio.get_running_loop().time() + self._limits.receive_s

    async def _next(self) -> Any:
        """Return the next piece, if it comes in time."""
        if self._passing:
            self._deadline = asyncio.get_running_loop().time() + self._limits.receive_s
        try:
            async with asyncio.timeout_at(self._deadline):
                message: Any = await self._receive()
        except TimeoutError:
            raise SlowCallerError(
                f"the body was not complete after {self._limits.receive_s:g} seconds: {self._bytes} bytes had come"
            ) from None
        if message["type"] == "http.request":
            assert self._place is not None
            self._bytes += len(message["body"])
            self._check(self._bytes)
            if not self._passing:
                self._place.make_room(self._bytes)
            self._awaited = message["more_body"]
        return message

    def _check(self, size: int) -> None:
        limit = self._limits.max_bytes
        if size > limit:
            raise PayloadTooLargeError(f"the body is over the limit of {limit} bytes")


async def read_body(request: AnyRequest) -> bytes:
    """Return the whole body. Raises the same errors as `Body`.

    If the caller leaves before its end, it raises the framework's `HTTPException`, which is not counted as a refusal.
    """
    pieces, more = [], True
    while more:
        piece, more = await read_piece(request)
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_piece(request: AnyRequest) -> tuple[bytes, bool]:
    """Return the next piece of the body, and whether there are more. Raises the same errors as `read_body`."""
    message = cast("HTTPRequestEvent | HTTPDisconnectEvent", await request.receive())
    if message["type"] == "http.disconnect":
        raise HTTPException("the connection was closed inside the body", status_code=CLIENT_CLOSED_REQUEST)
    return message["body"], message["more_body"]
