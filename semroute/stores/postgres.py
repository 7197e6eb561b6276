"""PostgreSQL, by psycopg's pool."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel
from psycopg.abc import Buffer
from psycopg.types.string import StrDumperUnknown
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from semroute.errors import RefusedValueError, StoreError
from semroute.stores.connection_cutoff import Cutoff
from semroute.stores.interfaces import Row, Session

# If the server is unavailable, the pool warns twice a second. The code that uses the database reports it once.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

WAIT_S = 1.0
"""Seconds to wait for a free connection of the pool, or for its check."""
CONNECT_S = 2
"""Seconds in which a server must answer when a connection to it is opened."""
ANSWER_S = 30.0
"""Seconds that a whole transaction may take."""
RETRY_S = 0.5
"""Seconds before a server that was unavailable is tried again. Only one thread tries; the others fail at once."""
KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
"""How soon the operating system notices that the server's machine is gone: seconds, and a number of probes."""

# An estimate: the number of records, times the size of the newest with their row pointers, times what the indexes add.
# The size of the files would not do, because they do not shrink when records are deleted.
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
        """Execute a statement and return its rows."""
        cursor = self._connection.execute(_spell(sql), values or None)
        return cursor.fetchall() if cursor.description else []

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Execute a statement for each row, all in one pipeline."""
        with self._connection.cursor() as cursor:
            cursor.executemany(_spell(sql), rows)

    def lock(self, names: Iterable[str]) -> None:
        """Take advisory locks in a fixed order, so that two transactions never wait for each other."""
        for name in sorted(names):
            self.run("SELECT pg_advisory_xact_lock(hashtextextended(?, 0))", (name,))


class PostgresDatabase:
    """A database behind a pool of connections. Broken connections are replaced."""

    types = {"int": "BIGINT", "real": "DOUBLE PRECISION", "blob": "BYTEA", "clustered": ""} | {
        "now": "EXTRACT(EPOCH FROM clock_timestamp())::DOUBLE PRECISION"
    }

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 4,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`answer_s`: a server that takes longer for a transaction counts as away."""
        self._clock = clock
        self._answer_s = answer_s
        self._cutoff = Cutoff()
        self._opening = threading.Lock()
        self._trying = threading.Lock()
        self._away, self._reason = False, ""
        self._retry_at = 0.0
        self._pool = ConnectionPool(
            url,
            min_size=1,
            max_size=max_connections,
            timeout=WAIT_S,
            open=False,
            configure=self._configure,
            check=self._check,
            kwargs={"connect_timeout": CONNECT_S, "tcp_user_timeout": round(answer_s * 1000), **KEEPALIVE},
            reconnect_timeout=1.0,
        )

    @contextmanager
    def transaction(self, *, write: bool = True) -> Iterator[Session]:
        """Open a transaction: the end commits it, an exception rolls it back."""
        with self._turn(), self._translated():
            with self._opening:
                if self._pool.closed:
                    self._pool.open()
            with self._checked_out() as connection:
                # A record that is read in two steps stays whole, even if it is deleted between them.
                connection.isolation_level = None if write else IsolationLevel.REPEATABLE_READ
                yield PostgresSession(connection)
            self._away = False

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """While the server is unavailable, let one thread at a time try it. Others raise `StoreError`."""
        if not self._away:
            yield
            return
        if self._clock() < self._retry_at or not self._trying.acquire(blocking=False):
            raise StoreError(f"PostgreSQL: {self._reason} (seen a moment ago, try again later)")
        try:
            yield
        finally:
            self._trying.release()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (psycopg.DataError, psycopg.IntegrityError, UnicodeError) as error:
            raise RefusedValueError(f"PostgreSQL: {_line(error)}") from error
        except (psycopg.Error, PoolTimeout, PoolClosed) as error:
            if isinstance(error, psycopg.OperationalError) and _away(error):  # a PoolTimeout is an OperationalError
                # Calls that wait behind this one need not wait as long.
                self._away, self._retry_at, self._reason = True, self._clock() + RETRY_S, _line(error)
            raise StoreError(f"PostgreSQL: {_line(error)}") from error

    @contextmanager
    def _checked_out(self) -> Iterator[psycopg.Connection[Row]]:
        """Lend a connection for `answer_s`. The commit must also happen within that time."""
        connection = self._pool.getconn()
        try:
            with (
                self._within(connection, self._answer_s),
                connection,
            ):  # the block does not close it: it belongs to the pool
                yield connection
        finally:
            self._pool.putconn(connection)

    @contextmanager
    def _within(self, connection: psycopg.Connection[Any], seconds: float) -> Iterator[None]:
        with self._cutoff.within(seconds, lambda: _fileno(connection)) as was_cut:
            try:
                yield
            except psycopg.OperationalError as error:
                if was_cut():
                    raise psycopg.OperationalError(f"no answer within {seconds:g} s") from error
                raise

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        with self._within(connection, WAIT_S):
            ConnectionPool.check_connection(connection)

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        connection.adapters.register_dumper(str, _Text)
        # The server gives up too. So a session that stops inside a transaction holds its locks no longer than that.
        limit = round(self._answer_s * 1000)
        with self._within(connection, CONNECT_S):
            for name in ("statement_timeout", "idle_in_transaction_session_timeout"):
                connection.execute("SELECT set_config(%s, %s, false)", (name, str(limit)))
            connection.commit()

    def size_bytes(self) -> int:
        """Return about the bytes that the log's records take on disk, with their indexes."""
        with self.transaction(write=False) as session:
            [[size]] = session.run(_SIZE)
        return int(size)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


class _Text(StrDumperUnknown):
    """Writes text as PostgreSQL can keep it, with `U+FFFD` in place of each `NUL`."""

    def dump(self, obj: str) -> Buffer | None:
        return super().dump(obj.replace("\0", "\ufffd"))


def _fileno(connection: psycopg.Connection[Any]) -> int:
    try:
        return connection.fileno()
    except psycopg.OperationalError as error:
        raise OSError(str(error)) from error


def _away(error: psycopg.OperationalError) -> bool:
    """Return whether the server is unavailable. False: a single statement was too slow, or conflicts with another
    one.
    """
    return error.sqlstate is None or (error.sqlstate[:2] in ("08", "53", "57") and error.sqlstate != "57014")


def _line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _spell(sql: str) -> str:
    return sql.replace("%", "%%").replace("?", "%s")
