"""What happens to the books while their servers are away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import redis.asyncio
from msgspec.structs import replace

from semroute.config.schema.service import LogSettings
from semroute.errors import StoreError
from semroute.record import Record
from semroute.stores import log_writer
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query, SharedState, State, Want
from semroute.stores.log_writer import LogWriter
from semroute.stores.migrations import migrate
from semroute.stores.postgres import PostgresDatabase
from semroute.stores.redis import RedisState
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import NOW, Clock
from tests.stores.servers import PostgresServer, RedisServer, Server
from tests.stores.test_decision_log import DAY, record

END = NOW + 86_400


def want(limit: int | None) -> list[Want]:
    return [Want("usd:all", 10, limit, END)]


async def spend(state: State, numbers: Sequence[int], limit: int | None = None) -> int:
    """Reserve and settle, many at once. Returns how many were served."""

    async def one(number: int) -> bool:
        if (await state.reserve(f"r{number}", want(limit), 600)).refused is not None:
            return False
        await state.settle(f"r{number}", {"usd:all": (10, END)})
        return True

    return sum(await asyncio.gather(*(one(number) for number in numbers)))


async def through_an_outage(shared: SharedState, again: State, server: Server, clock: Clock) -> None:
    """`again`: the same state, for a look at it afterwards."""
    state = ResilientState(shared, clock)
    await state.start()
    assert await spend(state, range(100)) == 100
    running = asyncio.create_task(spend(state, range(100, 300)))
    await asyncio.to_thread(server.stop_process)
    assert await spend(state, range(300, 400)) == 100
    assert await running == 200
    assert state.error is not None
    assert await spend(state, range(400, 500)) == 100
    assert await state.levels(["usd:all"]) == {"usd:all": 5000}
    await asyncio.to_thread(server.start_process)
    while state.error is not None:  # it is looked for again and again
        await state.look()
    assert await again.levels(["usd:all"]) == {"usd:all": 5000}  # all was paid before it counts as back
    assert await spend(state, range(500, 600)) == 100
    await state.aclose()
    assert await again.levels(["usd:all"]) == {"usd:all": 6000}
    await again.aclose()


async def test_redis_stops_and_starts_under_load(redis_server: RedisServer, clock: Clock) -> None:
    url = redis_server.new_database()
    await through_an_outage(RedisState(url, clock), RedisState(url, clock), redis_server, clock)


async def test_postgres_restarts_under_load(postgres: PostgresServer, clock: Clock) -> None:
    url = postgres.new_database()
    one, other = (SqlState(PostgresDatabase(url), clock, threads=4) for _ in range(2))
    database = PostgresDatabase(url)
    migrate(database)
    database.close()
    await through_an_outage(one, other, postgres, clock)


async def test_limits_hold_while_the_shared_state_is_away(redis_server: RedisServer, clock: Clock) -> None:
    shared = RedisState(redis_server.new_database(), clock)
    state = ResilientState(shared, clock)
    await state.start()
    assert await spend(state, range(60), 1000) == 60
    await asyncio.to_thread(redis_server.stop_process)
    assert await spend(state, range(60, 160), 1000) == 40
    await asyncio.to_thread(redis_server.start_process)
    await shared.aclose()


async def test_limits_hold_while_the_shared_state_can_only_be_read(redis_server: RedisServer, clock: Clock) -> None:
    url = redis_server.new_database()
    state, again = ResilientState(RedisState(url, clock), clock), RedisState(url, clock)
    await state.start()
    assert await spend(state, range(50), 1000) == 50
    served = 0
    async with redis.asyncio.Redis.from_url(url) as server:
        await server.config_set("maxmemory", 1)
        for number in range(50, 150):
            await state.look()  # it answers, and takes nothing
            served += await spend(state, [number], 1000)
        await server.config_set("maxmemory", 0)
    assert served == 50
    await state.look()
    assert state.error is None
    await state.aclose()
    assert await again.levels(["usd:all"]) == {"usd:all": 1000}
    await again.aclose()


GARBAGE = {
    "ok": b"+OK\r\n",
    "a number": b":1\r\n",
    "no values": b"*0\r\n",
    "another script's": b"*2\r\n$1\r\nx\r\n*1\r\n:1\r\n",
    "a broken length": b"$abc\r\n",
    "a web server's": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "bytes": b"\x00\xff\xfe\r\n",
}


@pytest.mark.parametrize("reply", GARBAGE.values(), ids=GARBAGE.keys())
async def test_what_answers_like_no_redis_counts_as_away(reply: bytes, clock: Clock) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while asked := await reader.read(65_536):
            writer.write(b"+OK\r\n" * asked.count(b"\r\nCLIENT\r\n") or reply)  # a greeting, then all else
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    shared = RedisState(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", clock)
    for ask in (shared.beat("a" * 16), shared.reserve("r", want(10), 60), shared.levels(["usd:all"])):
        with pytest.raises(StoreError, match="Redis"):
            await ask
    for value in (shared.get("a"), shared.get_many(["a", "b"])):
        with suppress(StoreError):
            assert isinstance(await value, bytes | dict)

    state = ResilientState(shared, clock)
    await state.start()

    assert state.error is not None
    assert await spend(state, range(10), limit=50) == 5  # this process alone enforces limits
    await state.aclose()
    server.close()


def test_postgres_restarts_while_the_log_is_written(postgres: PostgresServer) -> None:
    log = SqlLog(PostgresDatabase(postgres.new_database()))
    migrate(log.database)
    writer = LogWriter(log, LogSettings)
    stop = threading.Event()

    def produce() -> int:
        number = 0
        while not stop.is_set() or number < 2000:
            number += 1
            assert writer.put(record(number))
            stop.wait(0.0005)
        return number

    with ThreadPoolExecutor(1) as pool:
        produced = pool.submit(produce)
        assert writer.flush()
        postgres.stop_process()
        postgres.start_process()
        stop.set()
        count = produced.result()
    assert writer.flush(30)
    assert writer.close()
    assert (writer.dropped, writer.error) == (0, None)
    [total] = log.stats("all", 0, DAY + 9)
    assert total["requests"] == count == len(list(log.export(Query())))
    log.database.close()


class Slow:
    """A sink that waits until it is told to go on, and may be broken."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.broken = 0
        self.records: list[Record] = []
        self.again: list[bool] = []

    def write(self, batch: Sequence[Record], *, again: bool = False) -> None:
        self.go.wait()
        self.again.append(again)
        if self.broken:
            self.broken -= 1
            raise StoreError("disk full")
        self.records += batch

    def prune(self, *, before: float | None, max_bytes: int | None) -> int:
        return 0


