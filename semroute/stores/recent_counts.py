"""What the shared state has counted for one process a moment ago: should it come back empty, that is owed again.

What is older is in the decision log when an empty state is filled from it.
"""

from __future__ import annotations

from collections.abc import Mapping

from semroute.stores.unpaid_spend import Spent


class Recent:
    """By the state's epoch and the second in which requests ended: what they spent."""

    def __init__(self) -> None:
        self._spent: dict[tuple[int, int], Spent] = {}

    def add(self, epoch: int, ended: float, spent: Mapping[str, tuple[int, float]]) -> None:
        """A state counted what was spent."""
        sums = self._spent.setdefault((epoch, int(ended)), {})
        for counter, (amount, end) in spent.items():
            if amount:
                sums[counter] = sums.get(counter, (0, 0.0))[0] + amount, end

    def keep(self, epoch: int, since: float) -> None:
        """The state still has this epoch: of what ended before a moment nothing can be owed again."""
        self._spent = {key: spent for key, spent in self._spent.items() if key[0] != epoch or key[1] >= since}

    def lost(self, epoch: int) -> list[tuple[int, Spent]]:
        """What a state of another epoch had counted, and when that ended. It is told once."""
        found = [(second, spent) for (of, second), spent in self._spent.items() if of != epoch]
        self._spent = {key: spent for key, spent in self._spent.items() if key[0] == epoch}
        return found
