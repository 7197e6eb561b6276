"""Find out which of the processes that share a state still live.

Each process says once a second that it lives, and counts in how many of its looks the others said nothing. It counts
looks, not seconds. So no process is taken for dead because of a clock, or because the state was unavailable for all of
them.
"""

from __future__ import annotations

import math

from semroute.stores.interfaces import LOST_BEATS, Beats

LOOK_S = 1.0
SILENT_LOOKS = 6
"""An owner that is silent for this many looks counts as dead. If it still lives, it makes its holds again."""


class _Seen:
    def __init__(self, count: int) -> None:
        self.count = count
        self.silent = 0
        self.spoke = False
        """Whether it said anything since this process began to listen."""


class ProcessLeases:
    """All owners, as one of them sees them."""

    def __init__(self, mine: str) -> None:
        self._mine = mine
        self._count: float = 0
        self._others: dict[str, _Seen] = {}

    def forgotten(self, beats: Beats) -> bool:
        """Return whether the state forgot this owner or may have lost its holds since the last look."""
        before, self._count = self._count, beats.owners.get(self._mine, 0)
        return self._count <= before or self._count >= before + LOST_BEATS

    def known(self, beats: Beats) -> bool:
        """Return whether the state still knows this owner, so that it cannot have been emptied since the last look."""
        if 0 < self._count < beats.owners.get(self._mine, 0):
            return True
        self._count = math.inf  # until the next look, more beats must not look as if the state had kept the first ones
        return False

    def silent(self, beats: Beats) -> list[str]:
        """Count one look. Returns the owners that have been silent for too long."""
        others = {name: count for name, count in beats.owners.items() if name != self._mine}
        self._others = {name: seen for name, seen in self._others.items() if name in others}
        for name, count in others.items():
            seen = self._others.setdefault(name, _Seen(count))
            if seen.count != count:
                seen.count, seen.silent, seen.spoke = count, 0, True
            else:
                seen.silent += 1
        return [name for name, seen in self._others.items() if seen.silent > SILENT_LOOKS]

    def frees_in_s(self) -> float:
        """The longest time in seconds until the holds of silent owners are freed. 0: no owner is silent."""
        silent = [seen.silent for seen in self._others.values() if seen.silent > 1 or not seen.spoke]
        return max((SILENT_LOOKS + 1 - looks for looks in silent), default=0) * LOOK_S
