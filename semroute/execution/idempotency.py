"""Give one answer to all requests with the same idempotency key, also while the first of them is still running.

The answer is made once, in a task of its own. All callers follow it from its start, even those who come late. It is
cancelled when the last follower leaves. A failed answer is not kept, so the next request tries again.

The answer is made no faster than its fastest follower takes it. What that one has taken is held for the others, up to
`MAX_ANSWER_BYTES`. If the answer is longer, its start is dropped: it is not kept, nobody can join it any more, and a
follower who still needs the start gets an error.

If several processes serve, a caller of another process gets the answer when it is whole. If the process that makes it
dies, one of the waiting processes makes it again.
"""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from semroute.errors import IdempotencyError
from semroute.execution.running_answer import MAX_ANSWER_BYTES, MAX_BYTES, HeldBytes, Running, Saved
from semroute.stores.interfaces import State

TTL_S = 600.0
MAX_SHARED_BYTES = 1024 * 1024
"""The most bytes of an answer that processes share."""
LEASE_S = 10.0
"""Seconds. While a process makes an answer, it renews its mark within this time."""
POLL_S = 0.1
CLOSE_S = 5.0


class Answers(Protocol):
    """Keeps whole answers."""

    async def claim(self, key: str, running: Running) -> Saved | None:
        """Return the answer of a key. None: there is none. Then make it, and call `keep` or `release`."""
        ...

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds."""
        ...

    async def release(self, key: str) -> None:
        """Note that no answer was made, so another request may try."""
        ...


class MemoryAnswers:
    """Keeps answers in this process. Above `max_bytes`, it drops the oldest first."""

    def __init__(self, max_bytes: int = MAX_BYTES, now: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes, self._now = max_bytes, now
        self._kept: OrderedDict[str, tuple[float, Saved]] = OrderedDict()
        self._bytes = 0

    async def claim(self, key: str, running: Running) -> Saved | None:
        """Return the answer of a key. None: there is none, or it has expired."""
        self._expire()
        kept = self._kept.get(key)
        return kept[1] if kept is not None and kept[0] > self._now() else None

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds."""
        if saved.size > MAX_ANSWER_BYTES:
            return
        self._drop(key)
        self._kept[key] = (self._now() + ttl_s, saved)
        self._bytes += saved.size
        self._expire()

    async def release(self, key: str) -> None:
        """Do nothing, because no other process waits."""

    def _expire(self) -> None:
        while self._kept:
            key, (until, _) = next(iter(self._kept.items()))
            if until > self._now() and self._bytes <= self._max_bytes:
                return
            self._drop(key)

    def _drop(self, key: str) -> None:
        dropped = self._kept.pop(key, None)
        self._bytes -= dropped[1].size if dropped is not None else 0


class SharedAnswers:
    """Keeps answers in the shared state. While a process makes an answer, a mark stands there, which it renews.

    Each renewal changes the mark. If a mark stays the same for two leases, its process is dead. Nobody relies on the
    expiry of the mark, because a clock that was set back would keep it for hours.
    """

    def __init__(
        self,
        state: State,
        *,
        lease_s: float = LEASE_S,
        poll_s: float = POLL_S,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state, self._now = state, now
        self._lease_s, self._poll_s = lease_s, poll_s
        self._renewing: dict[str, tuple[asyncio.Event, asyncio.Task[None]]] = {}

    async def claim(self, key: str, running: Running) -> Saved | None:
        """Return the answer of a key, or wait while another process makes it. None: this process must make it."""
        # Each mark is unique. So a process recognises its own mark, even if the reply to `put_new` was lost.
        name, own = _entry(key), (b"mark", uuid.uuid4().bytes)
        mark = Saved(fingerprint=running.fingerprint, status=0, headers=(own,), pieces=())
        encoded = msgspec.msgpack.encode(mark)
        seen, since = b"", self._now()
        while not await self._state.put_new(name, encoded, self._lease_s):
            found = await self._state.get(name)
            if found == encoded:
                break
            saved = None
            with suppress(msgspec.MsgspecError):  # another version wrote it: it is waited for like a mark
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
            if found is not None:
                await asyncio.sleep(self._poll_s)
        await self._stop(key)
        stop = asyncio.Event()
        self._renewing[key] = stop, asyncio.create_task(self._renew(key, mark, stop))
        return None

    async def keep(self, key: str, saved: Saved, ttl_s: float) -> None:
        """Keep an answer for `ttl_s` seconds."""
        if saved.size > MAX_SHARED_BYTES:
            await self.release(key)
            return
        await self._stop(key)
        await self._state.put(_entry(key), msgspec.msgpack.encode(saved), ttl_s)

    async def release(self, key: str) -> None:
        """Note that no answer was made, so one of the waiting processes makes it."""
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
        """End the renewals. One that is under way ends first, or it could overwrite what is written next."""
        if (renewal := self._renewing.pop(key, None)) is not None:
            renewal[0].set()
            await renewal[1]


def _entry(key: str) -> str:
    return f"answer:{key}"


Make = Callable[[Running], Awaitable[bool]]
"""Makes an answer. Returns whether the answer is good enough to be kept."""


class Idempotency:
    """Gives each key one answer."""

    def __init__(self, answers: Answers | None = None, ttl_s: float = TTL_S) -> None:
        self._answers, self._ttl_s = answers or MemoryAnswers(), ttl_s
        self._held = HeldBytes()
        self._running: dict[str, Running] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, key: str, fingerprint: str, make: Make) -> Running:
        """Return the answer of a key: one that is kept or running, else the one that `make` makes.

        Call `leave` in the end. Raises `IdempotencyError` if the key belongs to another request that is still running.
        If that request has ended, the answer has no head, and its `error` says why. Also raises `IdempotencyError` if
        the running answer is so long that its start is gone.
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
        """Wait until the answers that have been made are kept."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)

    async def _run(self, key: str, running: Running, make: Make) -> None:
        try:
            saved = await self._answers.claim(key, running)
            if saved is None:
                await self._make(key, running, make)
            elif saved.fingerprint == running.fingerprint:
                running.replay(saved)
            else:
                running.error = IdempotencyError(
                    "the idempotency key was used for another request: send a new key with each request"
                )
        except Exception as error:
            running.error = error
            raise
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
            running.end()  # callers need not wait until it is kept
            if good and running.whole:
                await self._answers.keep(key, running.saved(), self._ttl_s)
            else:
                await self._answers.release(key)
