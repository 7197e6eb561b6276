"""Choose one of the processes that share a database for work in the background, and keep how far it has come.

The process that leads counts up a beat with each look. A process that saw the same beat several times in a row takes
over. No clock is compared.
"""

from __future__ import annotations

import msgspec

from semroute.bases import Frozen
from semroute.stores.interfaces import Database, Session

SILENT_LOOKS = 3
"""If the leader is silent for so many looks, another process takes over."""
_PUT = "INSERT INTO progress (name, data) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET data = excluded.data"


class _Leader(Frozen, frozen=True, kw_only=True):
    owner: str = ""
    beat: int = 0


class Leadership:
    """One kind of work, as one process sees it. Its methods block. Each raises `StoreError`."""

    def __init__(self, database: Database, work: str, owner: str) -> None:
        """`work`: what is to be done. `owner`: the name of this process, which no other has."""
        self._database = database
        self._name = f"{work}.leader"
        self._owner = owner
        self._last: _Leader | None = None
        self._silent = 0

    def lead(self) -> bool:
        """Count one look, and return whether this process leads from now on."""
        with self._database.transaction() as session:
            leader = self._leader(session)
            self._silent = self._silent + 1 if leader == self._last else 0
            leads = leader.owner in ("", self._owner) or self._silent >= SILENT_LOOKS
            if leads:
                leader = _Leader(owner=self._owner, beat=leader.beat + 1)
                put(session, self._name, msgspec.msgpack.encode(leader))
        self._last = leader
        return leads

    def resign(self) -> None:
        """Let another process lead at once."""
        with self._database.transaction() as session:
            leader = self._leader(session)
            if leader.owner == self._owner:
                put(session, self._name, msgspec.msgpack.encode(_Leader(beat=leader.beat + 1)))

    def held(self, session: Session) -> bool:
        """Return whether this process still leads. It does until the transaction ends."""
        return self._leader(session).owner == self._owner

    def _leader(self, session: Session) -> _Leader:
        session.lock([self._name])
        found = get(session, self._name)
        return msgspec.msgpack.decode(found, type=_Leader) if found else _Leader()


def get(session: Session, name: str) -> bytes:
    """Return what is kept under a name. Empty: nothing is."""
    rows = session.run("SELECT data FROM progress WHERE name = ?", (name,))
    return bytes(rows[0][0]) if rows else b""


def put(session: Session, name: str, data: bytes) -> None:
    """Keep something under a name."""
    session.run(_PUT, (name, data))
