"""Open stores by their address.

sqlite:///semroute.db        a file here; four slashes: an absolute path
postgresql://user@host/name  a server
memory:                      keeps nothing after the process ends
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
from semroute.stores.state_deadline import with_deadline

MEMORY = "memory:"
STATE_THREADS = 8
STATE_S = 2.0
"""The longest time that the shared state may take to answer. Requests wait for it."""


def open_database(url: str, *, at_once: bool = True, answer_s: float | None = None, durable: bool = True) -> Database:
    """Open a database and bring its tables to the newest version. Raises `SettingsError` and `StoreError`.

    `at_once`: False opens the database when it is first used, so it may be unavailable until then. `answer_s`: the
    longest time that it may take to answer.
    """
    return _migrating(connect(url, answer_s=answer_s), at_once)


def open_to_read(url: str) -> Database:
    """Open a database to read it. If its file does not exist, open an empty one in memory and create no file.

    Raises as `open_database` does.
    """
    return open_database(MEMORY if is_missing(url) else url)


def is_missing(url: str) -> bool:
    """Return whether an address names a file that does not exist."""
    return url.startswith("sqlite:") and not _sqlite_path(url).exists()


def shown(url: str) -> str:
    """Return the address of a database without its password."""
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
    """Open the shared state: in Redis if there is an address for it, or else beside the decision log.

    Beside a SQLite log it gets a second file, so that a reservation never waits for a commit of the log. `at_once`: as
    for `open_database`. `folder`: where to write down what is owed to a state that is unavailable. If the log is a
    file, the default is its folder. `known`: reads from the log what was spent. Raises `SettingsError` and
    `StoreError`.
    """
    shared = with_deadline(_open_shared(state_url, database_url, clock, at_once), STATE_S)
    return ResilientState(shared, clock, file=_owed_file(state_url, database_url, folder), known=known)


def _open_shared(state_url: str, database_url: str, clock: Callable[[], float], at_once: bool) -> SharedState:
    if state_url:
        if not state_url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingsError(f"{PREFIX}STATE_URL: got {_kind(state_url)!r}, expected redis://, rediss:// or unix://")
        redis = _import("redis", f"{PREFIX}STATE_URL")
        try:
            shared: SharedState = redis.RedisState(state_url, clock)
        except ValueError:  # its text may show a part of the password
            raise SettingsError(
                f"{PREFIX}STATE_URL: got an address that cannot be read, expected redis://HOST:PORT"
            ) from None
        return shared
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        beside = SqliteDatabase(path.with_name(f"{path.stem}-state{path.suffix}"), durable=False, busy_s=STATE_S)
        return SqlState(_migrating(beside, at_once), clock)
    database = _migrating(connect(database_url, durable=False, answer_s=STATE_S), at_once)
    return SqlState(database, clock, threads=STATE_THREADS if database_url.startswith("postgres") else 1)


def _owed_file(state_url: str, database_url: str, folder: Path | None) -> Path | None:
    """Return the file for what is owed to a state. Each state has its own. None: nothing outlives the process."""
    name = f"owed-{hashlib.sha256((state_url or database_url).encode()).hexdigest()[:8]}"
    if database_url.startswith("sqlite:"):
        path = _sqlite_path(database_url)
        return path.with_name(f"{path.stem}-{name}")
    if database_url == MEMORY and not state_url:
        return None
    return folder / name if folder is not None else None


def connect(url: str, *, durable: bool = True, answer_s: float | None = None) -> Database:
    """Open a database and leave its tables as they are. Raises `SettingsError`, but nothing yet if it is unavailable.

    `answer_s`: the longest time that it may take to answer. None: the default of its module.
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
    """Import the module of a back end whose library is an extra."""
    try:
        return importlib.import_module(f"semroute.stores.{back_end}")
    except ImportError as error:
        raise SettingsError(
            f"{variable} asks for {back_end}: {how_to_install(back_end)} first ({error.name} is missing)"
        ) from None


def _kind(url: str) -> str:
    """Return the part of an address that is safe to show. The rest may hold a password."""
    return url.partition("//")[0] or url.partition(":")[0]
