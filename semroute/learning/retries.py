"""Find requests that look like a retry: the same user asks nearly the same again, soon after the answer. Pure.

This is weak evidence that the answer was not good enough. Somebody may also just like to see another one.

- Only users and conversations count. Behind a key alone there may be many people.
- A request that began before the answer had ended is no retry, and neither is one after a failure.
- An agent that calls tools sends the same ask again and again, with more and more input. So the very same ask counts
  only with the same input, as when a user lets the answer be made anew.

No text is kept: only the vectors of the last asks, for some minutes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import NamedTuple

from semroute.learning.unit_vectors import unit_vector
from semroute.routing.scoring import Floats
from semroute.stores.misroutes import LoggedAsk

NEAR = 0.95
"""The cosine from which on two asks are nearly the same. With the embedded encoder, other words for the same ask have
.96 to .99. So does the same ask with another day, which counts wrongly."""
SAME = 0.9995
"""The cosine from which on two asks are the same. The encoder's rounding takes the rest."""
SAME_INPUT = 0.02
"""How much the input of a request that is made anew may differ, as a share of it."""
LAST = 3
"""How many asks of a user are remembered."""
MAX_USERS = 10_000
"""The most users. Above that, the one who was silent for longest is forgotten. They take about 50 MB."""


class _Asked(NamedTuple):
    ask: LoggedAsk
    vector: Floats


class Retries:
    """Remembers the last asks of users."""

    def __init__(self, within_s: float) -> None:
        """`within_s`: how many seconds after an answer a request may be its retry."""
        self.within_s = within_s
        self._asked: OrderedDict[str, deque[_Asked]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked)

    def see(self, ask: LoggedAsk) -> str | None:
        """Take in the next request, in the order in which they came. Returns the id of the one that it tries again."""
        vector = unit_vector(ask.embedding)
        if vector is None or not ask.unit.startswith(("u", "s")):
            return None
        before = self._asked.setdefault(ask.unit, deque(maxlen=LAST))
        self._asked.move_to_end(ask.unit)
        if len(self._asked) > MAX_USERS:
            self._asked.popitem(last=False)
        found = next((one.ask.id for one in reversed(before) if self._is_retry(one, ask, vector)), None)
        before.append(_Asked(ask, vector))
        return found

    def _is_retry(self, before: _Asked, ask: LoggedAsk, vector: Floats) -> bool:
        earlier = before.ask
        if not earlier.answered or not 0 <= ask.at - earlier.ended <= self.within_s:
            return False
        if len(before.vector) != len(vector):  # another encoder
            return False
        likeness = float(before.vector @ vector)
        if likeness < SAME:
            return likeness >= NEAR
        return abs(ask.input_tokens - earlier.input_tokens) <= SAME_INPUT * earlier.input_tokens
