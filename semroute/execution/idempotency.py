"""One answer for all requests with the same idempotency key, for a while; also while the first is still running.

The answer is made once, in a task of its own, and everyone who asked follows it from its start, however late they came.
It is cancelled when the last follower has left. An answer that failed is not kept: the next request tries again.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

from semroute.errors import IdempotencyError
from semroute.structs import Frozen

TTL_S = 600.0
MAX_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A longer answer is not kept once it has ended."""


class Saved(Frozen, frozen=True, kw_only=True):
    """An answer as it went over the wire."""

    fingerprint: str
    """Of the request that it answers."""
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    pieces: tuple[bytes, ...]

    @property
    def size(self) -> int:
        """Bytes of its body."""
        return sum(map(len, self.pieces))


class Answers(Protocol):
    """Where whole answers are kept."""

    async def get(self, key: str) -> Saved | None:
        """The answer of a key; null: none, or no more."""
        ...

    async def put(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for so long."""
        ...


class MemoryAnswers:
    """In this process. Over `max_bytes` the oldest go first."""

    def __init__(self, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._kept: OrderedDict[str, tuple[float, Saved]] = OrderedDict()
        self._bytes = 0

    async def get(self, key: str) -> Saved | None:
        """The answer of a key; null: none, or no more."""
        self._expire()
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] > self._now() else None

    async def put(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for so long."""
        self._drop(key)
        self._kept[key] = (self._now() + ttl_s, saved)
        self._bytes += saved.size
        self._expire()

    def _expire(self) -> None:
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > self._now() and self._bytes <= self._max_bytes:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        self._bytes -= dropped[1].size if dropped is not None else 0


class Running:
    """One answer in the making. `start`, then `add`; followers see all of it."""

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.abandoned = asyncio.Event()
        """Nobody follows any more."""
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self._pieces: list[bytes] = []
        self._ended = False
        self._followers = 0
        self._grown = asyncio.Event()

    def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The head is known."""
        self.status, self.headers = status, headers
        self._wake()

    def add(self, piece: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(piece)
        self._wake()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._wake()

    def saved(self) -> Saved:
        """The whole of it."""
        return Saved(fingerprint=self.fingerprint, status=self.status, headers=self.headers, pieces=tuple(self._pieces))

    async def head(self) -> bool:
        """Wait for the head. False where the answer ended without one."""
        while not self.status and not self._ended:
            await self._grown.wait()
        return bool(self.status)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body from its start, as it grows."""
        place = 0
        while True:
            while place < len(self._pieces):
                place += 1
                yield self._pieces[place - 1]
            if self._ended:
                return
            await self._grown.wait()

    def join(self) -> None:
        """One more follows."""
        self._followers += 1

    def leave(self) -> None:
        """One follows no more."""
        self._followers -= 1
        if not self._followers:
            self.abandoned.set()

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


Make = Callable[[Running], Awaitable[bool]]
"""Makes an answer; returns whether it is a good one, to be kept."""


class Idempotency:
    """Gives each key one answer."""

    def __init__(self, answers: Answers | None = None, ttl_s: float = TTL_S) -> None:
        self._answers = answers or MemoryAnswers()
        self._ttl_s = ttl_s
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, key: str, fingerprint: str, make: Make) -> Running:
        """The answer of a key: the one that is kept or running, or else what `make` makes.

        `leave` it in the end. Raises `IdempotencyError` where the key is another request's that is still running;
        where that one has ended, the answer has status 0 and no body.
        """
        running = self._running.get(key)
        if running is None or running.abandoned.is_set():
            running = self._running[key] = Running(fingerprint)
            task = asyncio.create_task(self._run(key, running, make))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif running.fingerprint != fingerprint:
            raise IdempotencyError("the idempotency key belongs to another request, which is still running")
        running.join()
        return running

    async def _run(self, key: str, running: Running, make: Make) -> None:
        try:
            saved = await self._answers.get(key)
            if saved is not None:
                _replay(saved, running)
            elif await make(running) and (made := running.saved()).size <= MAX_ANSWER_BYTES:
                await self._answers.put(key, made, self._ttl_s)
        finally:
            running.end()
            if self._running.get(key) is running:
                del self._running[key]


def _replay(saved: Saved, running: Running) -> None:
    if saved.fingerprint != running.fingerprint:
        return
    running.start(saved.status, (*saved.headers, (b"idempotent-replayed", b"true")))
    for piece in saved.pieces:
        running.add(piece)
