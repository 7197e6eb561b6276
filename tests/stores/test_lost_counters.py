"""A shared state that loses single counters: nothing is forgotten, and nothing is counted twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
import redis.asyncio

from semroute.errors import StoreError
from semroute.stores.interfaces import BASE, EPOCH, FILLED, SharedState, Want
from semroute.stores.lost_counters import Knowledge
from semroute.stores.memory import MemoryState
from semroute.stores.redis import PREFIX, RedisState
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from tests.stores.conftest import NOW, Clock
from tests.stores.servers import RedisServer

COUNTERS = ("usd:all", "usd:team")
END = NOW + 86_400

Lose = Callable[[Sequence[str]], Awaitable[None]]


class Log:
    """The decision log: when requests ended, and what each of them spent of every counter."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, int]] = []

    async def __call__(self, before: float) -> dict[str, tuple[int, float]]:
        return {name: (sum(amount for when, amount in self.ended if when < before), END) for name in COUNTERS}

    async def cannot_tell(self, before: float) -> None:
        return None


@pytest.fixture
async def lose(state: SharedState) -> AsyncIterator[Lose]:
    """Forget keys of a state, as Redis does when it evicts them."""
    if isinstance(state, RedisState):
        client: redis.asyncio.Redis = state._redis

        async def delete(names: Sequence[str]) -> None:
            await client.delete(*(PREFIX + name for name in names))

    elif isinstance(state, SqlState):

        async def delete(names: Sequence[str]) -> None:
            with state._database.transaction() as session:
                for name in names:
                    session.run("DELETE FROM counters WHERE name = ?", (name,))

    else:
        assert isinstance(state, MemoryState)

        async def delete(names: Sequence[str]) -> None:
            for name in names:
                state._counters.pop(name, None)
                if name == EPOCH:
                    state._epoch = 0

    yield delete


async def start(state: SharedState, clock: Clock, log: Log | None = None) -> ResilientState:
    process = ResilientState(state, clock, known=log or Log().cannot_tell)
    await process.start()
    return process


async def spend(process: ResilientState, hold: str, amount: int, log: Log | None = None) -> None:
    await process.settle(hold, {name: (amount, END) for name in COUNTERS}, ended=process._clock())
    if log is not None:
        log.ended.append((process._clock(), amount))


def wants(limit: int | None = None) -> list[Want]:
    return [Want(name, 10, limit, END) for name in COUNTERS]


LOST = {
    "counter": ["usd:all"],
    "both": [*COUNTERS],
    "counter-and-base": ["usd:all", BASE + "usd:all"],
    "counter-and-holds": ["usd:all", "usd:all:holds"],
    "moment": ["usd:all", FILLED + "usd:all", BASE + "usd:all"],
}


@pytest.mark.parametrize("logs", [True, False], ids=["log", "no-log"])
@pytest.mark.parametrize("lost", LOST.values(), ids=LOST)
async def test_a_counter_that_is_lost_before_a_payment_is_restored(
    state: SharedState, lose: Lose, clock: Clock, logs: bool, lost: list[str]
) -> None:
    log = Log() if logs else None
    process = await start(state, clock, log)
    total = 0
    for number in range(3):  # it is lost again and again
        await process.reserve(f"old-{number}", wants())
        await spend(process, f"old-{number}", 50, log)
        clock.now += 5
        for name in ("a", "b"):
            await process.reserve(f"{name}-{number}", wants())
        await spend(process, f"a-{number}", 7, log)  # the log has it too late
        await lose(lost)
        await spend(process, f"b-{number}", 3, log)
        total += 60
        assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, total)
        for _ in range(8):
            clock.now += 1
            await process.look()
        assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, total)
    assert process.error is None
    assert process._alone.level("usd:all") == total


@pytest.mark.parametrize("logs", [True, False], ids=["log", "no-log"])
async def test_processes_that_find_out_together_restore_it_once(
    state: SharedState, lose: Lose, clock: Clock, logs: bool
) -> None:
    log = Log() if logs else None
    processes = [await start(state, clock, log) for _ in range(2)]
    for number in range(40):
        await processes[number % 2].reserve(f"r{number}", wants())
    for number in range(20):
        await spend(processes[number % 2], f"r{number}", 10, log)
    await lose(COUNTERS)
    await asyncio.gather(*(spend(processes[number % 2], f"r{number}", 1, log) for number in range(20, 40)))
    await asyncio.gather(*(process.look() for process in processes))
    # The first of them did not hear of the last payment that the other made.
    told = await state.levels(COUNTERS)
    assert all(level in (210, 220) for level in told.values()), told


async def test_what_a_process_owes_and_the_log_has_is_not_counted_twice(
    state: SharedState, lose: Lose, clock: Clock
) -> None:
    log = Log()
    here, away = [await start(state, clock, log) for _ in range(2)]
    for process in (here, away):
        await process.reserve("r1", wants())
        await spend(process, "r1", 10, log)
        await process.reserve("r2", wants())
    away._gone(StoreError("the network is down"))
    for number in range(5):
        await away.reserve(f"away-{number}", wants())
        await spend(away, f"away-{number}", 2, log)
    await spend(away, "r2", 4, log)
    clock.now += 5
    await lose(COUNTERS)
    await spend(here, "r2", 1, log)
    await away.look()
    assert not away._owed
    assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, 35)
    # The process that was away may also be the one to find out.
    await away.reserve("r3", wants())
    away._gone(StoreError("the network is down"))
    await spend(away, "r3", 6, log)
    clock.now += 5
    await lose(COUNTERS)
    await away.look()
    assert away.error is None
    assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, 41)


