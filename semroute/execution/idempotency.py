"""One answer for all requests with the same idempotency key, for a while; also while the first is still running.

The answer is made once, in a task of its own, and everyone who asked follows it from its start, however late they came.
It is cancelled when the last follower has left. An answer that failed is not kept: the next request tries again.

It is made no faster than its fastest follower takes it. What that one has taken is held for the others, up to
`MAX_ANSWER_BYTES`. Of a longer answer the start is dropped: it is not kept, nobody can join any more, and a follower
who is so far behind is told.

Where several processes serve, who asks another one gets the answer when it is whole; should the process that makes it
die, one of those that wait makes it anew.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol

import msgspec

from semroute.bases import Frozen
from semroute.errors import IdempotencyError, SemrouteError
from semroute.stores.interfaces import State

TTL_S = 600.0
MAX_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A longer answer is not kept."""
AHEAD_BYTES = 32 * 1024
"""How much of an answer is made before its fastest follower takes it."""
MAX_SHARED_BYTES = 1024 * 1024
"""The same, where processes share answers."""
LEASE_S = 10.0
"""How long the process that makes an answer may be silent before it counts as dead."""
POLL_S = 0.1
CLOSE_S = 5.0


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

    async def claim(self, key: str, running: Running) -> Saved | None:
        """The answer of a key; None: there is none, and the caller makes it, then keeps or releases it."""
        ...

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for so long."""
        ...

    async def release(self, key: str) -> None:
        """No answer came of it: another request may try."""
        ...


class MemoryAnswers:
    """In this process. Over `max_bytes` the oldest go first."""

    def __init__(self, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._now = now
        self._kept: OrderedDict[str, tuple[float, Saved]] = OrderedDict()
        self._bytes = 0

    async def claim(self, key: str, running: Running) -> Saved | None:
        """The answer of a key; None: none, or no more."""
        self._expire()
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] > self._now() else None

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for so long."""
        if saved.size > MAX_ANSWER_BYTES:
            return
        self._drop(key)
        self._kept[key] = (self._now() + ttl_s, saved)
        self._bytes += saved.size
        self._expire()

    async def release(self, key: str) -> None:
        """Nothing to do: nobody else waits."""

    def _expire(self) -> None:
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > self._now() and self._bytes <= self._max_bytes:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        self._bytes -= dropped[1].size if dropped is not None else 0


class HeldBytes:
    """What all answers in the making hold together, in bytes."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0

    @property
    def too_much(self) -> bool:
        """Whether answers must let go of what could be kept."""
        return self.bytes > self.max_bytes


class Running:
    """One answer in the making. `start`, then `add`; followers see all of it."""

    def __init__(self, fingerprint: str, held: HeldBytes | None = None, max_bytes: int = MAX_ANSWER_BYTES) -> None:
        self.fingerprint = fingerprint
        self.abandoned = asyncio.Event()
        """Nobody follows any more."""
        self.status = 0
        self.headers: tuple[tuple[bytes, bytes], ...] = ()
        self.farewell: Callable[[SemrouteError], bytes] | None = None
        """What ends a stream early, for a follower who gets no more; None: the answer has no room for it."""
        self.whole = True
        """Whether all of it is held, from its start."""
        self._max_bytes = max_bytes
        self._held = HeldBytes() if held is None else held
        self._pieces: dict[int, bytes] = {}
        """By their number. Of a long answer the first ones are missing."""
        self._first = self._next = 0
        self._held_bytes = self._total_bytes = 0
        self._taken = self._taken_bytes = 0
        """What the fastest follower has taken: pieces and bytes."""
        self._ended = False
        self._followers = 0
        self._grown = asyncio.Event()
        self._room = asyncio.Event()

    def start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        """The head is known."""
        self.status, self.headers = status, headers
        self._wake()

    async def add(self, piece: bytes) -> None:
        """A piece of the body. Returns when the fastest follower is close behind, or when nobody follows."""
        self._append(piece)
        while self._total_bytes - self._taken_bytes > AHEAD_BYTES and not self.abandoned.is_set():
            self._room.clear()
            await self._room.wait()

    def replay(self, saved: Saved) -> None:
        """All of it at once, as it was kept."""
        self.start(saved.status, (*saved.headers, (b"idempotent-replayed", b"true")))
        for piece in saved.pieces:
            self._append(piece)

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._wake()

    def release(self) -> None:
        """It is no longer in the making: what it holds lasts as long as its last follower."""
        self._held.bytes -= self._held_bytes
        self._held = HeldBytes()

    def saved(self) -> Saved:
        """The whole of it."""
        pieces = tuple(self._pieces.values())
        return Saved(fingerprint=self.fingerprint, status=self.status, headers=self.headers, pieces=pieces)

    async def head(self) -> bool:
        """Wait for the head. False where the answer ended without one."""
        while not self.status and not self._ended:
            await self._grown.wait()
        return bool(self.status)

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body from its start, as it grows. Raises `IdempotencyError` for who is too far behind."""
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
        """What tells that the start of the answer is gone."""
        return IdempotencyError(
            f"the answer for this idempotency key is over {self._max_bytes} bytes, or there are too many such answers: "
            "its start is no longer held, so only a caller who keeps up gets it"
        )

    def join(self) -> None:
        """One more follows. Raises `IdempotencyError` where it cannot be followed from its start."""
        if not self.whole:
            raise self.not_kept()
        self._followers += 1

    def leave(self) -> None:
        """One follows no more."""
        self._followers -= 1
        if not self._followers:
            self.abandoned.set()
            self.farewell = None  # it refers to the answer, which refers to this: both would stay for long
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
        """Let go of what is too much to keep, and was taken by one follower at least."""
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


