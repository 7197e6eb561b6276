"""The shared state in a SQL database. All processes share it, and it outlives a restart."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

from semroute.stores.interfaces import (
    BASE,
    EPOCH,
    EPOCH_S,
    FILLED,
    LOST_BEATS,
    OWNER_CHARS,
    Beats,
    Database,
    Session,
    SharedState,
    Verdict,
    Want,
)

Result = TypeVar("Result")

SWEEP_S = 60.0
OWNERS = "owners"
"""The name of the entry that counts how many times each owner said that it lives."""
OWNERS_S = 86_400.0
_SPENT, _HELD, _SETTLED = 0, 1, 2
_COUNTED = (
    f"SELECT name, spent AS amount, {_SPENT} AS kind FROM counters WHERE name IN ({{marks}}) UNION ALL "
    f"SELECT counter, SUM(amount), {_HELD} FROM holds WHERE counter IN ({{marks}}) AND expires_at > ? AND hold <> ? "
    f"GROUP BY counter UNION ALL SELECT '', 1, {_SETTLED} FROM settled WHERE hold = ?"
)
_HOLDERS = f"SELECT DISTINCT substr(hold, 1, {OWNER_CHARS}) FROM holds WHERE substr(hold, {OWNER_CHARS + 1}, 1) = '/'"
_SPEND = (
    "INSERT INTO counters (name, spent, expires_at) VALUES {rows} "
    "ON CONFLICT (name) DO UPDATE SET spent = counters.spent + excluded.spent RETURNING name, spent, "
    "EXISTS (SELECT 1 FROM counters AS other WHERE other.name = ?)"
)
_FILL = (
    "INSERT INTO counters (name, spent, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET spent = counters.spent + excluded.spent"
)
_MARK = "INSERT INTO counters (name, spent, expires_at) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING"
_PUT = (
    "INSERT INTO entries (name, value, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)


class SqlState(SharedState):
    """A `State`. Each call is one transaction in a thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time, *, threads: int = 1) -> None:
        """`threads`: how many calls run at the same time. More than one helps if the database is across a network."""
        self._database = database
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="state")
        self._swept_at = time.monotonic()

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing if one has no room."""
        return await self._run(_reserve, hold, wants, lease_s)

    async def count(
        self,
        hold: str,
        spent: Mapping[str, tuple[int, float]],
        *,
        keep_s: float,
        epoch: int,
        ended: float = math.inf,
        known: Collection[str] = (),
    ) -> dict[str, int] | None:
        """Free a hold and count what was spent, in a state of this epoch that has the known counters."""
        return await self._run(_settle, hold, spent, keep_s, epoch, ended, known)

    async def beat(self, owner: str) -> Beats:
        """Say that an owner lives."""
        return await self._run(_beat, owner)

    async def release(self, owner: str) -> None:
        """Free all that an owner holds, and forget the owner."""
        await self._run(_release, owner)

    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]], *, since: int = 0) -> int:
        """Count what is known to be spent, and mark the state as not empty."""
        return await self._run(_refill, epoch, spent, since)

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """Return what counters have reached, held amounts included."""
        return await self._run(_levels, counters) if counters else {}

    async def reset(self, counter: str) -> int:
        """Forget what was spent."""
        return await self._run(_reset, counter)

    async def get(self, key: str) -> bytes | None:
        """Return a value. None: there is none, or it has expired."""
        return await self._run(_get, key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those of the values that exist, by key."""
        return await self._run(_get_many, keys) if keys else {}

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        await self._run(_execute, _PUT, key, value, self._clock() + ttl_s)

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one. Returns whether it was set."""
        return await self._run(_put_new, key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await self._run(_execute, "DELETE FROM entries WHERE name = ?", key)

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and return the average."""
        return await self._run(_smooth, key, value, weight, ttl_s)

    async def aclose(self) -> None:
        """Wait until the threads have finished."""
        await asyncio.to_thread(self._threads.shutdown)
        self._database.close()

    async def _run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        now = self._clock()
        loop = asyncio.get_running_loop()
        if time.monotonic() - self._swept_at >= SWEEP_S:
            self._swept_at = time.monotonic()
            loop.run_in_executor(self._threads, self._transact, _sweep, now)
        return await loop.run_in_executor(self._threads, self._transact, work, now, *arguments)

    def _transact(self, work: Callable[..., Result], now: float, *arguments: Any) -> Result:
        # A transaction that only reads does not wait for one that writes.
        with self._database.transaction(write=work not in (_levels, _get, _get_many)) as session:
            return work(session, now, *arguments)


