"""What the shared state counted for one process a moment ago. If the state comes back empty, this is owed again.

Older spend is in the decision log, from which an empty state is filled.
"""

from __future__ import annotations

from collections.abc import Mapping

from semroute.stores.unpaid_spend import Spent


class RecentCounts:
    """What requests spent, by the state's epoch and the second in which they ended."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, int], Spent] = {}

    def add(self, epoch: int, ended: float, spent: Mapping[str, tuple[int, float]]) -> None:
        """Note that a state of this epoch counted what was spent."""
        sums = self._spent.setdefault((epoch, int(ended)), {})
        for counter, (amount, end) in spent.items():
            if amount:
                sums[counter] = sums.get(counter, (0, 0.0))[0] + amount, end

    def since(self, epoch: int, moment: int) -> Spent:
        """Return what a state of this epoch counted for requests that ended since a moment."""
        sums: Spent = {}
        for spent in [spent for (of, second), spent in self._spent.items() if of == epoch and second >= moment]:
            for counter, (amount, end) in spent.items():
                sums[counter] = sums.get(counter, (0, 0.0))[0] + amount, end
        return sums

    def keep(self, epoch: int, since: float) -> None:
        """Forget what ended before a moment. The state still has this epoch, so that is never owed again."""
        self._spent = {key: spent for key, spent in self._spent.items() if key[0] != epoch or key[1] >= since}

    def lost(self, epoch: int) -> list[tuple[int, Spent]]:
        """Return, once, what states of other epochs had counted, and when those requests ended."""
        found = [(second, spent) for (of, second), spent in self._spent.items() if of != epoch]
        self._spent = {key: spent for key, spent in self._spent.items() if key[0] == epoch}
        return found
