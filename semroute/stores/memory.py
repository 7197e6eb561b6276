"""The state of a single process, in memory."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence

from semroute.stores.interfaces import LOST_BEATS, Beats, SharedState, Verdict, Want, owner_of

SWEEP_S = 60.0
MAX_BYTES = 64 * 1024 * 1024
"""The most bytes of all values together. If there are more, the values set longest ago are deleted."""


class _Counter:
    def __init__(self, expires_at: float) -> None:
        self.spent: int | None = None
        """The amount spent. None: nothing was ever counted."""
        self.base = 0
        """How much of `spent` came from `refill`."""
        self.filled = 0
        """The latest moment from `refill`."""
        self.expires_at = expires_at
        self.holds: dict[str, tuple[int, float]] = {}

    def held(self, now: float, but: str = "") -> int:
        """Return what is held. `but`: a hold to leave out."""
        self.holds = {hold: held for hold, held in self.holds.items() if held[1] > now}
        return sum(amount for hold, (amount, _) in self.holds.items() if hold != but)

    def level(self, now: float, but: str = "") -> int:
        """Return what is spent and held. `but`: a hold to leave out."""
        return (self.spent or 0) + self.held(now, but)


class MemoryState(SharedState):
    """A `State`. Nothing in it waits, so each call is atomic on the event loop."""

    def __init__(self, clock: Callable[[], float] = time.time, *, max_bytes: int = MAX_BYTES, epoch: int = 1) -> None:
        """`epoch`: the epoch to start with. 0: the state is empty and asks for a refill."""
        self._clock = clock
        self._max_bytes = max_bytes
        self._bytes = 0
        self._counters: dict[str, _Counter] = {}
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._settled: dict[str, float] = {}
        self._owners: dict[str, int] = {}
        self._epoch = epoch
        self._swept_at = clock()

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room."""
        now = self._now()
        levels = {want.counter: self._level(want.counter, now, but=hold) for want in wants}
        found = {want.counter: self._counters.get(want.counter) for want in wants}
        spent = {name: each.spent for name, each in found.items() if each is not None and each.spent is not None}
        whole = bool(self._epoch) and all(want.counter in spent for want in wants if want.known)
        if not whole or hold in self._settled:
            return Verdict(None, levels, spent, whole)
        for want in wants:
            if want.limit is not None and levels[want.counter] + want.amount > want.limit:
                self._free(hold)
                return Verdict(want.counter, levels, spent)
        for want in wants:
            counter = self._counters.setdefault(want.counter, _Counter(want.expires_at))
            counter.holds[hold] = want.amount, now + lease_s
        return Verdict(None, levels, spent)

    async def count(
        self,
        hold: str,
        spent: Mapping[str, tuple[int, float]],
        *,
        keep_s: float,
        epoch: int,
        ended: float = math.inf,
        known: Collection[str] = (),
    ) -> dict[str, int] | None:
        """Free a hold and count what was spent, in a state of this epoch that has the known counters."""
        now = self._now()
        if epoch not in (0, self._epoch) or any(self._spent(name) is None for name in known):
            return None
        if hold in self._settled:
            return {}
        self._settled[hold] = now + keep_s
        self._free(hold)
        grown = {}
        for name, (amount, expires_at) in spent.items():
            if amount:
                counter = self._counters.setdefault(name, _Counter(expires_at))
                if ended >= counter.filled:
                    grown[name] = counter.spent = (counter.spent or 0) + amount
        return grown if self._epoch else {}

    async def beat(self, owner: str) -> Beats:
        """Say that an owner lives."""
        self._owners[owner] = self._owners.get(owner, 0) + 1
        holders = {owner_of(hold) for counter in self._counters.values() for hold in counter.holds}
        return Beats({**{name: 0 for name in holders if name is not None}, **self._owners}, self._epoch)

    async def release(self, owner: str) -> None:
        """Free all that an owner holds, and forget the owner."""
        self._owners.pop(owner, None)
        for counter in self._counters.values():
            counter.holds = {hold: held for hold, held in counter.holds.items() if owner_of(hold) != owner}

    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]], *, since: int = 0) -> int:
        """Count what is known to be spent, and mark the state as not empty."""
        if self._epoch not in (0, epoch):
            return self._epoch
        for name, (amount, expires_at) in spent.items():
            counter = self._counters.setdefault(name, _Counter(expires_at))
            if counter.spent is None:
                counter.spent, counter.base = 0, 0
                if self._epoch:  # its holds may be lost, too: each owner makes them again
                    self._owners = {owner: beats + LOST_BEATS for owner, beats in self._owners.items()}
            counter.spent += max(0, amount - (counter.base if self._epoch else counter.spent))
            counter.base, counter.filled = max(counter.base, amount), max(counter.filled, since)
        self._epoch = self._epoch or epoch
        return self._epoch

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """Return what counters have reached, held amounts included."""
        now = self._now()
        return {name: self._level(name, now) for name in counters}

    async def reset(self, counter: str) -> int:
        """Forget what was spent."""
        found = self._counters.get(counter)
        if found is None or found.spent is None:
            return 0
        spent, found.spent = found.spent, 0
        return spent

    async def get(self, key: str) -> bytes | None:
        """Return a value. None: there is none, or it has expired."""
        value, expires_at = self._entries.get(key, (b"", 0.0))
        return value if expires_at > self._now() else None

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the values that exist, by key."""
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
        """Set a value unless there is one. Returns whether it was set."""
        if await self.get(key) is not None:
            return False
        await self.put(key, value, ttl_s)
        return True

    async def delete(self, key: str) -> None:
        """Forget a value."""
        entry = self._entries.pop(key, None)
        self._bytes -= len(key) + len(entry[0]) if entry is not None else 0

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and return the average."""
        old = await self.get(key)
        mean = value if old is None else float(old) + weight * (value - float(old))
        await self.put(key, repr(mean).encode(), ttl_s)
        return mean

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""

    def _free(self, hold: str) -> None:
        for counter in self._counters.values():
            counter.holds.pop(hold, None)

    def _spent(self, name: str) -> int | None:
        counter = self._counters.get(name)
        return counter.spent if counter else None

    def _level(self, name: str, now: float, but: str = "") -> int:
        counter = self._counters.get(name)
        return counter.level(now, but) if counter else 0

    def _now(self) -> float:
        """Return the time. Now and then, also forget what has expired."""
        now = self._clock()
        if not 0 <= now - self._swept_at < SWEEP_S:  # also after a clock was set back
            self._swept_at = now
            self._counters = {
                n: c for n, c in self._counters.items() if c.expires_at > now or c.level(now) > (c.spent or 0)
            }
            self._entries = OrderedDict((key, entry) for key, entry in self._entries.items() if entry[1] > now)
            self._bytes = sum(len(key) + len(value) for key, (value, _) in self._entries.items())
            self._settled = {hold: end for hold, end in self._settled.items() if end > now}
        return now
