"""One answer that is being made, and that several callers follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from semroute.bases import Frozen
from semroute.errors import IdempotencyError, SemrouteError

MAX_BYTES = 64 * 1024 * 1024
"""The most bytes that all answers hold together."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most bytes of an answer that is kept."""
AHEAD_BYTES = 32 * 1024
"""How many bytes an answer may be ahead of its fastest follower."""


class Saved(Frozen, frozen=True, kw_only=True):
    """An answer as it was sent."""

    fingerprint: str
    """The fingerprint of the request that it answers."""
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Return the size of its body in bytes."""
        return sum(map(len, self.pieces))


class HeldBytes:
    """Counts the bytes that all unfinished answers hold together."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0

    @property
    def too_much(self) -> bool:
        """Return whether answers must drop pieces that could otherwise be kept."""
        return self.bytes > self.max_bytes


class Running:
    """One answer that is being made. Call `start`, then `add`. Followers see all of it."""

    def __init__(self, fingerprint: str, held: HeldBytes | None = None, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.fingerprint = fingerprint
        self.abandoned = asyncio.Event()
        """Set when nobody follows any more."""
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.farewell: Callable[[SemrouteError], bytes] | None = None
        """Returns the last event for a follower who gets no more of a stream. None: the answer is not a stream."""
        self.error: Exception = SemrouteError("the answer was not made: its making was cancelled")
        """Says why there is no head, if there is none."""
        self.whole = True
        """Whether all of it is held, including its start."""
        self._max_bytes = max_bytes
        self._held = HeldBytes() if held is None else held
        self._pieces: dict[int, bytes] = {}
        """The pieces by number. The first pieces of a long answer are missing."""
        self._first = self._next = 0
        self._held_bytes = self._total_bytes = 0
        self._taken = self._taken_bytes = 0
        """How many pieces and bytes the fastest follower has taken."""
        self._ended = False
        self._followers = 0
        self._grown = asyncio.Event()
        self._room = asyncio.Event()

    def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """Note that the head is known."""
        self.status, self.headers = status, headers
        self._wake()

    async def add(self, piece: bytes) -> None:
        """Add a piece of the body. Returns when the fastest follower is close behind, or when nobody follows."""
        self._append(piece)
        while self._total_bytes - self._taken_bytes > AHEAD_BYTES and not self.abandoned.is_set():
            self._room.clear()
            await self._room.wait()

    def replay(self, saved: Saved) -> None:
        """Give a kept answer, all at once."""
        self.start(saved.status, (*saved.headers, (b"idempotent-replayed", b"true")))
        for piece in saved.pieces:
            self._append(piece)

    def end(self) -> None:
        """Note that nothing more comes."""
        self._ended = True
        self._wake()

    def release(self) -> None:
        """Note that the answer is made. Its bytes no longer count, and are freed with its last follower."""
        self._held.bytes -= self._held_bytes
        self._held = HeldBytes()

    def saved(self) -> Saved:
        """Return the whole answer."""
        pieces = tuple(self._pieces.values())
        return Saved(fingerprint=self.fingerprint, status=self.status, headers=self.headers, pieces=pieces)

    async def head(self) -> bool:
        """Wait for the head. False: the answer ended without one, and `error` says why."""
        while not self.status and not self._ended:
            await self._grown.wait()
        return bool(self.status)

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body from its start, as it grows. Raises `IdempotencyError` if this follower is too far behind."""
        place = taken_bytes = 0
        while True:
            while place < self._next:
                if place < self._first:
                    raise self.not_kept()
                piece = self._pieces[place]
                yield piece
                place += 1
                taken_bytes += len(piece)
                self._take(place, taken_bytes)
            if self._ended:
                return
            await self._grown.wait()

    def not_kept(self) -> IdempotencyError:
        """Return the error that says that the start of the answer is gone."""
        return IdempotencyError(
            f"the answer for this idempotency key cannot be repeated: it is over {self._max_bytes} bytes, or too many "
            "answers are held already, so its start was dropped. Send the request again with a new key"
        )

    def join(self) -> None:
        """Add a follower. Raises `IdempotencyError` if the start of the answer is gone."""
        if not self.whole:
            raise self.not_kept()
        self._followers += 1

    def leave(self) -> None:
        """Remove a follower."""
        self._followers -= 1
        if not self._followers:
            self.abandoned.set()
            self.farewell = None  # it and this refer to each other, and would both stay in memory for long
            self._room.set()

    def _append(self, piece: bytes) -> None:
        self._pieces[self._next] = piece
        self._next += 1
        self._total_bytes += len(piece)
        self._count(len(piece))
        self._drop()
        self._wake()

    def _take(self, pieces: int, taken_bytes: int) -> None:
        if pieces > self._taken:
            self._taken, self._taken_bytes = pieces, taken_bytes
            self._drop()
            self._room.set()

    def _drop(self) -> None:
        """Drop pieces while there is too much to keep. Only pieces that a follower has taken are dropped."""
        while (self._held_bytes > self._max_bytes or self._held.too_much) and self._first < self._taken:
            self.whole = False
            self._count(-len(self._pieces.pop(self._first)))
            self._first += 1

    def _count(self, more_bytes: int) -> None:
        self._held_bytes += more_bytes
        self._held.bytes += more_bytes

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()
