"""PostgreSQL, by psycopg's pool."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from semroute.errors import RefusedValueError, StoreError
from semroute.stores.base import Row, Session

WAIT_S = 1.0
"""For a connection."""
RETRY_S = 0.5
"""How long a server that was away is left alone."""

# Records by the size of the newest, each row with its pointer, times what the indexes add. Not the size of the files:
# what is deleted leaves room in those, and makes them no smaller.
_SIZE = """
WITH newest AS (SELECT b.* FROM bodies b JOIN (SELECT id FROM decisions ORDER BY id DESC LIMIT 1024) d USING (id))
SELECT COALESCE((SELECT COUNT(*) FROM decisions) / NULLIF((SELECT COUNT(*) FROM newest), 0)::float8
    * ((SELECT SUM(pg_column_size(d.*) + 4) FROM decisions d JOIN newest USING (id))
        + (SELECT SUM(pg_column_size(newest.*) + 4) FROM newest)
        + (SELECT COALESCE(SUM(pg_column_size(data) + 4), 0) FROM blocks WHERE id IN (SELECT block FROM newest)))
    * (SELECT SUM(pg_total_relation_size(name)) / SUM(pg_table_size(name))
        FROM unnest(ARRAY['decisions', 'bodies', 'blocks']::regclass[]) name), 0)
"""


class PostgresSession:
    """A transaction on one connection."""

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def run(self, sql: str, values: Sequence[Any] = ()) -> list[Row]:
        """Execute a statement, and give its rows."""
        cursor = self._connection.execute(_spell(sql), values or None)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row, in one pipeline."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_spell(sql), rows)

    def lock(self, names: Iterable[str]) -> None:
        """Advisory locks, in order, so that two transactions never wait for each other."""
        for name in sorted(names):
            self.run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))


class PostgresDatabase:
    """A database behind a pool of connections. A connection that broke is replaced."""

    types = {"int": "BIGINT", "real": "DOUBLE PRECISION", "blob": "BYTEA", "clustered": ""}

    def __init__(self, url: str, *, max_connections: int = 4) -> None:
        self._opening = threading.Lock()
        self._retry_at = 0.0
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=max_connections,
            timeout=WAIT_S,
            open=False,
            configure=_configure,
            check=ConnectionPool.check_connection,
            kwargs={"connect_timeout": 2},
            reconnect_timeout=1.0,
        )

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Session]:
        """A transaction: committed at the end, rolled back by an exception."""
        if time.monotonic() < self._retry_at:
            raise StoreError("PostgreSQL: it was away a moment ago")
        try:
            with self._opening:
                if self._pool.closed:
                    self._pool.open()
            with self._pool.connection() as connection:
                # Who reads a record in two steps finds it whole, though it is deleted between them.
                connection.isolation_level = None if write else IsolationLevel.REPEATABLE_READ
                yield PostgresSession(connection)
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
            raise RefusedValueError(f"PostgreSQL: {_line(error)}") from error
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            if isinstance(error, psycopg.OperationalError):  # a PoolTimeout is one
                # What waits behind this call is spared the same wait.
                self._retry_at = time.monotonic() + RETRY_S
            raise StoreError(f"PostgreSQL: {_line(error)}") from error

    def size_bytes(self) -> int:
        """About what the log's records take on disk, with their indexes."""
        with self.transaction(write=False) as session:
            [[size]] = session.run(_SIZE)
        return int(size)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Text(StrDumperUnknown):
    """Text as PostgreSQL can keep it: `U+FFFD` stands for each `NUL`."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))


def _configure(connection: psycopg.Connection[Any]) -> None:
    connection.adapters.register_dumper(str, _Text)


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _spell(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
