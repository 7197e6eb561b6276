"""State of one process."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from semroute.stores.base import Verdict, Want

SWEEP_S = 60.0
MAX_BYTES = 64 * 1024 * 1024
"""Of all values together; past it the one set longest ago makes way."""


class _Counter:
    def __init__(self, expires_at: float) -> None:
        self.spent = 0
        self.expires_at = expires_at
        self.holds: dict[str, tuple[int, float]] = {}

    def level(self, now: float) -> int:
        self.holds = {hold: held for hold, held in self.holds.items() if held[1] > now}
        return self.spent + sum(amount for amount, _ in self.holds.values())


class MemoryState:
    """A `State`. Nothing in it waits, so each call is atomic on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.time, *, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._counters: dict[str, _Counter] = {}
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._settled: dict[str, float] = {}
        self._swept_at = clock()

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing where one has no room."""
        now = self._now()
        levels = {want.counter: self._level(want.counter, now) for want in wants}
        for want in wants:
            if want.limit is not None and levels[want.counter] + want.amount > want.limit:
                return Verdict(want.counter, levels)
        for want in wants:
            counter = self._counters.setdefault(want.counter, _Counter(want.expires_at))
            counter.holds[hold] = want.amount, now + lease_s
        return Verdict(None, levels)

    async def settle(self, hold: str, spent: Mapping[str, tuple[int, float]]) -> None:
        """Free what is held, and count what was spent."""
        now = self._now()
        if hold in self._settled:
            return
        self._settled[hold] = now + 3600
        for counter in self._counters.values():
            counter.holds.pop(hold, None)
        for name, (amount, expires_at) in spent.items():
            if amount:
                self._counters.setdefault(name, _Counter(expires_at)).spent += amount

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""
        now = self._now()
        return {name: self._level(name, now) for name in counters}

    async def reset(self, counter: str) -> None:
        """Forget what was spent."""
        if counter in self._counters:
            self._counters[counter].spent = 0

    async def get(self, key: str) -> bytes | None:
        """A value; null: none, or over."""
        value, expires_at = self._entries.get(key, (b"", 0.0))
        return value if expires_at > self._now() else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that there are, by their keys."""
        now = self._now()
        found = {key: self._entries[key] for key in keys if key in self._entries}
        return {key: value for key, (value, expires_at) in found.items() if expires_at > now}

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        await self.delete(key)
        self._entries[key] = value, self._now() + ttl_s
        self._bytes += len(key) + len(value)
        while self._bytes > self._max_bytes:
            await self.delete(next(iter(self._entries)))

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one; whether it was set."""
        if await self.get(key) is not None:
            return False
        await self.put(key, value, ttl_s)
        return True

    async def delete(self, key: str) -> None:
        """Forget a value."""
        entry = self._entries.pop(key, None)
        self._bytes -= len(key) + len(entry[0]) if entry is not None else 0

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and give it."""
        old = await self.get(key)
        mean = value if old is None else float(old) + weight * (value - float(old))
        await self.put(key, repr(mean).encode(), ttl_s)
        return mean

    async def aclose(self) -> None:
        """Nothing is open."""

    def _level(self, name: str, now: float) -> int:
        counter = self._counters.get(name)
        return counter.level(now) if counter else 0

    def _now(self) -> float:
        """The time. Once in a while what is over is forgotten."""
        now = self._clock()
        if not 0 <= now - self._swept_at < SWEEP_S:  # a clock that was set back is one reason more
            self._swept_at = now
            self._counters = {n: c for n, c in self._counters.items() if c.expires_at > now or c.level(now) > c.spent}
            self._entries = OrderedDict((key, entry) for key, entry in self._entries.items() if entry[1] > now)
            self._bytes = sum(len(key) + len(value) for key, (value, _) in self._entries.items())
            self._settled = {hold: end for hold, end in self._settled.items() if end > now}
        return now
