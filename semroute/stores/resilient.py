"""A shared state that may be away: the process then goes on with a state of its own, and comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from semroute.errors import StoreError
from semroute.stores.base import State, Verdict, Want
from semroute.stores.memory import MemoryState

Result = TypeVar("Result")

log = logging.getLogger("semroute.state")

RETRY_S = 1.0
"""How long the shared state is left alone after it failed."""


class ResilientState:
    """A `State` over a shared one.

    While that is away, limits are held by this process alone, from the levels it last saw. What was spent meanwhile is
    added when the shared state is back.
    """

    def __init__(
        self,
        shared: State,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock`: seconds since 1970, which say when counters end. `monotonic`: what waiting is measured by."""
        self._monotonic = monotonic
        self._shared = shared
        self._clock = clock
        self._local = MemoryState(clock)
        self._seen: dict[str, Want] = {}
        self._levels: dict[str, tuple[int, float]] = {}
        self._unpaid: dict[str, Mapping[str, tuple[int, float]]] = {}
        self._paying: asyncio.Task[None] | None = None
        self._outages = 0
        self._retry_at = 0.0
        self.error: str | None = None
        """Why the shared state is not used just now."""

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing where one has no room."""
        verdict = await self._try(lambda: self._shared.reserve(hold, wants, lease_s))
        if verdict is not None:
            self._remember(wants, verdict)
            return verdict
        await self._take_over(wants)
        return await self._local.reserve(hold, wants, lease_s)

    async def settle(self, hold: str, spent: Mapping[str, tuple[int, float]]) -> None:
        """Free what is held, and count what was spent."""
        if await self._try(lambda: _done(self._shared.settle(hold, spent))) is None:
            self._unpaid[hold] = spent
            if self.error is None:  # another request found it back meanwhile
                self._pay_later()
        await self._local.settle(hold, spent if self.error else dict.fromkeys(spent, (0, 0.0)))

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""
        levels = await self._try(lambda: self._shared.levels(counters))
        return levels if levels is not None else await self._local.levels(counters)

    async def reset(self, counter: str) -> None:
        """Forget what was spent. Raises `StoreError` while the shared state is away."""
        await self._shared.reset(counter)
        self._levels.pop(counter, None)
        await self._local.reset(counter)

    async def get(self, key: str) -> bytes | None:
        """A value; null: none, or over."""
        found = await self._try(lambda: _boxed(self._shared.get(key)))
        return found[0] if found is not None else await self._local.get(key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that there are, by their keys."""
        found = await self._try(lambda: self._shared.get_many(keys))
        return found if found is not None else await self._local.get_many(keys)

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        if await self._try(lambda: _done(self._shared.put(key, value, ttl_s))) is None:
            await self._local.put(key, value, ttl_s)

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one; whether it was set."""
        new = await self._try(lambda: self._shared.put_new(key, value, ttl_s))
        return new if new is not None else await self._local.put_new(key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await self._try(lambda: _done(self._shared.delete(key)))
        await self._local.delete(key)

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and give it."""
        mean = await self._try(lambda: self._shared.smooth(key, value, weight, ttl_s))
        return mean if mean is not None else await self._local.smooth(key, value, weight, ttl_s)

    async def aclose(self) -> None:
        """Close all connections. What is owed is paid if the shared state is there."""
        if self._paying is not None:
            await self._paying
        await self._pay()
        await self._shared.aclose()

    async def _try(self, ask: Callable[[], Awaitable[Result]]) -> Result | None:
        """Ask the shared state; null: it is away."""
        if self.error is not None and self._monotonic() < self._retry_at:
            return None
        try:
            if self.error is not None:
                # One request finds out; the others go on meanwhile.
                self._retry_at = self._monotonic() + RETRY_S
                await self._pay_one()  # what is full, or may only be read, gives answers and takes nothing
            answer = await ask()
        except StoreError as error:
            self._gone(error)
            return None
        if self.error is not None:
            log.warning("the shared state is back")
            self.error = None
            self._local = MemoryState(self._clock)
            self._pay_later()
        return answer

    def _gone(self, error: StoreError) -> None:
        if self.error is None:
            self._outages += 1
            log.error("the shared state is away, limits are held by this process alone: %s", error)
        self.error, self._retry_at = str(error), self._monotonic() + RETRY_S

    def _pay_later(self) -> None:
        if self._unpaid and (self._paying is None or self._paying.done()):
            self._paying = asyncio.create_task(self._pay())

    async def _pay(self) -> None:
        """Settle what could not be settled."""
        try:
            while self._unpaid:
                await self._pay_one()
        except StoreError as error:
            self._gone(error)

    async def _pay_one(self) -> None:
        """Settle one request. One of which only the answer was lost does not count twice. Raises `StoreError`."""
        if self._unpaid:
            hold, spent = next(iter(self._unpaid.items()))
            await self._shared.settle(hold, spent)
            self._unpaid.pop(hold, None)

    def _remember(self, wants: Sequence[Want], verdict: Verdict) -> None:
        now = self._clock()
        for want in wants:
            if want.limit is not None:
                self._seen[want.counter] = want
                held = want.amount if verdict.refused is None else 0
                level = verdict.levels[want.counter] + held
                old, at = self._levels.get(want.counter, (0, 0.0))
                # Answers overtake one another: of those that come together, the highest is the last.
                self._levels[want.counter] = (max(level, old), at) if now - at < RETRY_S else (level, now)
        if len(self._seen) > 10_000:
            self._seen = {name: want for name, want in self._seen.items() if want.expires_at > now}
            self._levels = {name: level for name, level in self._levels.items() if name in self._seen}

    async def _take_over(self, wants: Sequence[Want]) -> None:
        """Begin a local counter at the level that was last seen."""
        for want in wants:
            level, _ = self._levels.pop(want.counter, (0, 0.0))
            if level:
                await self._local.settle(
                    f"seen-{want.counter}-{self._outages}", {want.counter: (level, want.expires_at)}
                )


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True


async def _boxed(work: Awaitable[Result]) -> tuple[Result]:
    return (await work,)
