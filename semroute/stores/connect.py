"""Stores by their address.

sqlite:///semroute.db        a file here; four slashes: an absolute path
postgresql://user@host/name  a server
memory:                      nothing is kept
"""

from __future__ import annotations

import hashlib
import importlib
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from urllib.parse import urlsplit

from semroute.errors import SettingsError
from semroute.settings import PREFIX, how_to_install
from semroute.stores.interfaces import Database, SharedState
from semroute.stores.migrations import Migrating
from semroute.stores.resilient_state import Known, ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import BUSY_S, SqliteDatabase
from semroute.stores.state_deadline import patient

MEMORY = "memory:"
STATE_THREADS = 8
STATE_S = 2.0
"""How long the shared state may take to answer: requests wait for it."""


def open_database(url: str, *, at_once: bool = True, answer_s: float | None = None, durable: bool = True) -> Database:
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
    state_url: str,
    database_url: str,
    clock: Callable[[], float] = time.time,
    *,
    at_once: bool = True,
    folder: Path | None = None,
    known: Known | None = None,
) -> ResilientState:
    """The shared state: in Redis where there is an address for it, else beside the decision log.

    A SQLite log has a second file for it, so that a reservation never waits for a commit of the log. `at_once`: as for
    `open_database`. `folder`: where to write down what is owed to a state that is away; beside a log that is a file
    there is no need to say. `known`: what the log knows was spent. Raises `SettingsError` and `StoreError`.
    """
    shared = patient(_open_shared(state_url, database_url, clock, at_once), STATE_S)
    return ResilientState(shared, clock, file=_owed_file(state_url, database_url, folder), known=known)


def _open_shared(state_url: str, database_url: str, clock: Callable[[], float], at_once: bool) -> SharedState:
    if state_url:
        if not state_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError(f"{PREFIX}STATE_URL: got {_kind(state_url)!r}, expected redis://, rediss:// or unix://")
        redis = _import("redis", f"{PREFIX}STATE_URL")
        try:
            shared: SharedState = redis.RedisState(state_url, clock)
        except ValueError:  # it may show a part of the password
            raise SettingsError(f"{PREFIX}STATE_URL: cannot be read, expected redis://HOST:PORT") from None
        return shared
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        beside = SqliteDatabase(path.with_name(f"{path.stem}-state{path.suffix}"), durable=False, busy_s=STATE_S)
        return SqlState(_migrating(beside, at_once), clock)
    database = _migrating(connect(database_url, durable=False, answer_s=STATE_S), at_once)
    return SqlState(database, clock, threads=STATE_THREADS if database_url.startswith("postgres") else 1)


def _owed_file(state_url: str, database_url: str, folder: Path | None) -> Path | None:
    """Where to write down what is owed to a state. The name tells states apart. None: nothing outlives the process."""
    name = f"owed-{hashlib.sha256((state_url or database_url).encode()).hexdigest()[:8]}"
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        return path.with_name(f"{path.stem}-{name}")
    if database_url == MEMORY and not state_url:
        return None
    return folder / name if folder is not None else None


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
