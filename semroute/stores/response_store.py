"""Answers of the Responses API that later requests build on. Each is kept for some hours, for the key that asked.

All data is compressed but not encrypted: whoever can read the database can read the answers.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterable, Sequence

from semroute.bases import Frozen
from semroute.errors import PayloadTooLargeError
from semroute.stores.interfaces import Database, Row, Session

MAX_COUNT = 1000
"""The most responses that are kept for one owner. The oldest are deleted first."""
MAX_BYTES = 64 * 1024 * 1024
"""The most bytes that all responses of one owner may take, compressed."""
MAX_ONE_BYTES = 16 * 1024 * 1024
"""The most bytes that one response may take, compressed. A larger one is not kept."""
MAX_ALL_BYTES = 1024 * 1024 * 1024
"""The most bytes that the responses of all owners may take together, compressed."""
SPARE = 16
"""How many more than needed are deleted, so that the search for the oldest does not run each time."""
ALL_EVERY = 50
"""After keeping this many responses, a process checks how much all of them take together."""
AT_ONCE = 500
"""The most rows that one statement names or deletes."""


class KeptResponse(Frozen, frozen=True, kw_only=True):
    """One response."""

    id: str
    response: bytes
    """The `response` object without its output, as JSON."""
    asked: bytes
    """The items of the conversation that it answered, oldest first, as a JSON list."""
    output: tuple[tuple[str, bytes], ...]
    """Its own items in order, each with its id and as JSON."""


class ResponseStore:
    """The responses in the database. Its methods block. Each raises `StoreError`.

    Only the owner of a response can read it. For others, its id does not exist.
    """

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._kept = 0

    def keep(self, owner: str, kept: KeptResponse, ttl_s: float) -> bool:
        """Keep a response for some time. False: it is too large, or its ids are not valid."""
        response, asked = _pack(kept.response), _pack(kept.asked)
        items = [(id_, _pack(item)) for id_, item in kept.output]
        size = len(response) + len(asked) + sum(len(item) for _, item in items)
        if size > MAX_ONE_BYTES or not all(map(_can_be, (kept.id, *(id_ for id_, _ in items)))):
            return False
        now = self._clock()
        self._kept += 1
        with self._database.transaction() as session:
            session.lock(["kept", f"kept:{owner}"])
            _delete(session, [(owner, kept.id)])
            session.run(
                "INSERT INTO kept_responses (owner, id, at, expires_at, size, response, asked) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (owner, kept.id, now, now + ttl_s, size, response, asked),
            )
            session.run_many(
                "INSERT INTO kept_items (owner, response, place, id, item) VALUES (?, ?, ?, ?, ?)",
                [(owner, kept.id, place, id_, item) for place, (id_, item) in enumerate(items)],
            )
            _sweep(session, now)
            _make_room(session, owner)
            if self._kept % ALL_EVERY == 0:
                _make_room_for_all(session)
        return True

    def load(self, owner: str, id_: str, max_bytes: int | None = None) -> KeptResponse | None:
        """Return a response. None: this owner has none with that id, or it has expired.

        Raises `PayloadTooLargeError` for a response longer than `max_bytes`. No more than that is unpacked.
        """
        if not _can_be(id_):
            return None
        with self._database.transaction(write=False) as session:
            rows = session.run(
                "SELECT response, asked FROM kept_responses WHERE owner = ? AND id = ? AND expires_at > ?",
                (owner, id_, self._clock()),
            )
            sql = "SELECT id, item FROM kept_items WHERE owner = ? AND response = ? ORDER BY place"
            items = session.run(sql, (owner, id_)) if rows else []
        if not rows:
            return None
        [[response, asked]] = rows
        unpack = _Unpacking(max_bytes)
        output = tuple((name, unpack(item)) for name, item in items)
        return KeptResponse(id=id_, response=unpack(response), asked=unpack(asked), output=output)

    def items(self, owner: str, ids: Sequence[str], max_bytes: int | None = None) -> dict[str, bytes]:
        """Return items by their ids, as JSON. Items that do not exist are missing.

        If several items have one id, the newest counts. Raises `PayloadTooLargeError` if they have more than
        `max_bytes` together. No more than that is unpacked.
        """
        packed: dict[str, bytes] = {}
        ids = [id_ for id_ in ids if _can_be(id_)]
        with self._database.transaction(write=False) as session:
            for start in range(0, len(ids), AT_ONCE):
                some = ids[start : start + AT_ONCE]
                rows = session.run(
                    "SELECT i.id, i.item FROM kept_items i JOIN kept_responses r "
                    "ON r.owner = i.owner AND r.id = i.response WHERE i.owner = ? "
                    f"AND i.id IN ({', '.join('?' * len(some))}) AND r.expires_at > ? ORDER BY r.at",
                    (owner, *some, self._clock()),
                )
                packed |= dict(rows)
        unpack = _Unpacking(max_bytes)
        return {id_: unpack(item) for id_, item in packed.items()}

    def delete(self, owner: str, id_: str) -> bool:
        """Delete a response. False: this owner has none with that id."""
        if not _can_be(id_):
            return False
        with self._database.transaction() as session:
            sql = "SELECT 1 FROM kept_responses WHERE owner = ? AND id = ? AND expires_at > ?"
            found = bool(session.run(sql, (owner, id_, self._clock())))
            _delete(session, [(owner, id_)])
        return found

    def sweep(self) -> None:
        """Delete the responses that have expired."""
        with self._database.transaction() as session:
            _sweep(session, self._clock())


def _can_be(id_: str) -> bool:
    """Return whether a text can be an id. Not every database can store every text."""
    return id_.isascii() and id_.isprintable()


def _sweep(session: Session, now: float) -> None:
    sql = f"SELECT owner, id FROM kept_responses WHERE expires_at <= ? ORDER BY owner, id LIMIT {AT_ONCE}"
    _delete(session, session.run(sql, (now,)))


def _make_room(session: Session, owner: str) -> None:
    """Delete the oldest responses of an owner who has too many, or whose responses take too much."""
    sql = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM kept_responses WHERE owner = ?"
    [[count, taken]] = session.run(sql, (owner,))
    if count <= MAX_COUNT and taken <= MAX_BYTES:
        return
    sql = "SELECT owner, id, size FROM kept_responses WHERE owner = ? ORDER BY at, id"
    _delete(session, _oldest(session.run(sql, (owner,)), count - MAX_COUNT, taken - MAX_BYTES))


def _make_room_for_all(session: Session) -> None:
    [[taken]] = session.run("SELECT COALESCE(SUM(size), 0) FROM kept_responses")
    if taken > MAX_ALL_BYTES:
        rows = session.run("SELECT owner, id, size FROM kept_responses ORDER BY at, id")
        _delete(session, _oldest(rows, 0, taken - MAX_ALL_BYTES))


def _oldest(rows: Sequence[Row], count: int, size: int) -> list[tuple[str, str]]:
    """Return the first responses that reach this count and size, plus a few, so that the next ones find room."""
    gone: list[tuple[str, str]] = []
    spare = SPARE if count > 0 else 0
    for owner, id_, bytes_ in rows:
        if len(gone) >= count + spare and size <= 0:
            break
        gone.append((owner, id_))
        size -= bytes_
    return gone


def _delete(session: Session, responses: Iterable[Row]) -> None:
    for owner, id_ in responses:
        session.run("DELETE FROM kept_items WHERE owner = ? AND response = ?", (owner, id_))
        session.run("DELETE FROM kept_responses WHERE owner = ? AND id = ?", (owner, id_))


def _pack(text: bytes) -> bytes:
    return zlib.compress(text, 1)


class _Unpacking:
    """Unpacks several texts up to a limit on their bytes together.

    A packed text may hold a thousand times its own bytes.
    """

    def __init__(self, max_bytes: int | None) -> None:
        self._max_bytes = self._left = sys.maxsize if max_bytes is None else max(0, max_bytes)

    def __call__(self, packed: bytes) -> bytes:
        text = zlib.decompressobj().decompress(packed, min(self._left + 1, sys.maxsize))
        if len(text) > self._left:
            raise PayloadTooLargeError(
                f"the earlier answers that the body builds on have more than {self._max_bytes} bytes, "
                "which is the rest of the limit"
            )
        self._left -= len(text)
        return text
