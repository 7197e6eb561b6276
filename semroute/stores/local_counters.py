"""What one process knows of counters by itself: what its own requests hold, and what the shared state told as spent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from semroute.stores.interfaces import Verdict, Want

MAX_COUNTERS = 10_000
MOMENTS = 5
"""Of so many moments, one a second, it is remembered what was told."""


class Held(NamedTuple):
    """What one request of this process holds."""

    wants: Sequence[Want]
    shared: bool
    """Whether the shared state may know of it."""


class _Told(NamedTuple):
    spent: int
    at: int
    """The number of the answer that told."""


class Alone:
    """Counters as this process knows them. While the shared state is away, they hold the limits."""

    def __init__(self, clock: Callable[[], float], owes: Callable[[str], int]) -> None:
        """`owes`: how much of a counter was spent that the shared state has not counted."""
        self._clock = clock
        self._owes = owes
        self.held: dict[str, Held] = {}
        """What is under way, by hold."""
        self._sums: dict[str, int] = {}
        """The same, by counter."""
        self._told: dict[str, _Told] = {}
        self._before: list[tuple[float, dict[str, int]]] = []
        """What was told some moments ago, oldest first."""
        self._ends: dict[str, float] = {}
        self.answers = 0
        """How many answers of the shared state were heard."""

    def level(self, counter: str) -> int:
        """What a counter has reached, as far as is known here."""
        told = self._told.get(counter)
        return (told.spent if told is not None else 0) + self._owes(counter) + self._sums.get(counter, 0)

    def knows(self, counter: str) -> bool:
        """Whether the shared state had this counter."""
        return counter in self._told

    def begin(self, hold: str, wants: Sequence[Want], *, shared: bool) -> None:
        """A request holds something."""
        self.end(hold)
        self.held[hold] = Held(wants, shared)
        for want in wants:
            self._sums[want.counter] = self._sums.get(want.counter, 0) + want.amount
            self._ends[want.counter] = want.expires_at

    def end(self, hold: str) -> Held | None:
        """A request holds nothing any more. Returns what it held."""
        held = self.held.pop(hold, None)
        for want in held.wants if held is not None else ():
            left = self._sums.get(want.counter, 0) - want.amount
            if left:
                self._sums[want.counter] = left
            else:  # others may still hold nothing of it
                self._sums.pop(want.counter, None)
        return held

    def share(self, holds: Iterable[str]) -> None:
        """The shared state is told of holds."""
        for hold in holds:
            self.held[hold] = self.held[hold]._replace(shared=True)

    def note(self, moment: float) -> None:
        """Keep in mind what is told now. `moment`: not after anything that is heard from here on."""
        told = {counter: each.spent for counter, each in self._told.items()}
        if not self._before or self._before[-1][1] != told:
            self._before = [*self._before[1 - MOMENTS :], (moment, told)]

    def renew(self, spent: Mapping[str, tuple[int, float]]) -> None:
        """The shared state came back empty, and was filled with this."""
        self.answers += 1
        self._told = {counter: _Told(amount, self.answers) for counter, (amount, _) in spent.items()}

    def forget(self, counter: str) -> None:
        """A counter was reset: what was told before says nothing."""
        self._told.pop(counter, None)

    def hear(self, spent: Mapping[str, int], asked: int) -> None:
        """The shared state told what is spent of counters. `asked`: how many answers there were when it was asked.

        Answers overtake one another. What is spent only grows but for a reset, so of those that were under way together
        the highest is the last.
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
        """As a shared state does, by what this process knows."""
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
        """What was spent at least before a moment: by the log, and by what the shared state told with what is owed."""
        spent, now = dict(told), self._clock()
        heard = next((heard for at, heard in reversed(self._before) if at <= moment), {})
        for counter in {*self._told, *owed}:
            amount, end = owed.get(counter, (0, self._ends.get(counter, 0.0)))
            if counter in self._told:  # less than before: it was reset
                amount += min(self._told[counter].spent, heard.get(counter, 0))
            if amount > spent.get(counter, (0, 0.0))[0] and end > now:
                spent[counter] = amount, end
        return spent
