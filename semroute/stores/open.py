"""Stores by their address.

sqlite:///semroute.db        a file here; four slashes: an absolute path
postgresql://user@host/name  a server
memory:                      nothing is kept
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from semroute.errors import SettingsError
from semroute.settings import PREFIX, how_to_install
from semroute.stores.base import Database, State
from semroute.stores.migrations import migrate
from semroute.stores.resilient import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase

MEMORY = "memory:"
STATE_THREADS = 8


def open_database(url: str) -> Database:
    """Open a database, and bring its tables to the newest version. Raises `SettingsError` and `StoreError`."""
    database = connect(url)
    migrate(database)
    return database


def open_to_read(url: str) -> Database:
    """Open a database, or an empty one in memory where there is no file yet: who only reads makes none.

    Raises as `open_database` does.
    """
    missing = url.startswith("sqlite:") and not _sqlite_path(url).exists()
    return open_database(MEMORY if missing else url)


def shown(url: str) -> str:
    """The address of a database without a password."""
    parts = urlsplit(url)
    return url if parts.scheme in ("sqlite", "memory") else f"{parts.scheme}://{parts.hostname or ''}{parts.path}"


def open_state(state_url: str, database_url: str, clock: Callable[[], float] = time.time) -> State:
    """The shared state: in Redis where there is an address for it, else beside the decision log.

    A SQLite log has a second file for it, so that a reservation never waits for a commit of the log. Raises
    `SettingsError` and `StoreError`.
    """
    if state_url:
        if not state_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError(f"{PREFIX}STATE_URL: got {_kind(state_url)!r}, expected redis://, rediss:// or unix://")
        redis = _import("redis", f"{PREFIX}STATE_URL")
        try:
            return ResilientState(redis.RedisState(state_url, clock), clock)
        except ValueError:  # it may show a part of the password
            raise SettingsError(f"{PREFIX}STATE_URL: cannot be read, expected redis://HOST:PORT") from None
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        state = SqliteDatabase(path.with_name(f"{path.stem}-state{path.suffix}"), durable=False)
        migrate(state)
        return ResilientState(SqlState(state, clock), clock)
    database = connect(database_url, durable=False)
    migrate(database)
    remote = database_url.startswith("postgres")
    sql = SqlState(database, clock, threads=STATE_THREADS if remote else 1)
    return ResilientState(sql, clock)


def connect(url: str, *, durable: bool = True) -> Database:
    """A database with the tables that it has. Raises `SettingsError`; where it is away, nothing yet."""
    if url == MEMORY:
        return SqliteDatabase()
    if url.startswith("sqlite:"):
        return SqliteDatabase(_sqlite_path(url), durable=durable)
    if url.startswith(("postgresql://", "postgres://")):
        database: Database = _import("postgres", f"{PREFIX}DATABASE_URL").PostgresDatabase(
            url, max_connections=4 if durable else STATE_THREADS
        )
        return database
    expected = "sqlite:///semroute.db, postgresql://… or memory:"
    raise SettingsError(f"{PREFIX}DATABASE_URL: got {_kind(url)!r}, expected {expected}")


def _sqlite_path(url: str) -> Path:
    path = url.removeprefix("sqlite:").removeprefix("//").removeprefix("/")
    if not path or not url.startswith("sqlite:///"):
        raise SettingsError(f"{PREFIX}DATABASE_URL: got {url!r}, expected sqlite:/// and the path of a file")
    return Path(path)


def _import(back_end: str, variable: str) -> ModuleType:
    """The module of a back end, whose library is an extra."""
    try:
        return importlib.import_module(f"semroute.stores.{back_end}")
    except ImportError as error:
        raise SettingsError(
            f"{variable} asks for {back_end}: {how_to_install(back_end)} first ({error.name} is missing)"
        ) from None


def _kind(url: str) -> str:
    """Of an address, which may hold a password, what is safe to show."""
    return url.partition("//")[0] or url.partition(":")[0]
