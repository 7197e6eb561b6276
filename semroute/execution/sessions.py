"""Which route and model a conversation is on, for as long as it goes on."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from semroute.routing.sticky import Remembered

IDLE_S = 3600.0
"""A conversation that says nothing for so long is forgotten: providers have dropped its prompt cache long before."""
MAX_SESSIONS = 50_000
"""About 20 MB; the one silent for longest makes way."""


class SessionStore(Protocol):
    """Remembers conversations. Does not block."""

    def get(self, session: str) -> Remembered | None:
        """Where the conversation is; null: not known, or not any more."""
        ...

    def put(self, session: str, remembered: Remembered) -> None:
        """Remember where it went."""
        ...


class Sessions:
    """A `SessionStore` in this process's memory: bounded, and forgetful."""

    def __init__(
        self, *, idle_s: float = IDLE_S, limit: int = MAX_SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock`: seconds that only grow."""
        self._idle_s, self._limit, self._clock = idle_s, limit, clock
        self._known: OrderedDict[str, tuple[float, Remembered]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, session: str) -> Remembered | None:
        """Where the conversation is; null: not known, or silent for too long."""
        since, remembered = self._known.get(session, (0.0, None))
        if remembered is not None and self._clock() - since > self._idle_s:
            del self._known[session]
            return None
        return remembered

    def put(self, session: str, remembered: Remembered) -> None:
        """Remember where it went; forget who has been silent for longest where there are too many."""
        self._known[session] = (self._clock(), remembered)
        self._known.move_to_end(session)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)
