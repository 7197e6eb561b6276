"""SQLite: a file in WAL mode, with one connection for each thread.

This and `postgres.py` run the same statements. With SQLAlchemy 2.1, a small transaction takes 6 times as long with a
statement as text, and 68 times with a statement that SQLAlchemy generates. Its import takes 1.6 s and 26 MB
(2026-11-30, `bench/libraries.py sql`).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from semroute.errors import RefusedValueError, StoreError
from semroute.stores.interfaces import Row, Session

BUSY_S = 10.0
"""Seconds to wait for a lock that another process holds."""
AT_ONCE = (32, 16, 8, 4, 2, 1)
"""How many rows one `INSERT` may have. Each statement releases the interpreter's lock and must then get it back from
the busy threads, so fewer statements are better."""

# The size of all other tables. Only these are counted page by page, because they are few.
_OTHERS = """
SELECT COALESCE(SUM(pgsize), 0) FROM dbstat WHERE aggregate = TRUE AND name IN
    (SELECT name FROM sqlite_master WHERE tbl_name NOT IN ('decisions', 'bodies', 'blocks'))
"""
_HAS_DBSTAT = "SELECT 1 FROM pragma_module_list WHERE name = 'dbstat'"


class SqliteSession:
    """A transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement and return its rows."""
        return self._connection.execute(sql, values).fetchall()

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row. An `INSERT` takes many rows at once."""
        head, values, tail = sql.partition(" VALUES ")
        if not values:
            self._connection.executemany(sql, rows)
            return
        marks, end, rest = tail.partition(")")
        left = list(rows)
        for size in AT_ONCE:  # there are few sizes, so each statement is compiled only once
            together = f"{head}{values}{', '.join([marks + end] * size)}{rest}"
            while len(left) >= size:
                self._connection.execute(together, list(chain.from_iterable(left[:size])))
                del left[:size]

    def lock(self, names: Iterable[str]) -> None:
        """Do nothing: SQLite has one writer at a time."""


class SqliteDatabase:
    """A database file. Without a path it is in memory, and each transaction waits for the one before.

    `durable`: whether a commit survives a power cut, not only a crash of the process. `busy_s`: seconds to wait for a
    lock that another process holds.
    """

    types = {"int": "INTEGER", "real": "REAL", "blob": "BLOB", "clustered": "WITHOUT ROWID"} | {
        "now": "(julianday('now') - 2440587.5) * 86400.0"
    }

    def __init__(self, path: Path | None = None, *, durable: bool = True, busy_s: float = BUSY_S) -> None:
        self._path = path
        self._busy_s = busy_s
        self._synchronous = "FULL" if durable else "NORMAL"
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._turn = threading.RLock()
        if path is None:
            self._shared = self._connect()

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Session]:
        """Open a transaction: the end commits it, an exception rolls it back."""
        try:
            if self._path is None:
                with self._turn:
                    yield from _transact(self._shared, write)
            else:
                yield from _transact(self._own(), write)
        except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeError) as error:
            raise RefusedValueError(f"SQLite at {self._path or 'memory'}: {error}") from error
        except sqlite3.Error as error:
            raise StoreError(f"SQLite at {self._path or 'memory'}: {error}") from error

    def size_bytes(self) -> int:
        """Return the bytes that the log's records take on disk, with their indexes but without the rest of the file."""
        with self.transaction(write=False) as session:
            [[pages]], [[free]], [[size]] = (
                session.run(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
            )
            [[others]] = session.run(_OTHERS) if session.run(_HAS_DBSTAT) else [[0]]
        return int((pages - free) * size - others)

    def close(self) -> None:
        """Close all connections."""
        with self._turn:
            for connection in self._connections:
                connection.close()
            self._connections.clear()

    def _own(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._connect()
        return connection

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path or ":memory:", timeout=self._busy_s, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA cache_size=-65536")
            connection.execute("PRAGMA mmap_size=1073741824")
        except sqlite3.Error:
            connection.close()
            raise
        with self._turn:
            self._connections.append(connection)
        return connection


def _transact(connection: sqlite3.Connection, write: bool) -> Iterator[Session]:
    connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    try:
        yield SqliteSession(connection)
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
