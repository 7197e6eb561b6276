"""Limits for the requests under way in one process: their number, and the memory for their bodies.

A request takes a place before its body is read and keeps it until its answer is sent. If there are several keys, one
key gets at most half of the places and half of the memory, so that the others still get through. A key with a larger
`concurrency` may have that many places.
"""

from __future__ import annotations

from collections.abc import Callable

from semroute.caller import Caller
from semroute.errors import LimitError, OverloadedError

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


def _lower(counts: dict[str, int], key: str, amount: int) -> None:
    counts[key] -= amount
    if not counts[key]:
        del counts[key]


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
        places = self._places
        places._running -= 1
        _lower(places._running_of, self._key, 1)
        if self._held_bytes:
            places._bytes -= self._held_bytes
            _lower(places._bytes_of, self._key, self._held_bytes)
