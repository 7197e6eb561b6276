"""What one process knows of counters: what its own requests hold, and what the shared state last reported as spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from semroute.stores.interfaces import Verdict, Want

MAX_COUNTERS = 10_000
MOMENTS = 5
"""How many reports of the shared state are remembered, one for each second."""


class HeldAmounts(NamedTuple):
    """What one request of this process holds."""

    wants: Sequence[Want]
    shared: bool
    """Whether the shared state may know of this hold."""


class _Told(NamedTuple):
    spent: int
    at: int
    """The number of the answer that reported it."""


class LocalCounters:
    """Counters as this process knows them. While the shared state is unavailable, these enforce the limits."""

    def __init__(self, clock: Callable[[], float], owes: Callable[[str], int]) -> None:
        """`owes`: returns how much was spent of a counter that the shared state has not counted yet."""
        self._clock = clock
        self._owes = owes
        self.held: dict[str, HeldAmounts] = {}
        """What the requests under way hold, by the name of the hold."""
        self._sums: dict[str, int] = {}
        """What the requests under way hold, by counter."""
        self._told: dict[str, _Told] = {}
        self._before: list[tuple[float, dict[str, int]]] = []
        """What the shared state reported at some earlier moments, oldest first."""
        self._ends: dict[str, float] = {}
        self.answers = 0
        """How many answers of the shared state have come."""

    def level(self, counter: str) -> int:
        """Return what a counter has reached, as far as this process knows."""
        told = self._told.get(counter)
        return (told.spent if told is not None else 0) + self._owes(counter) + self._sums.get(counter, 0)

    def knows(self, counter: str) -> bool:
        """Return whether the shared state had this counter."""
        return counter in self._told

    def heard(self, counter: str) -> int:
        """Return what the shared state last reported as spent of a counter that it had."""
        return self._told[counter].spent

    def begin(self, hold: str, wants: Sequence[Want], *, shared: bool) -> None:
        """Note that a request holds something."""
        self.end(hold)
        self.held[hold] = HeldAmounts(wants, shared)
        for want in wants:
            self._sums[want.counter] = self._sums.get(want.counter, 0) + want.amount
            self._ends[want.counter] = want.expires_at

    def end(self, hold: str) -> HeldAmounts | None:
        """Note that a request holds nothing any more. Returns what it held."""
        held = self.held.pop(hold, None)
        for want in held.wants if held is not None else ():
            left = self._sums.get(want.counter, 0) - want.amount
            if left:
                self._sums[want.counter] = left
            else:  # gone already if another hold has an amount of 0
                self._sums.pop(want.counter, None)
        return held

    def share(self, holds: Iterable[str]) -> None:
        """Note that the shared state may know of these holds from now on."""
        for hold in holds:
            self.held[hold] = self.held[hold]._replace(shared=True)

    def note(self, moment: float) -> None:
        """Remember what is reported as spent now. `moment`: no later than any report that is still to come."""
        told = {counter: each.spent for counter, each in self._told.items()}
        if not self._before or self._before[-1][1] != told:
            self._before = [*self._before[1 - MOMENTS :], (moment, told)]

    def renew(self, spent: Mapping[str, tuple[int, float]]) -> None:
        """Start again from what the shared state was filled with after it came back empty."""
        self.answers += 1
        self._told = {counter: _Told(amount, self.answers) for counter, (amount, _) in spent.items()}

    def forget(self, counter: str) -> None:
        """Forget the reports about a counter that was reset."""
        self._told.pop(counter, None)

    def hear(self, spent: Mapping[str, int], asked: int) -> None:
        """Take in what the shared state reports as spent. `asked`: how many answers had come when it was asked.

        Answers may overtake one another. Spend only grows, except after a reset. So among answers that were under way
        together, the highest is the latest.
        """
        self.answers += 1
        for counter, amount in spent.items():
            old = self._told.get(counter)
            if old is not None and old.at > asked:
                amount = max(amount, old.spent)
            self._told[counter] = _Told(amount, self.answers)
        if len(self._ends) > MAX_COUNTERS:
            now = self._clock()
            for name in [name for name, end in self._ends.items() if end <= now]:
                self._told.pop(name, None)
                del self._ends[name]

    def reserve(self, hold: str, wants: Sequence[Want]) -> Verdict:
        """Hold amounts as a shared state would, by what this process alone knows."""
        before = self.end(hold)
        maybe_there = before is not None and before.shared
        levels = {want.counter: self.level(want.counter) for want in wants}
        for want in wants:
            if want.limit is not None and levels[want.counter] + want.amount > want.limit:
                if maybe_there:  # `settle` frees it
                    self.begin(hold, [each._replace(amount=0) for each in wants], shared=True)
                return Verdict(want.counter, levels, levels)
        self.begin(hold, wants, shared=maybe_there)
        return Verdict(None, levels, levels)

    def at_least(
        self, told: Mapping[str, tuple[int, float]], owed: Mapping[str, tuple[int, float]], moment: float
    ) -> dict[str, tuple[int, float]]:
        """Return a lower bound of what was spent before a moment.

        It follows from the log, and from the last reports plus what is owed.
        """
        spent, now = dict(told), self._clock()
        heard = next((heard for at, heard in reversed(self._before) if at <= moment), {})
        for counter in {*self._told, *owed}:
            amount, end = owed.get(counter, (0, self._ends.get(counter, 0.0)))
            if counter in self._told:  # after a reset, the last report is below the earlier one
                amount += min(self._told[counter].spent, heard.get(counter, 0))
            if amount > spent.get(counter, (0, 0.0))[0] and end > now:
                spent[counter] = amount, end
        return spent
