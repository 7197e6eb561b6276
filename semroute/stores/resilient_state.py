"""A shared state that may be unavailable. Meanwhile the process goes on alone. It reports its spend when the state is
back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import repeat
from pathlib import Path

from semroute.errors import RefusedValueError, StoreError
from semroute.stores.interfaces import HOLD_S, SETTLED_S, Beats, SharedState, Verdict, Want, filled_to, new_epoch
from semroute.stores.local_counters import LocalCounters
from semroute.stores.lost_counters import Knowledge
from semroute.stores.process_leases import LOOK_S, ProcessLeases
from semroute.stores.recent_counts import RecentCounts
from semroute.stores.state_fallback import FallbackValues, done
from semroute.stores.unpaid_spend import Spent, UnpaidSpend

Known = Callable[[float], Awaitable[Spent | None]]
"""Returns, by counter, what requests spent that ended before a moment, by the decision log. None: it cannot tell."""

log = logging.getLogger("semroute.state")

PAID_S = 40 * 86_400.0
"""Seconds for which the shared state remembers a payment: longer than any budget's period."""
AT_ONCE = 16
"""How many holds are made again at the same time."""
ROUNDS = 20
"""The most rounds of catching up. Each round handles what came up during the one before."""
RECENT_S = 1.0
"""A request that ended less than this many seconds ago may not be in the log yet, so it is counted again."""
KEPT_S = 5.0
"""Seconds for which counted spend is kept to count it again: `RECENT_S`, 1 s of rounding, and clock differences."""
OLD = 1
"""The epoch for a state that an older semroute left without one."""
PROBE = "probe"
"""The name of a claim that only asks whether counters are lost."""
REFILL_AGAIN = 5
"""How many looks after a refill the state is refilled again."""


