"""Access keys: `sr-<id>-<secret>`. The database holds only their hashes, so a lost key cannot be shown again."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.stores.interfaces import MAX_USD, Database, Row

log = logging.getLogger("semroute.access")

_KEY = re.compile(r"sr-([0-9a-f]{12})-[A-Za-z0-9_-]{20,}")
MAX_AUDITED = 10_000
MAX_DETAIL_CHARS = 500
MAX_STRANGERS = 4096
"""The most unknown keys that are remembered, so that the database is not asked for them again."""
_COLUMNS = "digest, caller, created_at, expires_at, revoked_at"
_ROWS = f"SELECT {_COLUMNS} FROM keys ORDER BY created_at, id"
_CHANGED = "INSERT INTO revisions (name, n) VALUES ('keys', 1) ON CONFLICT (name) DO UPDATE SET n = revisions.n + 1"


class Key(Frozen, frozen=True, kw_only=True):
    """A key as it is stored."""

    digest: bytes
    """SHA-256 of the whole key."""
    caller: Caller
    created_at: float
    """Seconds since 1970, like all times here."""
    expires_at: float | None
    revoked_at: float | None

    def ended(self, now: float) -> bool:
        """Return whether the key has expired or was revoked."""
        ends = [end for end in (self.expires_at, self.revoked_at) if end is not None]
        return any(end <= now for end in ends)


class KeyRing:
    """The keys as this process knows them. A change replaces all of them."""

    def __init__(self, *, keyed: bool = False) -> None:
        """`keyed`: whether another process knew of a key before."""
        self._keys: Mapping[str, Key] = {}
        self._rows: list[Row] = []
        self.seen = keyed
        """Whether it ever held a key. If all keys were deleted later, every call still needs one."""
        self._strangers: set[bytes] = set()

    @property
    def empty(self) -> bool:
        """Return whether it holds no key now."""
        return not self._keys

    def __len__(self) -> int:
        """Return how many keys there are, including expired and revoked ones."""
        return len(self._keys)

    def get(self, id_: str) -> Key | None:
        """Return the key with an id."""
        return self._keys.get(id_)

    @property
    def rows(self) -> list[Row]:
        """The keys as they are stored."""
        return self._rows

    def refresh(self, store: KeyStore) -> None:
        """Read the keys if they changed. Blocking. Raises `StoreError`."""
        self.take(store.rows())

    def take(self, rows: list[Row]) -> None:
        """Replace the keys by those stored in these rows."""
        if rows != self._rows:
            self._keys = {key.caller.id: key for key in _keys(rows)}
            self._rows = rows
            self.seen = self.seen or bool(rows)
            self._strangers.clear()

    def is_stranger(self, digest: bytes) -> bool:
        """Return whether a key was looked for since the keys changed, and not found."""
        return digest in self._strangers

    def note_stranger(self, digest: bytes) -> None:
        """Note that a key was looked for and not found."""
        if len(self._strangers) >= MAX_STRANGERS:
            self._strangers.clear()
        self._strangers.add(digest)


class KeyStore:
    """The keys and the audit log in the database. Its methods block. Each raises `StoreError`."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def create(self, caller: Caller, expires_at: float | None = None) -> tuple[str, Caller]:
        """Make a key for a caller, ignoring the caller's id. Returns the key, which is not stored, and its caller."""
        caller = msgspec.structs.replace(caller, id=secrets.token_hex(6))
        token, now = _new_token(caller.id), self._clock()
        sql = f"INSERT INTO keys (id, {_COLUMNS}, changed_at) VALUES (?, ?, ?, ?, ?, NULL, ?)"
        with self._database.transaction() as session:
            session.run(sql, (caller.id, _digest(token), _encode(caller), now, expires_at, now))
            session.run(_CHANGED)
        return token, caller

    def all(self) -> list[Key]:
        """Return all keys, oldest first, including expired and revoked ones."""
        return [*_keys(self.rows())]

    def named(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Add to each row of statistics by key the key's `name`. Empty: the key has none."""
        names = {key.caller.id: key.caller.name for key in self.all()}
        return [{**row, "name": names.get(row["value"], "")} for row in rows]

    def revoke(self, id_: str) -> bool:
        """Revoke a key. False: there is no such key."""
        now = self._clock()
        with self._database.transaction() as session:
            sql = "UPDATE keys SET revoked_at = COALESCE(revoked_at, ?), changed_at = ? WHERE id = ? RETURNING id"
            session.run(_CHANGED)
            return bool(session.run(sql, (now, now, id_)))

    def rotate(self, id_: str) -> str | None:
        """Give a key a new secret, and return the new key. The old secret ends at once. None: there is no such key."""
        token = _new_token(id_)
        with self._database.transaction() as session:
            sql = "UPDATE keys SET digest = ?, changed_at = ? WHERE id = ? AND revoked_at IS NULL RETURNING id"
            session.run(_CHANGED)
            return token if session.run(sql, (_digest(token), self._clock(), id_)) else None

    def rows(self) -> list[Row]:
        """The keys as they are stored."""
        with self._database.transaction(write=False) as session:
            return session.run(_ROWS)

    def changes(self, since: int | None) -> tuple[int, list[Row] | None]:
        """Return the revision of the keys, and the keys as stored. No keys (None): they have not changed since `since`.

        Without a change this reads only one number. `since` None: return the keys in any case.
        """
        with self._database.transaction(write=False) as session:
            found = session.run("SELECT n FROM revisions WHERE name = 'keys'")
            revision = int(found[0][0]) if found else 0
            return revision, None if revision == since else session.run(_ROWS)

    def audit(self, who: str, action: str, detail: str = "", *, allowed: bool = True) -> None:
        """Note an admin call. The last `MAX_AUDITED` allowed calls are kept, and as many refused ones."""
        now = self._clock()
        id_ = f"{int(now * 1000):012x}{secrets.token_hex(8)}"
        with self._database.transaction() as session:
            sql = "INSERT INTO audit (id, at, who, action, detail, allowed) VALUES (?, ?, ?, ?, ?, ?)"
            session.run(sql, (id_, now, who, action, detail[:MAX_DETAIL_CHARS], int(allowed)))
            oldest = "SELECT id FROM audit WHERE allowed = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            for (old,) in session.run(oldest, (int(allowed), MAX_AUDITED)):
                session.run("DELETE FROM audit WHERE allowed = ? AND id <= ?", (int(allowed), old))

    def audited(self, limit: int = 100) -> list[dict[str, Any]]:
        """Return admin calls, newest first."""
        with self._database.transaction(write=False) as session:
            rows = session.run("SELECT at, who, action, detail, allowed FROM audit ORDER BY id DESC LIMIT ?", (limit,))
        return [
            {"at": at, "who": who, "action": action, "detail": detail, "allowed": bool(allowed)}
            for at, who, action, detail, allowed in rows
        ]


def key_id(token: str) -> str:
    """Return the id within a key. Empty: the text is not a key of semroute."""
    match = _KEY.fullmatch(token)
    return match[1] if match else ""


def _new_token(id_: str) -> str:
    return f"sr-{id_}-{secrets.token_urlsafe(32)}"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _encode(caller: Caller) -> str:
    return msgspec.json.encode(caller).decode()


def _keys(rows: Iterable[Row]) -> Iterator[Key]:
    """Read keys as they are stored. One that was damaged by hand lets nobody in, and the others go on."""
    for number, row in enumerate(rows, 1):
        try:
            yield _key(row)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            log.error("key %d of the database, oldest first, cannot be read, so it lets nobody in: %s", number, error)


def _key(row: Row) -> Key:
    digest, stored, created_at, *ends = row
    caller = msgspec.json.decode(stored, type=Caller)
    expires_at, revoked_at = (None if end is None else float(end) for end in ends)
    return Key(
        digest=bytes(digest),
        caller=msgspec.structs.replace(
            caller, usd_per_day=_countable(caller.usd_per_day), usd_per_month=_countable(caller.usd_per_month)
        ),
        created_at=created_at,
        expires_at=expires_at,
        revoked_at=revoked_at,
    )


def _countable(usd: Decimal | None) -> Decimal | None:
    """Return a budget that can be enforced. If it is not an amount (such as NaN), nothing may be spent."""
    if usd is None:
        return None
    return Decimal(0) if usd.is_nan() else min(max(usd, Decimal(0)), MAX_USD)
