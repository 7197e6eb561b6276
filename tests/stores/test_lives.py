"""Processes that die, stop or find an empty state: what they held is freed, what they spent is counted."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest
import redis.asyncio

from semroute.access.accounts import Accounts
from semroute.access.budget_recovery import spent_by_log
from semroute.access.reservations import CostBasis
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.routes import Default
from semroute.config.schema.service import Budget
from semroute.errors import LimitError, StoreError
from semroute.messages import ChatRequest, Usage
from semroute.record import Attempt
from semroute.stores import resilient_state
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Beats, SharedState, Want, to_pico
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.process_leases import SILENT_LOOKS
from semroute.stores.redis import RedisState
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sqlite import SqliteDatabase
from semroute.stores.unpaid_spend import FINE_S, UnpaidSpend
from tests.access.test_reservations import decision
from tests.stores.conftest import NOW, Clock
from tests.stores.servers import RedisServer
from tests.stores.test_decision_log import record

END = NOW + 86_400
NOTHING = Config(providers={}, models={}, routes={}, default=Default(models=()))


def want(amount: int = 10, limit: int | None = 100) -> list[Want]:
    return [Want("usd:all", amount, limit, END)]


async def test_what_the_dead_hold_is_free_after_some_looks_of_the_living(state: SharedState, clock: Clock) -> None:
    dead, living = (ResilientState(state, clock) for _ in range(2))
    await dead.start()
    await living.start()
    await dead.reserve("r1", want(100))
    for _ in range(10 * SILENT_LOOKS):  # it lives: its holds stand
        await dead.look()
        await living.look()
    assert (await living.reserve("r2", want())).refused == "usd:all"
    assert living.frees_in_s() == 0
    looks = 0
    while (await living.reserve("r2", want())).refused is not None:
        await living.look()
        looks += 1
        clock.now -= 3600  # clocks say nothing
    assert looks == SILENT_LOOKS + 1
    # It was only slow: what it spent is counted, and what it still holds stands again.
    await dead.reserve("r3", want(0))
    await dead.look()
    assert await living.levels(["usd:all"]) == {"usd:all": 110}
    await dead.settle("r1", {"usd:all": (40, END)})
    assert await living.levels(["usd:all"]) == {"usd:all": 50}


async def test_a_key_whose_places_the_dead_hold_is_told_when_they_are_free(clock: Clock) -> None:
    shared = MemoryState(clock)
    dead, living = (ResilientState(shared, clock) for _ in range(2))
    accounts = Accounts(living, clock, frees_in_s=living.frees_in_s)
    caller, ask = Caller(id="k1", concurrency=1), CostBasis(request=ChatRequest(id="r", messages=()))
    await dead.start()
    await dead.reserve("r1", [Want("running:k1", 1, 1, END)])
    await living.start()
    waits = []
    while True:
        hold = accounts.open(NOTHING, caller, "r", None)
        try:
            await accounts.admit(NOTHING, caller, ask, decision(), hold)
            break
        except LimitError as error:
            waits.append(error.retry_after_s)
        await living.look()
    assert waits == [*range(SILENT_LOOKS, 0, -1)]


@pytest.fixture
async def away(clock: Clock, tmp_path: Path) -> AsyncIterator[tuple[MemoryState, ResilientState]]:
    """A state that is there, and a process that cannot reach it any more."""
    shared = MemoryState(clock)
    process = ResilientState(shared, clock, file=tmp_path / "owed")
    await process.start()
    await process.reserve("r1", want())
    process._gone(StoreError("the network is down"))
    await process.settle("r1", {"usd:all": (10, END)})
    for number in range(100):
        await process.reserve(f"away-{number}", want(1, None))
        await process.settle(f"away-{number}", {"usd:all": (1, END)})
    yield shared, process


@pytest.mark.parametrize("amounts", [(0, 0), (10, 0)])
async def test_requests_that_may_cost_nothing_end_in_any_order(clock: Clock, amounts: tuple[int, int]) -> None:
    process = ResilientState(MemoryState(clock), clock)
    await process.start()
    for number, amount in enumerate(amounts):
        await process.reserve(f"r{number}", want(amount))
    for number, amount in enumerate(amounts):
        await process.settle(f"r{number}", {"usd:all": (amount, END)})
    assert process._alone.held == {}
    assert process._alone.level("usd:all") == await process._shared.reset("usd:all")


def written_down(folder: Path) -> list[Path]:
    return [*folder.glob("owed-*.json")]


async def test_what_is_owed_is_written_down_while_the_state_hangs(
    away: tuple[MemoryState, ResilientState], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, process = away
    asked, written = asyncio.Event(), asyncio.Event()

    async def hang(owner: str) -> Beats:
        asked.set()
        await written.wait()
        raise StoreError("no answer")

    def write() -> bool:
        result = write_down()
        loop.call_soon_threadsafe(written.set)
        return result

    loop, write_down = asyncio.get_running_loop(), process._owed.write
    monkeypatch.setattr(shared, "beat", hang)
    monkeypatch.setattr(process._owed, "write", write)
    monkeypatch.setattr(resilient_state, "LOOK_S", 0.001)
    running = asyncio.create_task(process.run())
    async with asyncio.timeout(20):
        await asked.wait()
        await written.wait()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert written_down(tmp_path)


async def test_what_was_spent_in_an_outage_counts_and_is_paid_in_sums(
    away: tuple[MemoryState, ResilientState],
) -> None:
    shared, process = away
    assert await process.levels(["usd:all"]) == {"usd:all": 110}
    assert (await process.reserve("r2", want(1, 110))).refused == "usd:all"
    assert len(process._owed) == 2  # one of the request that the state knew of, and one of all others
    await process.look()
    assert process.error is None
    assert await shared.levels(["usd:all"]) == {"usd:all": 110}


async def test_what_a_dead_process_owed_is_paid_by_the_next(
    away: tuple[MemoryState, ResilientState], clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared, process = away
    assert process._owed.write()
    path = process._owed.path
    assert path is not None
    early = ResilientState(shared, clock, file=tmp_path / "owed")
    await early.start()  # its owner still lives: it is not taken
    assert await shared.levels(["usd:all"]) == {"usd:all": 10}
    assert process._owed.close()  # as the system lets go of a dead process's lock
    before = path.read_bytes()
    following = ResilientState(shared, clock, file=tmp_path / "owed")
    await following.start()
    assert await following.levels(["usd:all"]) == {"usd:all": 110}
    assert following._owed.path is not None
    assert not any(map(os.path.exists, (path, following._owed.path)))
    # The file may come back with a disk that is restored: it is not paid twice.
    path.write_bytes(before)
    await ResilientState(shared, clock, file=tmp_path / "owed").start()
    assert await shared.levels(["usd:all"]) == {"usd:all": 110}
    assert "took over" in caplog.text
    assert len(json.loads(before)) == 2


async def test_a_redis_that_comes_back_empty_goes_on_where_it_was(
    redis_server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.new_database()

    logged: dict[str, tuple[int, float]] = {}

    async def known(before: float) -> dict[str, tuple[int, float]]:
        return logged

    one, other = (ResilientState(RedisState(url, clock), clock, known=known) for _ in range(2))
    await one.start()
    caplog.clear()
    await one.reserve("r1", want(95))
    await one.settle("r1", {"usd:all": (95, END)})
    await one.look()
    clock.now += 2
    logged |= {"usd:all": (90, END), "usd:other": (7, END)}
    async with redis.asyncio.Redis.from_url(url) as server:
        await server.flushdb()
        # This process knows more than the log, and is the first to ask.
        assert (await one.reserve("r2", want(6))).refused == "usd:all"
        assert await one.levels(["usd:all", "usd:other"]) == {"usd:all": 95, "usd:other": 7}
        assert "came back empty: restored 2 counters" in caplog.text
        await server.delete("{semroute}:usd:all")  # one key alone was evicted
        assert (await one.reserve("r3", want(6))).refused == "usd:all"
        await server.flushdb()
    await other.start()  # this one knows the log alone
    assert await other.levels(["usd:all", "usd:other"]) == {"usd:all": 90, "usd:other": 7}
    await one.look()
    assert await other.levels(["usd:all"]) == {"usd:all": 95}
    for process in (one, other):
        await process.aclose()


def test_the_log_tells_what_each_budget_has_spent() -> None:
    config = Config(
        providers={},
        models={},
        routes={},
        default=Default(models=()),
        budgets=(
            Budget(name="all", usd=Decimal(100)),
            Budget(name="app", usd=Decimal(100), key="app"),
            Budget(name="web", usd=Decimal(100), team="web", per="day"),
            Budget(name="billing", usd=Decimal(100), route="billing"),
        ),
    )
    log = SqlLog(SqliteDatabase())
    migrate(log.database)
    caller = Caller(id="k1", name="app", team="web", usd_per_month=Decimal(5))
    attempt = Attempt(model="m", status="ok", latency_ms=1, cost_usd=Decimal(1), usage=Usage())
    log.write([record(number, caller=caller, route="billing", attempts=(attempt,)) for number in range(1, 4)])
    log.write([record(4, caller=Caller(id="k2"), route=None, attempts=(attempt,))])
    # A record's number is the second in which it came; it took less than one.
    everything = spent_by_log(log, config, [caller], NOW, NOW + 60)
    spent = {counter.split(":")[1]: amount for counter, (amount, _) in everything.items()}
    assert spent == {
        name: to_pico(Decimal(usd)) for name, usd in {"all": 4, "app": 3, "web": 3, "billing": 3, "k1": 3}.items()
    }
    assert spent_by_log(log, config, [], NOW, NOW + 3)[next(iter(everything))][0] == to_pico(Decimal(3))
    log.note_reset(next(iter(everything)), to_pico(Decimal(3)), NOW)
    assert spent_by_log(log, config, [], NOW, NOW + 60)[next(iter(everything))][0] == to_pico(Decimal(1))
    log.database.close()


def test_a_long_outage_is_summed_up_by_the_minute() -> None:
    owed = UnpaidSpend("owner")
    for second in range(6000):
        owed.add({"usd:all": (1, END)}, NOW + second)
    assert len(owed) < FINE_S + 100 + 5
    assert owed.of("usd:all") == owed.sums(math.inf)["usd:all"][0] == 6000
    assert owed.sums(NOW + 5990)["usd:all"][0] == 5990


@pytest.mark.parametrize("turns", range(1, 14))
async def test_who_leaves_while_an_empty_state_is_filled_loses_nothing(
    clock: Clock, tmp_path: Path, turns: int
) -> None:
    class Store:
        """A state that can be emptied."""

        state = MemoryState(clock)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.state, name)

    async def known(before: float) -> dict[str, tuple[int, float]]:
        return {}

    store = Store()
    process = ResilientState(cast(SharedState, store), clock, file=tmp_path / "owed", known=known)
    await process.start()
    await process.reserve("r1", want())
    await process.settle("r1", {"usd:all": (10, END)})
    store.state = MemoryState(clock, epoch=0)
    asking = asyncio.create_task(process.reserve("r2", want()))
    for _ in range(turns):
        await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await process.settle("r2", {"usd:all": (0, END)})
    for _ in range(3):
        await process.look()
    assert await process.levels(["usd:all"]) == {"usd:all": 10}
