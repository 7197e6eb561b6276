"""Remember the route and the model of each conversation."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

import msgspec

from semroute.routing.sticky import Remembered
from semroute.stores.interfaces import State

IDLE_S = 3600.0
"""Seconds without a request, after which a conversation is forgotten. By then, no provider caches its prompt."""
MAX_SESSIONS = 50_000
"""The most conversations, which take about 20 MB. Above that, the one that was silent for longest is forgotten."""


class SessionStore(Protocol):
    """Remembers conversations."""

    async def get(self, session: str) -> Remembered | None:
        """Return where the conversation is. None: not known, or forgotten."""
        ...

    async def put(self, session: str, remembered: Remembered) -> None:
        """Remember where the conversation went."""
        ...


class Sessions:
    """A `SessionStore` in this process's memory. It is bounded."""

    def __init__(
        self, *, idle_s: float = IDLE_S, limit: int = MAX_SESSIONS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock`: returns seconds, and never goes back."""
        self._idle_s, self._limit, self._clock = idle_s, limit, clock
        self._known: OrderedDict[str, tuple[float, Remembered]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    async def get(self, session: str) -> Remembered | None:
        """Return where the conversation is. None: not known, or silent for too long."""
        since, remembered = self._known.get(session, (0.0, None))
        if remembered is not None and self._clock() - since > self._idle_s:
            del self._known[session]
            return None
        return remembered

    async def put(self, session: str, remembered: Remembered) -> None:
        """Remember where the conversation went. If there are too many, forget the one that was silent for longest."""
        self._known[session] = (self._clock(), remembered)
        self._known.move_to_end(session)
        if len(self._known) > self._limit:
            self._known.popitem(last=False)


class SharedSessions:
    """A `SessionStore` that all processes share. So a conversation stays on its model, whichever process answers."""

    def __init__(self, state: State, own: Sessions | None = None) -> None:
        """`own`: the conversations of this process, in case the shared state has lost them."""
        self._state = state
        self._own = Sessions() if own is None else own

    async def get(self, session: str) -> Remembered | None:
        """Return where the conversation is. None: not known, or silent for too long."""
        found = await self._state.get(_key(session))
        try:
            return await self._own.get(session) if found is None else msgspec.json.decode(found, type=Remembered)
        except msgspec.MsgspecError:  # another version wrote it
            return None

    async def put(self, session: str, remembered: Remembered) -> None:
        """Remember where the conversation went."""
        await self._own.put(session, remembered)
        await self._state.put(_key(session), msgspec.json.encode(remembered), IDLE_S)


def _key(session: str) -> str:
    # Callers choose the name, and may use the name of a person.
    return f"session:{hashlib.sha256(session.encode('utf-8', 'surrogatepass')).hexdigest()[:40]}"