class SharedAnswers:
    """In the shared state: a mark while a process makes the answer, renewed as long as that lives; then the answer.

    Each renewal changes the mark. A mark that stays the same for two leases is that of a dead process, whatever the
    clock says that ends it: a clock that was set back would keep it for hours.
    """

    def __init__(
        self,
        state: State,
        *,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._now = now
        self._lease_s, self._poll_s = lease_s, poll_s
        self._renewing: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def claim(self, key: str, running: Running) -> Saved | None:
        """The answer of a key, also of one that another process makes just now; None: it is for this one to make."""
        # Each mark is one of its kind: should the answer to `put_new` be lost, its own mark is known again.
        name, own = _entry(key), (b"mark", uuid.uuid4().bytes)
        mark = Saved(fingerprint=running.fingerprint, status=0, headers=(own,), pieces=())
        encoded = msgspec.msgpack.encode(mark)
        seen, since = b"", self._now()
        while not await self._state.put_new(name, encoded, self._lease_s):
            found = await self._state.get(name)
            if found == encoded:
                break
            saved = None if found is None else msgspec.msgpack.decode(found, type=Saved)
            if saved is not None and (saved.status or saved.fingerprint != running.fingerprint):
                return saved
            if running.abandoned.is_set():
                return mark
            if found is not None and found != seen:
                seen, since = found, self._now()
            elif found is not None and self._now() - since >= 2 * self._lease_s:
                await self._state.delete(name)
                continue
            if saved is not None:
                await asyncio.sleep(self._poll_s)
        await self._stop(key)
        stop = asyncio.Event()
        self._renewing[key] = stop, asyncio.create_task(self._renew(key, mark, stop))
        return None

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for so long."""
        if saved.size > MAX_SHARED_BYTES:
            await self.release(key)
            return
        await self._stop(key)
        await self._state.put(_entry(key), msgspec.msgpack.encode(saved), ttl_s)

    async def release(self, key: str) -> None:
        """No answer came of it: whoever waits makes one."""
        await self._stop(key)
        await self._state.delete(_entry(key))

    async def _renew(self, key: str, mark: Saved, stop: asyncio.Event) -> None:
        for number in itertools.count(1):
            try:
                async with asyncio.timeout(self._lease_s / 3):
                    await stop.wait()
                return
            except TimeoutError:
                renewed = msgspec.structs.replace(mark, headers=(*mark.headers, (b"renewed", b"%d" % number)))
                await self._state.put(_entry(key), msgspec.msgpack.encode(renewed), self._lease_s)

    async def _stop(self, key: str) -> None:
        """End the renewals: not amid one, which could overwrite what comes after it."""
        if (renewal := self._renewing.pop(key, None)) is not None:
            renewal[0].set()
            await renewal[1]


def _entry(key: str) -> str:
    return f"answer:{key}"


Make = Callable[[Running], Awaitable[bool]]
"""Makes an answer; returns whether it is a good one, to be kept."""


class Idempotency:
    """Gives each key one answer."""

    def __init__(self, answers: Answers | None = None, ttl_s: float = TTL_S) -> None:
        self._answers = answers or MemoryAnswers()
        self._ttl_s = ttl_s
        self._held = HeldBytes()
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, key: str, fingerprint: str, make: Make) -> Running:
        """The answer of a key: the one that is kept or running, or else what `make` makes.

        `leave` it in the end. Raises `IdempotencyError` where the key is another request's that is still running;
        where that one has ended, the answer has status 0 and no body. Raises `IdempotencyError` where the running
        answer is too long to be followed from its start.
        """
        running = self._running.get(key)
        if running is None or running.abandoned.is_set():
            running = self._running[key] = Running(fingerprint, self._held)
            task = asyncio.create_task(self._run(key, running, make))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif running.fingerprint != fingerprint:
            raise IdempotencyError("the idempotency key belongs to another request, which is still running")
        running.join()
        return running

    async def aclose(self) -> None:
        """Wait until what has been made is kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)

    async def _run(self, key: str, running: Running, make: Make) -> None:
        try:
            saved = await self._answers.claim(key, running)
            if saved is None:
                await self._make(key, running, make)
            elif saved.fingerprint == running.fingerprint:
                running.replay(saved)
        finally:
            running.end()
            running.release()
            if self._running.get(key) is running:
                del self._running[key]

    async def _make(self, key: str, running: Running, make: Make) -> None:
        good = False
        try:
            good = await make(running)
        finally:
            running.end()  # nobody waits until it is kept: whoever asks meanwhile follows it, or waits for it
            if good and running.whole:
                await self._answers.keep(key, running.saved(), self._ttl_s)
            else:
                await self._answers.release(key)
