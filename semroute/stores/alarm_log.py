"""What alarms need of the decision log, and what they keep there.

One of the processes that share a database leads. It reads the log, and saves how far it has come.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from semroute.bases import Frozen
from semroute.stores import log_rows, rollups
from semroute.stores.interfaces import Database, Row, Session
from semroute.stores.leadership import Leadership, get, put

PAGE = 500
"""How many requests are read at once."""
_PROGRESS, _REFERENCE, _RESETS = "alarms.progress", "alarms.reference", "alarms.resets"
_SEEN = (
    "SELECT d.id, d.at, b.embedding, b.block, b.body FROM decisions d JOIN bodies b ON b.id = d.id "
    "WHERE d.id > ? AND d.id < ? ORDER BY d.id LIMIT ?"
)


class SeenRequest(NamedTuple):
    """What the alarm for drift needs of a logged request."""

    id: str
    at: float
    """When it came, in seconds since 1970."""
    embedding: bytes
    """Float16, little-endian. Empty: nothing was matched, or it was not kept."""
    encoder: str
    in_scope: float | None


class ScoresKey(NamedTuple):
    """Some scores: those of one tier and day from one source."""

    source: str
    """`feedback` or `judge`."""
    tier: str
    day: int

    @property
    def text(self) -> str:
        """Return it as one text."""
        return f"{self.source}/{self.tier}/{self.day}"


ScoreTotals = dict[ScoresKey, tuple[int, int]]
"""How many scores there are, and their sum in millionths."""


class Saved(NamedTuple):
    """What the leader saved."""

    progress: bytes
    """Empty: nothing yet. The next field likewise."""
    reference: bytes
    resets: int
    """How many times somebody asked for a new beginning."""


class _Decision(Frozen, frozen=True, kw_only=True):
    in_scope: float | None = None


class _Body(Frozen, frozen=True, kw_only=True):
    decision: _Decision
    encoder: str = ""


_decode_block = msgspec.msgpack.Decoder(dict[str, _Body]).decode
_decode_body = msgspec.msgpack.Decoder(_Body).decode


class AlarmLog:
    """The alarms of one process in SQL. Its methods block, so call them in threads. Each raises `StoreError`."""

    def __init__(self, database: Database, owner: str) -> None:
        """`owner`: the name of this process, which no other has."""
        self._database = database
        self._leadership = Leadership(database, "alarms", owner)
        self.lead, self.resign = self._leadership.lead, self._leadership.resign

    def saved(self) -> Saved:
        """Return what the leader saved last."""
        with self._database.transaction(write=False) as session:
            found: dict[str, bytes] = dict(session.run("SELECT name, data FROM progress"))
        return Saved(bytes(found.get(_PROGRESS, b"")), bytes(found.get(_REFERENCE, b"")), int(found.get(_RESETS, b"0")))

    def progress(self) -> bytes:
        """Return the progress that the leader saved last, without the reference."""
        with self._database.transaction(write=False) as session:
            return get(session, _PROGRESS)

    def resets(self) -> int:
        """Return how many times somebody asked for a new beginning."""
        with self._database.transaction(write=False) as session:
            return int(get(session, _RESETS) or b"0")

    def save(self, progress: bytes, reference: bytes | None) -> bool:
        """Save how far the leader has come. False: another process leads by now, and nothing is saved.

        `reference`: None if it has not changed.
        """
        with self._database.transaction() as session:
            if not self._leadership.held(session):
                return False
            put(session, _PROGRESS, progress)
            if reference is not None:
                put(session, _REFERENCE, reference)
        return True

    def reset(self) -> None:
        """Ask the leader for a new beginning."""
        with self._database.transaction() as session:
            session.lock([_RESETS])
            put(session, _RESETS, b"%d" % (int(get(session, _RESETS) or b"0") + 1))

    def id_before_last(self, count: int, until: float) -> str:
        """Return the id before the last requests that came before a moment. Empty: there are no more."""
        with self._database.transaction(write=False) as session:
            sql = "SELECT id FROM decisions WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            rows = session.run(sql, (_id_at(until), count))
        return str(rows[0][0]) if rows else ""

    def requests(self, after: str, until: float) -> list[SeenRequest]:
        """Return the next requests behind an id that came before a moment, oldest first: at most `PAGE`."""
        with self._database.transaction(write=False) as session:
            rows = session.run(_SEEN, (after, _id_at(until), PAGE))
            names = sorted({row[3] for row in rows if row[3] is not None})
            blocks = {name: _block(data) for name, data in _blocks(session, names)}
        return [_seen(row, blocks) for row in rows]

    def scores(self, since_day: int) -> ScoreTotals:
        """Return what the scores since a day come to."""
        metrics = {metric: found for found in SOURCES.values() for metric in found}
        marks = ", ".join("?" * len(metrics))
        sql = f"SELECT value, day, metric, n FROM rollups WHERE dimension = 'tier' AND day >= ? AND metric IN ({marks})"
        with self._database.transaction(write=False) as session:
            rows = session.run(sql, (since_day, *metrics))
        cells = {(tier, int(day), int(metric)): int(n) for tier, day, metric, n in rows}
        return {
            ScoresKey(source, tier, day): (n, cells.get((tier, day, sum_metric), 0))
            for source, (count_metric, sum_metric) in SOURCES.items()
            for (tier, day, metric), n in sorted(cells.items())
            if metric == count_metric and tier
        }


SOURCES = {
    "feedback": (rollups.TOTALS["feedbacks"], rollups.TOTALS["score_millionths"]),
    "judge": (rollups.TOTALS["judged"], rollups.TOTALS["judged_millionths"]),
}
"""Where scores come from, and the totals that count and sum them up."""


def _id_at(at: float) -> str:
    """Return the first id of a moment. Ids begin with their time in milliseconds."""
    return f"{max(0, int(at * 1000)):012x}"


def _blocks(session: Session, names: list[str]) -> list[Row]:
    if not names:
        return []
    return session.run(f"SELECT id, data FROM blocks WHERE id IN ({', '.join('?' * len(names))})", names)


def _block(data: bytes) -> dict[str, _Body]:
    """Return the bodies of a block. A block that cannot be read has none: its requests are left out."""
    try:
        return _decode_block(log_rows.unpacked(data))
    except log_rows.UNREADABLE:
        return {}


def _seen(row: Row, blocks: dict[str, dict[str, _Body]]) -> SeenRequest:
    id_, at, embedding, block, alone = row
    body: _Body | None
    if block is not None:
        body = blocks.get(block, {}).get(id_)
    else:
        try:
            body = _decode_body(log_rows.unpacked(alone))
        except log_rows.UNREADABLE:
            body = None
    if body is None:
        return SeenRequest(id_, at, b"", "", None)
    return SeenRequest(id_, at, bytes(embedding or b""), body.encoder, body.decision.in_scope)
