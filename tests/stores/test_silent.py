"""Servers that hang, networks that swallow and connections that are reset: nobody waits for long, or twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
import uvloop

from semroute.errors import StoreError
from semroute.stores.connection_cutoff import Cutoff
from semroute.stores.interfaces import SharedState, State, Want
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import Migrating, migrate
from semroute.stores.postgres import PostgresDatabase
from semroute.stores.redis import RedisState
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase
from semroute.stores.state_deadline import with_deadline
from tests.service import until
from tests.stores.conftest import NOW, Clock
from tests.stores.proxy import Proxy
from tests.stores.servers import PostgresServer, RedisServer

ANSWER_S = 0.5
WANTS = [Want("usd:all", 10, 1000, NOW + 86_400)]

Hang = Callable[[], AbstractContextManager[None]]


def _behind(proxy: Proxy, url: str, port: int) -> str:
    return url.replace(f":{port}/", f":{proxy.port}/")


@contextmanager
def _swallowing(proxy: Proxy) -> Iterator[None]:
    proxy.swallows = True
    try:
        yield
    finally:
        proxy.swallows = False


@pytest.fixture(params=["postgres stops", "postgres is cut off", "redis stops", "redis is cut off"])
async def hanging(request: pytest.FixtureRequest) -> AsyncIterator[tuple[SharedState, Hang, Proxy]]:
    """A shared state, what makes its server hang, and the proxy before it."""
    what, how = request.param.split(" ", 1)
    server: PostgresServer | RedisServer = request.getfixturevalue("postgres" if what == "postgres" else "redis_server")
    url = server.new_database()
    with Proxy(server.port) as proxy:
        through = _behind(proxy, url, server.port)
        shared: State
        if what == "redis":
            shared = RedisState(through)
        else:
            shared = SqlState(Migrating(PostgresDatabase(through, answer_s=ANSWER_S)), threads=2)
            await shared.levels(["usd:all"])  # migrates
        state = with_deadline(shared, ANSWER_S)
        yield state, server.hanging if how == "stops" else lambda: _swallowing(proxy), proxy
        await state.aclose()


async def test_who_asks_a_state_that_hangs_is_told_in_time_and_the_next_at_once(
    hanging: tuple[SharedState, Hang, Proxy],
) -> None:
    state, hang, proxy = hanging
    assert (await state.reserve("r1", WANTS, 60)).refused is None
    with hang():
        told = await asyncio.gather(
            *(state.settle(f"s{number}", {"usd:all": (1, NOW + 86_400)}) for number in range(10)),
            *(state.get(f"g{number}") for number in range(10)),
            return_exceptions=True,
        )
        assert {type(answer) for answer in told} == {StoreError}
        asked = proxy.received
        for ask in (state.levels(["usd:all"]), state.get("a"), state.put("a", b"1", 9)):
            with pytest.raises(StoreError):
                ask.send(None)  # not one turn of the event loop is waited
        assert proxy.received == asked
    for _ in range(200):
        try:
            assert (await state.levels(["usd:all"]))["usd:all"] >= 0
            return
        except StoreError:
            await asyncio.sleep(0.1)
    pytest.fail("the state is never asked again")


class Slow(MemoryState):
    """One call after the other, each of which takes a while."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = asyncio.Lock()

    async def get(self, key: str) -> bytes | None:
        async with self._turn:
            await asyncio.sleep(0.05)
        return await super().get(key)


async def test_a_state_that_answers_one_after_the_other_does_not_hang() -> None:
    state = with_deadline(Slow(), 1.0)
    assert set(await asyncio.gather(*(state.get("a") for _ in range(40)))) == {None}
    await state.aclose()


async def back(state: ResilientState) -> None:
    """Until the state that it shares is reached again."""
    for _ in range(300):
        await state.look()
        if state.error is None:
            break
        await asyncio.sleep(0.1)
    assert state.error is None


async def test_budgets_go_on_while_the_state_hangs(hanging: tuple[SharedState, Hang, Proxy]) -> None:
    shared, hang, _ = hanging
    state = ResilientState(shared)
    with hang():
        for number in range(20):
            assert (await state.reserve(f"r{number}", WANTS, 60)).refused is None
            await state.settle(f"r{number}", {"usd:all": (10, NOW + 86_400)})
        assert state.error is not None
    await back(state)


def test_every_thread_that_waits_for_a_hanging_server_is_free_again(postgres: PostgresServer) -> None:
    database = PostgresDatabase(postgres.new_database(), max_connections=4, answer_s=ANSWER_S)
    migrate(database)

    def ask(_: int) -> str:
        try:
            with database.transaction(write=False) as session:
                session.run("SELECT 1")
        except StoreError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(ask, range(8))) == {""}
        with postgres.hanging():
            assert "" not in set(pool.map(ask, range(8)))  # all come back
        assert until(lambda: ask(0) == "")
    database.close()


def test_a_statement_that_takes_too_long_is_ended_and_the_server_is_not_away(postgres: PostgresServer) -> None:
    database = PostgresDatabase(postgres.new_database(), answer_s=ANSWER_S)
    with pytest.raises(StoreError, match=r"statement timeout|no answer"), database.transaction() as session:
        session.run("SELECT pg_sleep(60)")
    assert until(lambda: _answers(database))
    database.close()


def _answers(database: PostgresDatabase) -> bool:
    try:
        with database.transaction(write=False) as session:
            return session.run("SELECT 1") == [(1,)]
    except StoreError:
        return False


async def test_a_file_that_another_process_has_locked_counts_as_away(tmp_path: Path, clock: Clock) -> None:
    database = Migrating(SqliteDatabase(tmp_path / "state.db", busy_s=0.3))
    state = ResilientState(with_deadline(SqlState(database, clock), ANSWER_S), clock)
    assert (await state.reserve("r1", WANTS, 60)).refused is None
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert (await state.reserve("r2", WANTS, 60)).refused is None
        assert state.error is not None
        other.execute("ROLLBACK")
    await back(state)
    await state.aclose()


def test_only_who_is_late_is_cut_off() -> None:
    now, asked = [0.0], []
    cutoff = Cutoff(lambda: now[0])

    def closed(name: str) -> int:
        asked.append(name)
        raise OSError("it is closed")

    with cutoff.within(1, lambda: closed("late")) as late, cutoff.within(9, lambda: closed("in time")) as in_time:
        now[0] = 2.0
        cutoff.look()
        assert (late(), in_time()) == (True, False)
    assert asked == ["late"]


def test_a_connection_that_was_reset_while_it_rested_is_replaced(redis_server: RedisServer) -> None:
    """On uvloop, which the service runs on: it raises `RuntimeError` there, which redis-py passes on."""

    async def ask() -> None:
        with Proxy(redis_server.port) as proxy:
            state = RedisState(_behind(proxy, redis_server.new_database(), redis_server.port))
            for key in map(str, range(20)):
                assert await state.put_new(key, b"v", 60)
                await asyncio.to_thread(proxy.reset)
                assert await state.get(key) == b"v"
                await asyncio.to_thread(proxy.reset)
                assert (await state.reserve(key, WANTS, 60)).refused is None
                await asyncio.to_thread(proxy.reset)
            await state.aclose()

    uvloop.run(ask())
