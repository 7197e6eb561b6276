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
from semroute.stores.migrations import Migrating
from semroute.stores.patient import patient
from semroute.stores.resilient import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import BUSY_S, SqliteDatabase

MEMORY = "memory:"
STATE_THREADS = 8
STATE_S = 2.0
"""How long the shared state may take to answer: requests wait for it."""


def open_database(url: str, *, at_once: bool = True, answer_s: float | None = None) -> Database:
    """Open a database, and bring its tables to the newest version. Raises `SettingsError` and `StoreError`.

    `at_once`: else that is done when it is first used, so that it may be away until then. `answer_s`: how long it may
    take to answer.
    """
    return _migrating(connect(url, answer_s=answer_s), at_once)


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


def open_state(
    state_url: str, database_url: str, clock: Callable[[], float] = time.time, *, at_once: bool = True
) -> State:
    """The shared state: in Redis where there is an address for it, else beside the decision log.

    A SQLite log has a second file for it, so that a reservation never waits for a commit of the log. `at_once`: as for
    `open_database`. Raises `SettingsError` and `StoreError`.
    """
    if state_url:
        if not state_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError(f"{PREFIX}STATE_URL: got {_kind(state_url)!r}, expected redis://, rediss:// or unix://")
        redis = _import("redis", f"{PREFIX}STATE_URL")
        try:
            return _shared(redis.RedisState(state_url, clock), clock)
        except ValueError:  # it may show a part of the password
            raise SettingsError(f"{PREFIX}STATE_URL: cannot be read, expected redis://HOST:PORT") from None
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        beside = SqliteDatabase(path.with_name(f"{path.stem}-state{path.suffix}"), durable=False, busy_s=STATE_S)
        return _shared(SqlState(_migrating(beside, at_once), clock), clock)
    database = _migrating(connect(database_url, durable=False, answer_s=STATE_S), at_once)
    remote = database_url.startswith("postgres")
    return _shared(SqlState(database, clock, threads=STATE_THREADS if remote else 1), clock)


def _shared(state: State, clock: Callable[[], float]) -> ResilientState:
    return ResilientState(patient(state, STATE_S), clock)


def connect(url: str, *, durable: bool = True, answer_s: float | None = None) -> Database:
    """A database with the tables that it has. Raises `SettingsError`; where it is away, nothing yet.

    `answer_s`: how long it may take to answer; None: as long as its own module says.
    """
    if url == MEMORY:
        return SqliteDatabase()
    if url.startswith("sqlite:"):
        return SqliteDatabase(_sqlite_path(url), durable=durable, busy_s=BUSY_S if answer_s is None else answer_s)
    if url.startswith(("postgresql://", "postgres://")):
        postgres = _import("postgres", f"{PREFIX}DATABASE_URL")
        connections = 4 if durable else STATE_THREADS
        database: Database = postgres.PostgresDatabase(
            url, max_connections=connections, answer_s=postgres.ANSWER_S if answer_s is None else answer_s
        )
        return database
    expected = "sqlite:///semroute.db, postgresql://… or memory:"
    raise SettingsError(f"{PREFIX}DATABASE_URL: got {_kind(url)!r}, expected {expected}")


def _migrating(database: Database, at_once: bool) -> Database:
    migrating = Migrating(database)
    if at_once:
        migrating.migrate()
    return migrating


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