class _Counted(NamedTuple):
    """What the tables hold for some counters."""

    spent: dict[str, int]
    held: dict[str, int]
    settled: bool

    def level(self, name: str) -> int:
        return self.spent.get(name, 0) + self.held.get(name, 0)


def _counted(session: Session, now: float, counters: Sequence[str], hold: str = "") -> _Counted:
    """Read counters, without what `hold` holds of them."""
    sql = _COUNTED.format(marks=", ".join("?" * len(counters)))
    counted = _Counted({}, {}, settled=False)
    for name, amount, kind in session.run(sql, (*counters, *counters, now, hold, hold)):
        if kind == _SETTLED:
            counted = counted._replace(settled=True)
        else:
            (counted.held if kind == _HELD else counted.spent)[name] = int(amount)
    return counted


def _reserve(session: Session, now: float, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
    names = [want.counter for want in wants]
    session.lock(names)
    counted = _counted(session, now, [*names, EPOCH], hold)
    spent, levels = counted.spent, {name: counted.level(name) for name in names}
    whole = bool(spent.pop(EPOCH, 0)) and all(want.counter in spent for want in wants if want.known)
    if not whole or counted.settled:
        return Verdict(None, levels, spent, whole)
    for want in wants:
        if want.limit is not None and levels[want.counter] + want.amount > want.limit:
            session.run("DELETE FROM holds WHERE hold = ?", (hold,))
            return Verdict(want.counter, levels, spent)
    session.run_many(
        "INSERT INTO holds (hold, counter, amount, expires_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (counter, hold) DO UPDATE SET amount = excluded.amount, expires_at = excluded.expires_at",
        [(hold, want.counter, want.amount, now + lease_s) for want in wants],
    )
    return Verdict(None, levels, spent)


def _settle(
    session: Session,
    now: float,
    hold: str,
    spent: Mapping[str, tuple[int, float]],
    keep_s: float,
    epoch: int,
    ended: float,
    known: Collection[str],
) -> dict[str, int] | None:
    session.lock([f"hold:{hold}", *spent])
    if epoch or known:
        there = _amounts(session, [EPOCH, *known])
        if epoch not in (0, there.pop(EPOCH, None)) or len(there) < len(known):
            return None
    if session.run("SELECT 1 FROM settled WHERE hold = ?", (hold,)):
        return {}
    session.run("INSERT INTO settled (hold, expires_at) VALUES (?, ?)", (hold, now + keep_s))
    session.run("DELETE FROM holds WHERE hold = ?", (hold,))
    filled = _amounts(session, [FILLED + name for name in spent]) if ended < math.inf and spent else {}
    rows = [
        (name, amount, end)
        for name, (amount, end) in sorted(spent.items())
        if amount and ended >= filled.get(FILLED + name, 0)
    ]
    if not rows:
        return {}
    sql = _SPEND.format(rows=", ".join(["(?, ?, ?)"] * len(rows)))
    grown = session.run(sql, [*(value for row in rows for value in row), EPOCH])
    return {name: int(amount) for name, amount, whole in grown if whole}  # the level of an empty state means nothing


def _amounts(session: Session, names: Sequence[str]) -> dict[str, int]:
    """Return what was spent of those counters that exist."""
    marks = ", ".join("?" * len(names))
    rows = session.run(f"SELECT name, spent FROM counters WHERE name IN ({marks})", names)
    return {name: int(amount) for name, amount in rows}


def _levels(session: Session, now: float, counters: Sequence[str]) -> dict[str, int]:
    counted = _counted(session, now, counters)
    return {name: counted.level(name) for name in counters}


def _beat(session: Session, now: float, owner: str) -> Beats:
    owners = _owners(session, now)
    owners[owner] = owners.get(owner, 0) + 1
    _put_owners(session, now, owners)
    holders = {name: 0 for (name,) in session.run(_HOLDERS)}
    return Beats({**holders, **owners}, _counted(session, now, [EPOCH]).level(EPOCH))


def _release(session: Session, now: float, owner: str) -> None:
    owners = _owners(session, now)
    owners.pop(owner, None)
    _put_owners(session, now, owners)
    session.run(f"DELETE FROM holds WHERE substr(hold, 1, {OWNER_CHARS + 1}) = ?", (f"{owner}/",))


def _owners(session: Session, now: float) -> dict[str, int]:
    """Return how many times each owner said that it lives. Locks them, so that the transaction may change them."""
    session.lock([f"entry:{OWNERS}"])
    found = _get(session, now, OWNERS)
    return dict(json.loads(found)) if found else {}


def _put_owners(session: Session, now: float, owners: Mapping[str, int]) -> None:
    session.run(_PUT, (OWNERS, json.dumps(owners).encode(), now + OWNERS_S))


def _refill(session: Session, now: float, epoch: int, spent: Mapping[str, tuple[int, float]], since: int) -> int:
    session.lock([EPOCH, *spent])
    empty = not session.run("SELECT 1 FROM counters WHERE name = ?", (EPOCH,))
    session.run(_MARK, (EPOCH, epoch, now + EPOCH_S))
    [[marked]] = session.run("SELECT spent FROM counters WHERE name = ?", (EPOCH,))
    if int(marked) != epoch:
        return int(marked)
    before = _amounts(session, [prefix + name for name in spent for prefix in ("", BASE, FILLED)]) if spent else {}
    if not empty and not before.keys() >= spent.keys():  # their holds may be lost, too: each owner makes them again
        _put_owners(session, now, {name: count + LOST_BEATS for name, count in _owners(session, now).items()})
    for name, (amount, end) in sorted(spent.items()):
        base, filled = before.get(BASE + name, 0), before.get(FILLED + name, 0)
        if name not in before:
            session.run(_FILL, (name, amount, end))
            session.run(_FILL, (BASE + name, amount - base, end))
        else:
            session.run(_FILL, (name, max(0, amount - (before[name] if empty else base)), end))
            session.run(_FILL, (BASE + name, max(0, amount - base), end))
        if since > filled:
            session.run(_FILL, (FILLED + name, since - filled, end))
    return epoch


def _reset(session: Session, now: float, counter: str) -> int:
    session.lock([counter])
    spent = _counted(session, now, [counter]).spent.get(counter, 0)
    session.run("UPDATE counters SET spent = 0 WHERE name = ?", (counter,))
    return spent


def _execute(session: Session, now: float, sql: str, *values: Any) -> None:
    session.run(sql, values)


def _get(session: Session, now: float, key: str) -> bytes | None:
    rows = session.run("SELECT value FROM entries WHERE name = ? AND expires_at > ?", (key, now))
    return bytes(rows[0][0]) if rows else None


def _get_many(session: Session, now: float, keys: Sequence[str]) -> dict[str, bytes]:
    marks = ", ".join("?" * len(keys))
    sql = f"SELECT name, value FROM entries WHERE name IN ({marks}) AND expires_at > ?"
    return {name: bytes(value) for name, value in session.run(sql, (*keys, now))}


def _put_new(session: Session, now: float, key: str, value: bytes, ttl_s: float) -> bool:
    session.lock([f"entry:{key}"])
    if _get(session, now, key) is not None:
        return False
    session.run(_PUT, (key, value, now + ttl_s))
    return True


def _smooth(session: Session, now: float, key: str, value: float, weight: float, ttl_s: float) -> float:
    session.lock([f"entry:{key}"])
    old = _get(session, now, key)
    mean = value if old is None else float(old) + weight * (value - float(old))
    session.run(_PUT, (key, repr(mean).encode(), now + ttl_s))
    return mean


def _sweep(session: Session, now: float) -> None:
    for table in ("counters", "holds", "settled", "entries"):
        session.run(f"DELETE FROM {table} WHERE expires_at <= ?", (now,))
