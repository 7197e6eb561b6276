"""One answer for all requests with the same idempotency key, for a while; also while the first is still running.

The answer is made once, in a task of its own, and everyone who asked follows it from its start, however late they came.
It is cancelled when the last follower has left. An answer that failed is not kept: the next request tries again.

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

from semroute.errors import IdempotencyError
from semroute.stores.base import State
from semroute.structs import Frozen

TTL_S = 600.0
MAX_BYTES = 64 * 1024 * 1024
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""A longer answer is not kept once it has ended."""
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
        """The answer of a key; null: there is none, and the caller makes it, then keeps or releases it."""
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
        """The answer of a key; null: none, or no more."""
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
        """The answer of a key, also of one that another process makes just now; null: it is for this one to make."""
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

    async def aclose(self) -> None:
        """Wait until what has been made is kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)

    async def _run(self, key: str, running: Running, make: Make) -> None:
        try:
            saved = await self._answers.claim(key, running)
            if saved is not None:
                _replay(saved, running)
            else:
                await self._make(key, running, make)
        finally:
            running.end()
            if self._running.get(key) is running:
                del self._running[key]

    async def _make(self, key: str, running: Running, make: Make) -> None:
        good = False
        try:
            good = await make(running)
        finally:
            running.end()  # nobody waits until it is kept: whoever asks meanwhile follows it, or waits for it
            if good:
                await self._answers.keep(key, running.saved(), self._ttl_s)
            else:
                await self._answers.release(key)


def _replay(saved: Saved, running: Running) -> None:
    if saved.fingerprint != running.fingerprint:
        return
    running.start(saved.status, (*saved.headers, (b"idempotent-replayed", b"true")))
    for piece in saved.pieces:
        running.add(piece)
