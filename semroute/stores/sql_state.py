"""State in a SQL database: shared by all processes that use it, and kept over a restart."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from semroute.stores.base import Database, Session, Verdict, Want

Result = TypeVar("Result")

SETTLED_S = 3600.0
SWEEP_S = 60.0
_LEVELS = (
    "SELECT name, SUM(amount) FROM (SELECT name, spent AS amount FROM counters WHERE name IN ({marks}) UNION ALL "
    "SELECT counter, amount FROM holds WHERE counter IN ({marks}) AND expires_at > ?) parts GROUP BY name"
)
_SPEND = (
    "INSERT INTO counters (name, spent, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET spent = counters.spent + excluded.spent"
)
_PUT = (
    "INSERT INTO entries (name, value, expires_at) VALUES (?, ?, ?) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires_at = excluded.expires_at"
)


class SqlState:
    """A `State`. Each call is one transaction in a thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time, *, threads: int = 1) -> None:
        """`threads`: more than one helps where the database is across a network."""
        self._database = database
        self._clock = clock
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="state")
        self._swept_at = time.monotonic()

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        """Hold an amount of each counter, or nothing where one has no room."""
        return await self._run(_reserve, hold, wants, lease_s)

    async def settle(self, hold: str, spent: Mapping[str, tuple[int, float]]) -> None:
        """Free what is held, and count what was spent."""
        await self._run(_settle, hold, spent)

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        """What counters have reached, held amounts included."""
        return await self._run(_levels, counters) if counters else {}

    async def reset(self, counter: str) -> None:
        """Forget what was spent."""
        await self._run(_execute, "UPDATE counters SET spent = 0 WHERE name = ?", counter)

    async def get(self, key: str) -> bytes | None:
        """A value; null: none, or over."""
        return await self._run(_get, key)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """The values that there are, by their keys."""
        return await self._run(_get_many, keys) if keys else {}

    async def put(self, key: str, value: bytes, ttl_s: float) -> None:
        """Set a value for some time."""
        await self._run(_execute, _PUT, key, value, self._clock() + ttl_s)

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        """Set a value unless there is one; whether it was set."""
        return await self._run(_put_new, key, value, ttl_s)

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await self._run(_execute, "DELETE FROM entries WHERE name = ?", key)

    async def smooth(self, key: str, value: float, weight: float, ttl_s: float) -> float:
        """Move an average toward a value, and give it."""
        return await self._run(_smooth, key, value, weight, ttl_s)

    async def aclose(self) -> None:
        """Wait for what the threads are doing."""
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
        # Who only looks does not wait for who writes.
        with self._database.transaction(write=work not in (_levels, _get, _get_many)) as session:
            return work(session, now, *arguments)


def _reserve(session: Session, now: float, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
    session.lock([want.counter for want in wants])
    levels = _levels(session, now, [want.counter for want in wants])
    for want in wants:
        if want.limit is not None and levels[want.counter] + want.amount > want.limit:
            return Verdict(want.counter, levels)
    session.run_many(
        "INSERT INTO holds (hold, counter, amount, expires_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (counter, hold) DO UPDATE SET amount = excluded.amount, expires_at = excluded.expires_at",
        [(hold, want.counter, want.amount, now + lease_s) for want in wants],
    )
    return Verdict(None, levels)


def _settle(session: Session, now: float, hold: str, spent: Mapping[str, tuple[int, float]]) -> None:
    session.lock([f"hold:{hold}", *spent])
    if session.run("SELECT 1 FROM settled WHERE hold = ?", (hold,)):
        return
    session.run("INSERT INTO settled (hold, expires_at) VALUES (?, ?)", (hold, now + SETTLED_S))
    session.run("DELETE FROM holds WHERE hold = ?", (hold,))
    session.run_many(_SPEND, [(name, amount, end) for name, (amount, end) in sorted(spent.items()) if amount])


def _levels(session: Session, now: float, counters: Sequence[str]) -> dict[str, int]:
    sql = _LEVELS.format(marks=", ".join("?" * len(counters)))
    found: dict[str, int] = dict(session.run(sql, (*counters, *counters, now)))
    return {name: int(found.get(name, 0)) for name in counters}


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
