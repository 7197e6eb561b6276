"""Draw a random part of rows, each row with the same chance, whatever their order.

Each row gets a number made of its id and a seed. The rows with the smallest numbers are drawn. So two parts of a log
can be read apart, on two machines: the sample of both together is drawn from the two samples, and is the same as if one
machine had read all rows. This is known as a bottom-k sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import msgspec

Item = TypeVar("Item")
_ABOVE_ALL = 2**63


class Drawn(NamedTuple, Generic[Item]):
    """An item that was drawn so far."""

    number: int
    """What decides who is drawn: from 0 to 2**63 - 1."""
    place: int
    """How many items were offered before it."""
    item: Item


class Reservoir(msgspec.Struct, Generic[Item], kw_only=True):
    """The part that was drawn so far."""

    most: int
    """The most items that are drawn."""
    seed: int = 0
    """Another seed draws other items."""
    seen: int = 0
    """How many items were offered."""
    drawn: list[Drawn[Item]] = []
    """Up to twice `most`, so that they need not be sorted for each new one."""
    below: int = _ABOVE_ALL
    """An item with this number or a larger one has no chance any more."""

    @property
    def kept(self) -> list[Item]:
        """Return the items that were drawn, in the order in which they were offered."""
        self._drop()
        return [one.item for one in sorted(self.drawn, key=lambda one: one.place)]

    def offer(self, id: str, make: Callable[[], Item]) -> None:
        """Offer an item. `make`: returns it, and is called only if it may be drawn.

        Of items with the same `id`, the earlier ones are drawn first.
        """
        number = _number(id, self.seed)
        if number < self.below:
            self.drawn.append(Drawn(number, self.seen, make()))
            if len(self.drawn) >= 2 * self.most:
                self._drop()
        self.seen += 1

    def merge(self, later: Reservoir[Item]) -> None:
        """Add the sample of rows that came later. It must have the same `most` and the same seed."""
        self.drawn += [one._replace(place=one.place + self.seen) for one in later.drawn]
        self.seen += later.seen
        self._drop()

    def _drop(self) -> None:
        """Keep only those with the smallest numbers."""
        if len(self.drawn) >= self.most:
            self.drawn.sort()
            del self.drawn[self.most :]
            self.below = self.drawn[-1].number if self.drawn else 0


def _number(id: str, seed: int) -> int:
    digest = hashlib.blake2b(f"{seed}:{id}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
