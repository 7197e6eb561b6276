"""Real back ends: a file, and private servers of PostgreSQL and Redis on free ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from semroute.stores.interfaces import Database, SharedState
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.postgres import PostgresDatabase
from semroute.stores.redis import RedisState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase

NOW = 1_780_000_000.0


class Clock:
    """Time that moves when a test says so."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    opened: Database
    if request.param == "postgres":
        opened = PostgresDatabase(request.getfixturevalue("postgres").new_database())
    else:
        opened = SqliteDatabase(tmp_path / "semroute.db" if request.param == "sqlite" else None)
    migrate(opened)
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "sqlite", "postgres", "redis"])
async def empty_state(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[SharedState]:
    opened = _open_state(request, tmp_path, clock)
    yield opened
    await opened.aclose()


@pytest.fixture
async def state(empty_state: SharedState) -> SharedState:
    await empty_state.refill(1, {})
    return empty_state


def _open_state(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> SharedState:
    if request.param == "memory":
        return MemoryState(clock, epoch=0)
    if request.param == "redis":
        return RedisState(request.getfixturevalue("redis_server").new_database(), clock)
    if request.param == "postgres":
        shared: Database = PostgresDatabase(request.getfixturevalue("postgres").new_database())
    else:
        shared = SqliteDatabase(tmp_path / "state.db", durable=False)
    migrate(shared)
    return SqlState(shared, clock, threads=4 if request.param == "postgres" else 1)