def test_a_full_queue_drops_and_counts() -> None:
    sink = Slow()
    writer = LogWriter(sink, lambda: LogSettings(queue=5))
    taken = [writer.put(record(number)) for number in range(1, 9)]
    assert (taken, writer.dropped, writer.waiting) == ([True] * 5 + [False] * 3, 3, 5)
    sink.go.set()
    assert writer.close()
    assert len(sink.records) == 5


def test_a_queue_of_long_texts_is_full_with_fewer_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MAX_CHARS", 10_000)
    monkeypatch.setattr(log_writer, "MAX_BATCH_CHARS", 2000)
    sink = Slow()
    writer = LogWriter(sink, LogSettings)
    long = [replace(record(number), prompt="p" * 600, answer="a" * 400) for number in range(20)]
    assert [writer.put(each) for each in long] == [True] * 10 + [False] * 10
    sink.go.set()
    assert writer.flush()
    assert writer.put(long[10])
    assert writer.close()
    assert [each.request_id for each in sink.records] == [each.request_id for each in long[:11]]
    assert len(sink.again) >= 5  # no commit holds much more than its share
    assert writer.overflown == 10


async def test_a_full_queue_slows_requests_where_it_should() -> None:
    sink = Slow()
    writer = LogWriter(sink, lambda: LogSettings(queue=2, when_full="slow"))
    for number in (1, 2):
        await writer.room()
        writer.put(record(number))
    third = asyncio.create_task(writer.room())
    await asyncio.sleep(0)
    assert not third.done()
    sink.go.set()
    await third
    writer.put(record(3))
    assert await asyncio.to_thread(writer.close)
    assert (len(sink.records), writer.dropped) == (3, 0)


def test_a_write_that_failed_is_repeated_as_such() -> None:
    sink = Slow()
    sink.broken = 2
    sink.go.set()
    writer = LogWriter(sink, LogSettings)
    writer.put(record(1))
    assert writer.flush()
    assert sink.again == [False, True, True]
    assert writer.error is None
    assert writer.close()


def test_a_clean_stop_loses_nothing(tmp_path: Path) -> None:
    log = SqlLog(SqliteDatabase(tmp_path / "semroute.db"))
    migrate(log.database)
    writer = LogWriter(log, LogSettings)
    for number in range(1, 3001):
        writer.put(record(number))
    assert writer.close()
    assert log.stats("all", 0, DAY + 1)[0]["requests"] == 3000
    log.database.close()


@pytest.mark.parametrize("keep", [LogSettings(keep_days=1), LogSettings(keep_mb=1)], ids=["days", "size"])
def test_old_records_go_once_a_minute(tmp_path: Path, clock: Clock, keep: LogSettings) -> None:
    log = SqlLog(SqliteDatabase(tmp_path / "semroute.db"))
    migrate(log.database)
    clock.now += 2 * 86_400
    writer = LogWriter(log, lambda: keep, clock, clock)
    for number in range(1, 3001):
        writer.put(record(number))
    assert writer.flush()
    clock.now += 61
    assert writer.flush()
    assert writer.close()
    left = len(list(log.export(Query())))
    assert left == 0 if keep.keep_days else 0 < left < 2500
    log.database.close()
