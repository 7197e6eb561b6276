"""A shared state that may be away: the process then goes on alone, and pays what it spent when the state is back."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import TypeVar

from semroute.errors import RefusedValueError, StoreError
from semroute.stores.alone import Alone
from semroute.stores.base import HOLD_S, SETTLED_S, SharedState, Verdict, Want
from semroute.stores.memory import MemoryState
from semroute.stores.owed import Owed, Spent
from semroute.stores.owners import LOOK_S, Owners

Result = TypeVar("Result")
Known = Callable[[float], Awaitable[Spent | None]]
"""By counter, what the decision log says was spent by requests that ended before a moment. None: it cannot tell."""

log = logging.getLogger("semroute.state")

PAID_S = 40 * 86_400.0
"""How long the shared state remembers a payment: longer than any budget's period."""
AT_ONCE = 16
"""Holds that are made again together."""
ROUNDS = 20
"""How often at most what came up while the process caught up is caught up with, too."""
RECENT_S = 1.0
"""A request that ended so shortly ago may be in the log and still on its way to the counters: it is left to a second
refill."""
REFILL_AGAIN = 5
"""After so many looks a refilled state is refilled again."""


class ResilientState:
    """A `State` over a shared one.

    `run` it in a task: it says that this process lives, and finds out whether the shared state is there. While that is
    away, limits are held by this process alone, from the levels it last saw. It counts as back when all that was spent
    meanwhile is paid.
    """

    def __init__(
        self,
        shared: SharedState,
        clock: Callable[[], float] = time.time,
        *,
        file: Path | None = None,
        known: Known | None = None,
    ) -> None:
        """`file`: where to write down what is owed. `known`: what to fill an empty state from."""
        self._shared = shared
        self._clock = clock
        self._local = MemoryState(clock)
        self._owner = secrets.token_hex(8)
        self._owners = Owners(self._owner)
        self._owed = Owed(self._owner, file)
        self._known = known
        self._alone = Alone(clock, self._owed.of)
        self._refilling = asyncio.Lock()
        self._refill_in = 0
        """Looks until the state is refilled again. 0: it need not be."""
        self._refilled_at = 0.0
        self.error: str | None = None
        """Why the shared state is not used just now."""

    # --- holds ---

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float = HOLD_S) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room. Whatever comes of it, `settle` it."""
        if self.error is None:
            # Known before it is asked for: whoever leaves meanwhile, `settle` frees it.
            self._alone.begin(hold, wants, shared=True)
            asked = self._alone.answers
            verdict = await self._try(lambda: self._reserve_there(hold, wants, lease_s))
            if verdict is not None:
                self._alone.hear(verdict.spent, asked)
                if verdict.refused is not None:
                    self._alone.end(hold)
                return verdict
        return self._alone.reserve(hold, wants)

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, keep_s: float = SETTLED_S
    ) -> dict[str, int]:
        """Free what is held, and count what was spent."""
        held = self._alone.held.get(hold)
        if held is None and not any(amount for amount, _ in spent.values()):
            return {}
        if self.error is not None and not (held is not None and held.shared):
            self._alone.end(hold)
            self._owed.add(spent)  # the shared state knows nothing of it
            return {}
        wants = held.wants if held is not None else ()
        name, all_named = self._name(hold), {want.counter: (0, want.expires_at) for want in wants} | dict(spent)
        grown, asked = None, self._alone.answers
        try:
            grown = await self._try(lambda: self._shared.settle(name, all_named, keep_s=keep_s))
        finally:
            self._alone.end(hold)
            if grown is None:
                self._owed.put(name, all_named)
        if grown is None:
            return {}
        self._alone.hear(grown, asked)
        return grown

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""
        levels = await self._try(lambda: self._shared.levels(counters))
        return levels if levels is not None else {name: self._alone.level(name) for name in counters}

    async def reset(self, counter: str) -> int:
        """Forget what was spent. Returns how much that was. Raises `StoreError` while the shared state is away."""
        if self.error is not None:
            raise StoreError(f"the shared state is away: {self.error}")
        spent = await self._shared.reset(counter)
        self._alone.forget(counter)
        return spent

    # --- values ---

    async def get(self, key: str) -> bytes | None:
        """A value. None: there is none, or it has ended."""
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

    # --- the life of the process ---

    def frees_in_s(self) -> float:
        """When at the latest what dead processes hold is free. 0: no process is silent."""
        return self._owners.frees_in_s()

    async def start(self) -> None:
        """Take over what dead processes owe, and look at the shared state. If that is away, go on without it."""
        if taken := await asyncio.to_thread(self._owed.take_over):
            log.warning("%d payments that a process before this one wrote down are taken over", taken)
        await self.look()
        await asyncio.to_thread(self._owed.write)

    async def run(self) -> None:
        """Look at the shared state, and write down what is owed, again and again. Runs until it is cancelled."""
        async with asyncio.TaskGroup() as both:  # a state that hangs is looked at for seconds
            both.create_task(self._again(self.look))
            both.create_task(self._again(lambda: asyncio.to_thread(self._owed.write)))

    @staticmethod
    async def _again(do: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await do()

    async def look(self) -> None:
        """Say that this process lives, release those that do not, and come back to a state that was away."""
        try:
            epoch = self._owed.epoch
            beats = await self._shared.beat(self._owner)
            async with self._refilling:
                if self._owed.epoch != epoch:
                    pass  # a request found out meanwhile
                elif beats.epoch != epoch or not epoch or self._owed.outdated():
                    await self._refill(beats.epoch)
                elif self._refill_in:
                    self._refill_in -= 1
                    if not self._refill_in:
                        await self._refill_later()
            if self._owners.forgotten(beats) or self.error is not None:
                await self._hold_again([*self._alone.held])
            for owner in self._owners.silent(beats):
                await self._shared.release(owner)
                log.warning("the process %s has ended without saying so: what it held is free", owner)
            await self._catch_up()
        except StoreError as error:
            self._gone(error)
            return
        if self.error is not None:
            log.warning("the shared state is back, and all that was spent meanwhile is counted")
            self.error = None

    async def aclose(self) -> None:
        """Pay what is owed, or write it down for the next process; then close all connections."""
        try:
            await self._pay()
            await self._shared.release(self._owner)
        except StoreError as error:
            self._gone(error)
        written = await asyncio.to_thread(self._owed.close)
        if self._owed and written:
            log.warning(
                "%d payments for what was spent while the shared state is away are written down in %s: the next "
                "process makes them",
                len(self._owed),
                self._owed.path,
            )
        elif self._owed:
            log.error("what was spent while the shared state is away is lost: %s", self._owed.sums())
        await self._shared.aclose()

    # --- the shared state ---

    async def _try(self, ask: Callable[[], Awaitable[Result]]) -> Result | None:
        """Ask the shared state. None: it is away."""
        if self.error is not None:
            return None
        try:
            return await ask()
        except StoreError as error:
            self._gone(error)
            return None

    def _gone(self, error: StoreError) -> None:
        if self.error is None:
            log.error("the shared state is away, limits are held by this process alone: %s", error)
        self.error = str(error)

    async def _reserve_there(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        name = self._name(hold)
        claims = [want._replace(known=self._alone.knows(want.counter)) for want in wants]
        verdict = await self._shared.reserve(name, claims, lease_s)
        if verdict.whole:
            return verdict
        async with self._refilling:  # many find out together
            verdict = await self._shared.reserve(name, claims, lease_s)
            if not verdict.whole:
                await self._refill(0)
                verdict = await self._shared.reserve(name, wants, lease_s)
        if not verdict.whole:
            raise StoreError("the shared state is empty, and was emptied again as soon as it was filled")
        return verdict

    async def _hold_again(self, names: Sequence[str]) -> None:
        """Make holds again that the shared state does not have, whatever the limits: they are under way."""
        for first in range(0, len(names), AT_ONCE):
            again = [name for name in names[first : first + AT_ONCE] if name in self._alone.held]
            self._alone.share(again)
            wants = [[want._replace(limit=None) for want in self._alone.held[name].wants] for name in again]
            calls = map(self._shared.reserve, map(self._name, again), wants, repeat(HOLD_S))
            results = await asyncio.gather(*calls, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException):
                    raise result

    async def _catch_up(self) -> None:
        """Pay, and tell the shared state of holds that it does not know. Meanwhile there may be more of both."""
        for _ in range(ROUNDS):
            await self._pay()
            unknown = [name for name, held in self._alone.held.items() if not held.shared]
            if not unknown and not self._owed:
                return
            await self._hold_again(unknown)

    async def _pay(self) -> None:
        """Make the payments that are owed. One of which only the answer was lost does not count twice."""
        while (payment := self._owed.first()) is not None:
            (name, spent), asked = payment, self._alone.answers
            try:
                self._alone.hear(await self._shared.settle(name, spent, keep_s=PAID_S), asked)
            except RefusedValueError as error:  # it never will: the others are not to wait for it
                log.error("a payment of %s is lost, the shared state does not take it: %s", spent, error)
            self._owed.paid(name)

    # --- a state that came back empty ---

    async def _refill(self, epoch: int) -> None:
        """Take up a state with another epoch than before. 0: it is empty, or it lost what was there."""
        first = not self._owed.epoch
        if first and epoch:
            await self._remember(epoch)
            return
        self._refilled_at = self._clock()
        told = await self._told(self._refilled_at - RECENT_S)
        if first and any((await self._shared.levels([*(told or {})])).values()):
            # It is as an older semroute left it.
            await self._remember(await self._shared.refill(_new_epoch(), {}))
            return
        asked, owed, payments = self._alone.answers, self._owed.sums(), self._owed.fix()
        spent = self._alone.at_least(told or {}, owed)
        found = await self._shared.refill(epoch or _new_epoch(), spent)
        self._alone.hear({counter: amount for counter, (amount, _) in spent.items()}, asked)
        if told is None:
            self._owed.forget(self._owed.counted(payments))
        else:
            self._owed.forget(payments)  # the log has all of them
        await self._remember(found)
        self._owed.keep(payments)
        self._refill_in = REFILL_AGAIN
        if not epoch and (spent or not first):
            log.warning(
                "the shared state came back empty: %d counters go on from what this process and the decision log know",
                len(spent),
            )

    async def _remember(self, epoch: int) -> None:
        await asyncio.to_thread(self._owed.remember, epoch)

    async def _refill_later(self) -> None:
        """Raise the counters to what the log has by now of requests that ended before the refill.

        Of those that ended later none is meant: who counted them while the state was away still has to pay for them.
        """
        told = await self._told(self._refilled_at)
        if told is None:
            self._refill_in = REFILL_AGAIN
        elif told:
            await self._shared.refill(self._owed.epoch, told)

    async def _told(self, before: float) -> Spent | None:
        """What the log says was spent by requests that ended before a moment. None: there is no telling."""
        told = await self._known(before) if self._known is not None else None
        return None if told is None else {name: each for name, each in told.items() if each[0]}

    def _name(self, hold: str) -> str:
        return f"{self._owner}/{hold}"


def _new_epoch() -> int:
    return 1 + secrets.randbelow(2**48)


async def _done(work: Awaitable[None]) -> bool:
    await work
    return True


async def _boxed(work: Awaitable[Result]) -> tuple[Result]:
    return (await work,)
