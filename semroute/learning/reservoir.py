"""Draw a random part of a stream of any length, each item with the same chance (Vitter 1985, algorithm R)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Reservoir(Generic[Item]):
    """The part that was drawn so far: at most `most` items."""

    def __init__(self, most: int, chance: random.Random) -> None:
        """`chance`: draws. Several reservoirs may share one."""
        self.kept: list[Item] = []
        self.seen = 0
        """How many items were offered."""
        self._most = most
        self._chance = chance

    def offer(self, make: Callable[[], Item]) -> None:
        """Offer an item. `make`: returns it, and is called only if it is drawn."""
        self.seen += 1
        if len(self.kept) < self._most:
            self.kept.append(make())
        elif (place := self._chance.randrange(self.seen)) < self._most:
            self.kept[place] = make()