class ResilientState(FallbackValues):
    """A `State` over a shared one.

    Call `run` in a task. It says that this process lives, and finds out whether the shared state is there. While that
    is unavailable, this process alone enforces limits, from the levels it last saw. The state counts as back when all
    that was spent meanwhile is paid, that is, counted by it.
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
        super().__init__(shared, clock)
        self._owner = secrets.token_hex(8)
        self._owners = ProcessLeases(self._owner)
        self._owed = UnpaidSpend(self._owner, file)
        self._known = known
        self._alone = LocalCounters(clock, self._owed.of)
        self._refilling = asyncio.Lock()
        self._refill_in = 0
        """How many looks remain until the state is refilled again. 0: no refill is due."""
        self._recent = RecentCounts()
        self._lost_holds = False
        """Whether the state came back empty and does not know yet what is held."""

    # --- holds ---

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float = HOLD_S) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room. Always call `settle` later."""
        if self.error is None:
            # Noted before the state is asked, so that `settle` also frees it if the caller leaves meanwhile.
            self._alone.begin(hold, wants, shared=True)
            asked, epoch = self._alone.answers, self._owed.epoch
            verdict = await self._try(lambda: self._reserve_there(self._name(hold), wants, lease_s))
            if verdict is not None:
                self._hear(verdict.spent, asked, epoch)
                if verdict.refused is not None:
                    self._alone.end(hold)
                return verdict
        return self._alone.reserve(hold, wants)

    async def settle(
        self, hold: str, spent: Mapping[str, tuple[int, float]], *, ended: float | None = None
    ) -> dict[str, int]:
        """Free a hold, and count what was spent."""
        ended = self._clock() if ended is None else ended
        held = self._alone.held.get(hold)
        if held is None and not any(amount for amount, _ in spent.values()):
            return {}
        if self.error is not None and not (held is not None and held.shared):
            self._alone.end(hold)
            self._owed.add(spent, ended)  # the shared state does not know this hold
            return {}
        wants = held.wants if held is not None else ()
        name, all_named = self._name(hold), {want.counter: (0, want.expires_at) for want in wants} | dict(spent)
        grown, asked, epoch, known = None, self._alone.answers, self._owed.epoch, self._known_of(spent)
        try:
            grown = await self._try(
                lambda: self._shared.count(name, all_named, keep_s=SETTLED_S, epoch=epoch, known=known)
            )
        finally:
            self._alone.end(hold)
            if grown is None:
                self._owed.put(name, all_named, ended, epoch)
            else:
                self._counted(epoch, ended, all_named)
        if grown is None:
            if self.error is None:  # the state came back empty or lost a counter
                await self._try(lambda: done(self._take_up()))
            return {}
        self._hear(grown, asked, epoch)
        return grown

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """Return what counters have reached, held amounts included."""
        levels = await self._try(lambda: self._shared.levels(counters))
        return levels if levels is not None else {name: self._alone.level(name) for name in counters}

    async def reset(self, counter: str) -> int:
        """Forget what was spent. Returns how much that was. Raises `StoreError` while the shared state is
        unavailable.
        """
        if self.error is not None:
            raise StoreError(f"the shared state is unavailable: {self.error}")
        spent = await self._shared.reset(counter)
        self._alone.forget(counter)
        return spent

    # --- the life of the process ---

    def frees_in_s(self) -> float:
        """The longest time in seconds until the holds of dead processes are freed. 0: no process is silent."""
        return self._owners.frees_in_s()

    async def start(self) -> None:
        """Take over what dead processes owe, and look at the shared state. If that is unavailable, go on without it."""
        if taken := await asyncio.to_thread(self._owed.take_over):
            log.warning(
                "took over %d amounts that an earlier process spent and the shared state has not counted yet", taken
            )
        await self.look()
        await asyncio.to_thread(self._owed.write)

    async def run(self) -> None:
        """Look at the shared state, and write down what is owed, again and again. Runs until it is cancelled."""
        async with asyncio.TaskGroup() as both:  # a look at a state that hangs takes seconds
            both.create_task(self._again(self.look))
            both.create_task(self._again(lambda: asyncio.to_thread(self._owed.write)))

    @staticmethod
    async def _again(do: Callable[[], Awaitable[object]]) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await do()

    async def look(self) -> None:
        """Say that this process lives, release dead processes, and use a state again that was unavailable."""
        try:
            epoch, now = self._owed.epoch, self._clock()
            self._alone.note(now)
            beats = await self._shared.beat(self._owner)
            async with self._refilling:
                if self._owed.epoch != epoch:
                    pass  # a request found that out meanwhile
                elif beats.epoch != epoch or not epoch or self._owed.outdated():
                    await self._refill(beats)
                else:
                    self._recent.keep(epoch, now - KEPT_S)
                    await self._refill_later()
            if self._owners.forgotten(beats) or self.error is not None or self._lost_holds:
                self._lost_holds = False
                await self._hold_again([*self._alone.held])
            for owner in self._owners.silent(beats):
                await self._shared.release(owner)
                log.warning("the process %s gives no sign of life any more: what it had reserved is free again", owner)
            await self._catch_up()
        except StoreError as error:
            self._gone(error)
            return
        if self.error is not None:
            log.warning("the shared state is back, and has counted all that was spent meanwhile")
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
                "the shared state is unavailable: %d amounts that it must still count are in %s for the next process",
                len(self._owed),
                self._owed.path,
            )
        elif self._owed:
            log.error("the shared state is unavailable, so this spend is never counted: %s", self._owed.sums(math.inf))
        await self._shared.aclose()

    # --- the shared state ---

    async def _reserve_there(self, name: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        claims = [want._replace(known=self._alone.knows(want.counter)) for want in wants]
        verdict = await self._shared.reserve(name, claims, lease_s)
        if verdict.whole:
            return verdict
        async with self._refilling:  # many requests find out together
            knowledge = self._knowledge(claims)
            verdict = await self._shared.reserve(name, claims, lease_s)
            if not verdict.whole:
                beats = await self._shared.beat(self._owner)
                if beats.epoch and beats.epoch == self._owed.epoch:
                    await self._restore(knowledge, [name for name in knowledge.heard if name not in verdict.spent])
                else:
                    await self._refill(beats)
                verdict = await self._shared.reserve(name, wants, lease_s)
        if not verdict.whole:
            raise StoreError("the shared state lost its data, and lost it again after it was filled: try again later")
        return verdict

    async def _hold_again(self, names: Sequence[str]) -> None:
        """Make holds again that the shared state does not have. Limits do not matter: the requests are under way."""
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
        """Pay, and make holds that the shared state does not know. Repeat, as more of both may come up meanwhile."""
        for _ in range(ROUNDS):
            await self._pay()
            unknown = [name for name, held in self._alone.held.items() if not held.shared]
            if not unknown and not self._owed:
                return
            await self._hold_again(unknown)

    async def _pay(self) -> None:
        """Make the payments that are owed. If only the answer to one was lost, it still counts once."""
        probed = None
        while (payment := self._owed.first()) is not None:
            (name, owed), asked = payment, self._alone.answers
            epoch, spent = owed.epoch or self._owed.epoch, owed.spent
            known = self._known_of(spent)
            try:
                grown = await self._shared.count(name, spent, keep_s=PAID_S, epoch=epoch, ended=owed.ended, known=known)
                if grown is None and known and name != probed:
                    probed = name
                    await self._probe({counter: spent[counter] for counter in known})
                    continue
                if grown is None:
                    raise StoreError("the shared state came back empty during a payment")
                self._hear(grown, asked, epoch)
                if self._owed.paid(name) is not None:
                    self._counted(epoch, owed.ended, spent)
            except RefusedValueError as error:  # it would fail again: the other payments must not wait for it
                log.error(
                    "the shared state refused a payment, so this spend is never counted: %s: %s",
                    spent,
                    error,
                )
                self._owed.paid(name)

    # --- a state that came back empty ---

    def _hear(self, spent: Mapping[str, int], asked: int, epoch: int) -> None:
        if epoch == self._owed.epoch:  # the report of a state that is gone by now tells nothing
            self._alone.hear(spent, asked)

    def _counted(self, epoch: int, ended: float, spent: Mapping[str, tuple[int, float]]) -> None:
        """Note that a state of this epoch counted what was spent. If that state is gone by now, owe it again."""
        if epoch == self._owed.epoch:
            self._recent.add(epoch, ended, spent)
        elif ended >= filled_to(self._owed.epoch):
            self._owed.add(spent, ended)

    async def _take_up(self) -> None:
        """Take up a state after a request found that it has another epoch."""
        epoch = self._owed.epoch
        async with self._refilling:
            if self._owed.epoch == epoch and (beats := await self._shared.beat(self._owner)).epoch != epoch:
                await self._refill(beats)
        await self._pay()

    async def _refill(self, beats: Beats) -> None:
        """Take up a state with another epoch than before. 0: it is empty, or lost its epoch alone.

        The epoch names a moment. For requests that ended before it, the state gets one sum for each counter, from the
        log or from what the lost state last reported. For later requests, each process owes again what the lost state
        had counted for it.
        """
        epoch = beats.epoch
        if not epoch and self._owners.known(beats) and self._owed.epoch:
            epoch = await self._shared.refill(self._owed.epoch, {})
            if epoch == self._owed.epoch:
                return
        first, empty = not self._owed.epoch, not epoch
        if first and epoch and (not self._owed or filled_to(epoch) == math.inf):
            await self._remember(epoch)
            return
        while True:
            epoch = epoch or new_epoch(self._clock() - RECENT_S)
            since, payments = filled_to(epoch), self._owed.fix(epoch)
            told = await self._told(since)
            if first and empty and any((await self._shared.levels([*(told or {})])).values()):
                # An older semroute left it like this.
                await self._remember(await self._shared.refill(OLD, {}))
                return
            counted = self._owed.counted(payments, since)
            spent = self._alone.at_least(told or {}, self._owed.sums(since), since) if since < math.inf else {}
            found = await self._shared.refill(epoch, spent)
            if found == epoch:
                break
            epoch = found  # another process was first
        self._owed.epoch = epoch  # a request that leaves must not end this halfway, so nothing is awaited from here on
        payments = self._owed.fix(epoch)
        self._owed.forget(counted if told is None else self._owed.before(payments, since))
        self._owed.keep(payments)
        for second, lost in self._recent.lost(epoch):
            if second >= since:
                self._owed.add(lost, second)
        self._alone.renew(spent)
        self._refill_in, self._lost_holds = REFILL_AGAIN, True
        if empty and (spent or not first):
            log.warning(
                "the shared state came back empty: restored %d counters from this process and the decision log",
                len(spent),
            )
        await self._remember(epoch)

    # --- a state that lost single counters ---

    def _known_of(self, spent: Mapping[str, tuple[int, float]]) -> list[str]:
        """Return those counters of a payment that the state must have, unless it lost them."""
        now = self._clock()
        return [name for name, (amount, end) in spent.items() if amount and end > now and self._alone.knows(name)]

    async def _probe(self, spent: Mapping[str, tuple[int, float]]) -> None:
        """Restore those of these counters that are lost. No room is ever enough for the claim, so nothing is held."""
        wants = [Want(counter, 0, -1, end) for counter, (_, end) in spent.items()]
        await self._reserve_there(self._name(PROBE), wants, HOLD_S)

    def _knowledge(self, claims: Sequence[Want]) -> Knowledge:
        since = int(self._clock() - RECENT_S)
        heard = {name: (self._alone.heard(name), end) for name, _, _, end, _ in claims if self._alone.knows(name)}
        return Knowledge(since, heard, self._recent.since(self._owed.epoch, since), self._owed.sums(since))

    async def _restore(self, knowledge: Knowledge, lost: Sequence[str]) -> None:
        """Fill counters that a state lost, though it is not empty."""
        by_log, by_report = knowledge.restored(lost, await self._told(knowledge.since) or {})
        await self._shared.refill(self._owed.epoch, by_report)
        await self._shared.refill(self._owed.epoch, by_log, since=knowledge.since)
        log.warning(
            "the shared state lost %d counters: restored them from this process and the decision log", len(lost)
        )

    async def _remember(self, epoch: int) -> None:
        await asyncio.to_thread(self._owed.remember, epoch)

    async def _refill_later(self) -> None:
        """Refill once more, some looks after a refill, with what has reached the log since then."""
        if not self._refill_in:
            return
        self._refill_in -= 1
        since = filled_to(self._owed.epoch)
        if self._refill_in or since == math.inf:
            return
        told = await self._told(since)
        if told is None:
            self._refill_in = REFILL_AGAIN
        elif told:
            await self._shared.refill(self._owed.epoch, told)

    async def _told(self, before: float) -> Spent | None:
        """Return what the log says was spent by requests that ended before a moment. None: the log cannot tell."""
        told = await self._known(before) if self._known is not None else None
        return None if told is None else {name: each for name, each in told.items() if each[0]}

    def _name(self, hold: str) -> str:
        return f"{self._owner}/{hold}"