async def test_a_counter_that_was_reset_is_not_lost(state: SharedState, lose: Lose, clock: Clock) -> None:
    one, other = [await start(state, clock) for _ in range(2)]
    for process in (one, other):
        await process.reserve("r1", wants())
        await process.reserve("r2", wants())
        await spend(process, "r1", 10)
    await one.reset("usd:all")
    await spend(other, "r2", 3)
    assert await state.levels(COUNTERS) == {"usd:all": 3 + 10, "usd:team": 23 + 10}  # and one more hold
    await spend(one, "r2", 1)
    await lose(["usd:all"])
    await other.reserve("r3", wants())
    await spend(other, "r3", 1)
    assert await state.levels(COUNTERS) == {"usd:all": 4, "usd:team": 25}


async def test_a_lost_base_adds_nothing(redis_server: RedisServer, clock: Clock) -> None:
    state = RedisState(redis_server.new_database(), clock)
    await state.refill(1, {"usd:all": (50, END)})
    await state.settle("r1", {"usd:all": (7, END), "usd:team": (2, END)})
    await state._redis.delete(PREFIX + BASE + "usd:all")
    for _ in range(2):
        await state.refill(1, {"usd:all": (50, END), "usd:team": (3, END)})
    assert await state.levels(COUNTERS) == {"usd:all": 57, "usd:team": 5}
    await state.aclose()


async def test_a_base_that_outlives_its_counter_does_not_hide_what_others_know(state: SharedState, lose: Lose) -> None:
    await state.refill(1, {"usd:all": (70, END)})
    await lose(["usd:all"])
    for amount in (50, 60):
        await state.refill(1, {"usd:all": (amount, END)})
    assert await state.levels(["usd:all"]) == {"usd:all": 60}


async def test_a_lost_epoch_alone_changes_no_counter(
    state: SharedState, lose: Lose, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    log = Log()
    one, other = [await start(state, clock, log) for _ in range(2)]
    finds = {
        "a": one.look,
        "b": lambda: spend(one, "b-held", 0),
        "c": lambda: one.reserve("c-more", []),
        "d": other.look,
    }
    for number, (name, find_out) in enumerate(finds.items()):
        for hold in ("held", "spent"):
            await one.reserve(f"{name}-{hold}", wants())
        await spend(one, f"{name}-spent", 10, log)
        await lose([EPOCH])
        await find_out()
        for process in (other, one):
            await process.look()
        await spend(one, f"{name}-held", 0)
        assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, 10 * (number + 1))
        clock.now += 2
    assert "came back empty" not in caplog.text


async def test_a_lost_mark_or_hold_alone_counts_once(redis_server: RedisServer, clock: Clock) -> None:
    state = RedisState(redis_server.new_database(), clock)
    await state.refill(1, {})
    process = await start(state, clock)
    await process.reserve("r1", wants())
    await process.reserve("r2", wants())
    await state._redis.delete(PREFIX + "usd:all:holds")
    await spend(process, "r1", 3)
    await state._redis.delete(PREFIX + f"settled:{process._name('r1')}")
    await process.look()
    await spend(process, "r2", 4)
    await process.settle("r1", {name: (0, END) for name in COUNTERS})
    assert await state.levels(COUNTERS) == dict.fromkeys(COUNTERS, 7)
    await process.aclose()


def test_what_is_restored_is_the_most_that_log_or_process_can_tell() -> None:
    knowledge = Knowledge(
        100,
        heard={name: (amount, END) for name, amount in {"a": 10, "b": 10, "c": 10, "d": 0}.items()},
        recent={"a": (3, END)},
        owed={"b": (4, END), "c": (5, END)},
    )
    logged = {"a": (9, 0.0), "b": (11, 0.0), "other": (7, 0.0)}
    assert knowledge.restored("abcd", logged) == (
        {"a": (12, END), "b": (14, END)},
        {"c": (10, END), "d": (0, END)},  # what is owed is still paid
    )


@pytest.mark.parametrize(
    ("policy", "maxmemory", "warns"),
    [
        ("allkeys-lru", "1gb", True),
        ("volatile-ttl", "1gb", True),
        ("noeviction", "1gb", False),
        ("allkeys-lru", "0", False),
    ],
)
async def test_an_eviction_policy_that_drops_counters_is_told_once(
    redis_server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture, policy: str, maxmemory: str, warns: bool
) -> None:
    url = redis_server.new_database()
    async with redis.asyncio.Redis.from_url(url) as server:
        await server.config_set("maxmemory-policy", policy)
        await server.config_set("maxmemory", maxmemory)
        try:
            process = await start(RedisState(url, clock), clock)
            await process.look()
        finally:
            await server.config_set("maxmemory", "0")
            await server.config_set("maxmemory-policy", "noeviction")
    told = [entry.getMessage() for entry in caplog.records if "maxmemory-policy" in entry.getMessage()]
    assert len(told) == warns
    assert all(policy in message and "expected noeviction" in message for message in told)
    await process.aclose()


async def test_a_redis_that_does_not_tell_its_policy_is_used_without_a_word(
    redis_server: RedisServer, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url = redis_server.new_database()
    async with redis.asyncio.Redis.from_url(url) as server:
        await server.acl_setuser(
            "hosted", enabled=True, passwords=["+secret"], keys=["*"], categories=["+@all"], commands=["-config"]
        )
        process = await start(RedisState(url.replace("//", "//hosted:secret@"), clock), clock)
        await process.look()
        assert process.error is None
        await process.aclose()
        await server.acl_deluser("hosted")
    assert [entry for entry in caplog.records if entry.levelno >= logging.WARNING] == []
