"""Holds, payments and owners against a model: processes that crash, states that go away or come back empty, any order.

Once all is quiet, exactly what was spent must be told, but for what a crash may lose. `SEMROUTE_TEST_EXAMPLES` asks for
more examples than a run of the suite has time for.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from semroute.errors import StoreError
from semroute.stores.interfaces import BASE, EPOCH, HOLD_S, Beats, SharedState, Verdict, Want
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.postgres import PostgresDatabase
from semroute.stores.process_leases import SILENT_LOOKS
from semroute.stores.redis import PREFIX, RedisState
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase
from semroute.stores.unpaid_spend import Payment
from tests.stores.conftest import NOW, Clock

Result = TypeVar("Result")

COUNTER, LIMIT, END = "usd:all", 300, NOW + 40 * 86_400
LOST = {
    "counter": [COUNTER],
    "counter and base": [COUNTER, BASE + COUNTER],
    "counter and holds": [COUNTER, f"{COUNTER}:holds"],
    "epoch": [EPOCH],
}
EXAMPLES = {"memory": 40, "sqlite": 10, "redis": 10, "postgres": 3}


def examples(kind: str) -> settings:
    return settings(
        max_examples=int(os.environ.get("SEMROUTE_TEST_EXAMPLES", EXAMPLES[kind])),
        stateful_step_count=40,
        deadline=None,
        derandomize="SEMROUTE_TEST_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
    )


class Line:
    """The way of one process to the state. A call may fail before it got there, after it did, or get there late."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.mode = "up"
        self.late: dict[int, Callable[[], Awaitable[Any]]] = {}
        self.asked = 0

    async def _send(self, call: Callable[[], Awaitable[Result]]) -> Result:
        self.asked += 1
        if self.mode == "up":
            return await call()
        if self.mode == "deaf":
            await call()
        if self.mode == "late":
            self.late[self.asked] = call
        raise StoreError(f"the line is {self.mode}")

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        return await self._send(lambda: self._store.state.reserve(hold, wants, lease_s))

    async def count(
        self,
        hold: str,
        spent: Mapping[str, tuple[int, float]],
        *,
        keep_s: float,
        epoch: int,
        ended: float = math.inf,
        known: Collection[str] = (),
    ) -> dict[str, int] | None:
        return await self._send(
            lambda: self._store.state.count(hold, spent, keep_s=keep_s, epoch=epoch, ended=ended, known=known)
        )

    async def levels(self, counters: Sequence[str]) -> dict[str, int]:
        return await self._send(lambda: self._store.state.levels(counters))

    async def beat(self, owner: str) -> Beats:
        return await self._send(lambda: self._store.state.beat(owner))

    async def release(self, owner: str) -> None:
        await self._send(lambda: self._store.state.release(owner))

    async def refill(self, epoch: int, spent: Mapping[str, tuple[int, float]], *, since: int = 0) -> int:
        return await self._send(lambda: self._store.state.refill(epoch, spent, since=since))

    async def aclose(self) -> None:
        """The state is for the next example too."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store.state, name)  # values are no part of this


class Store:
    """A back end, how to empty it, and how to make it lose single counters."""

    def __init__(
        self,
        state: SharedState,
        empty: Callable[[], SharedState],
        lose: Callable[[SharedState, Sequence[str]], object],
    ) -> None:
        self.state = state
        self._empty = empty
        self._lose = lose

    def empty(self) -> None:
        self.state = self._empty()

    def lose(self, names: Sequence[str]) -> None:
        self._lose(self.state, names)


class Process:
    def __init__(self, state: ResilientState, line: Line) -> None:
        self.state = state
        self.line = line
        self.running: dict[str, list[int]] = {}
        """What its requests hold, as far as they know: at first, and on top. 0: there was no room for more."""
        self.stale = -1
        """The epoch of the state that it does not know to be gone."""


class Fleet(RuleBasedStateMachine):
    """Two processes that share a state, and the truth about what they spent."""

    def __init__(self, loop: asyncio.AbstractEventLoop, store: Store, clock: Clock, folder: Path) -> None:
        """`clock`: that of the store, which may be set. The processes have another."""
        super().__init__()
        self.loop, self.store, self.store_clock, self.clock = loop, store, clock, Clock()
        for left in folder.glob("owed-*"):
            left.unlink()
        self.folder = folder
        store.empty()
        clock.now = NOW
        self.spent = 0
        self.logged: list[tuple[float, int]] = []
        """When requests ended, and what they spent."""
        self.orphaned = 0.0
        """When a process ended last."""
        self.lost = 0
        """The most that crashes may have lost."""
        self.calls = 0
        self.calm = True
        """Whether nothing has gone wrong yet."""
        self.processes: list[Process] = []
        self.processes += [self.start(), self.start()]

    def run(self, work: Awaitable[Result]) -> Result:
        return self.loop.run_until_complete(asyncio.ensure_future(work, loop=self.loop))

    def start(self, line: Line | None = None) -> Process:
        line = line or Line(self.store)
        state = ResilientState(cast(SharedState, line), self.clock, file=self.folder / "owed", known=self.known)
        self.run(state.start())
        return Process(state, line)

    async def known(self, before: float) -> dict[str, tuple[int, float]]:
        """The decision log: what was spent before a moment."""
        total = sum(amount for when, amount in self.logged if when < before)
        return {COUNTER: (total, END)}

    def under_way(self) -> int:
        return sum(sum(amounts) for process in self.processes for amounts in process.running.values())

    which = st.integers(0, 1)
    amounts = st.integers(1, 25)

    @rule(which=which, amount=amounts)
    def ask(self, which: int, amount: int) -> None:
        process, fits = self.processes[which], self.spent + self.under_way() + amount <= LIMIT
        self.calls += 1
        hold = f"call-{self.calls}"
        verdict = self.run(process.state.reserve(hold, [Want(COUNTER, amount, LIMIT, END)], HOLD_S))
        if self.calm:
            assert (verdict.refused is None) == fits, (verdict, self.spent, self.under_way())
        if verdict.refused is None:
            process.running[hold] = [amount]
        else:
            self.run(process.state.settle(hold, {}))

    @rule(which=which, place=st.integers(0, 100), amount=amounts)
    def ask_for_more(self, which: int, place: int, amount: int) -> None:
        """Top up a hold, as before a call to a dearer model."""
        process, fits = self.processes[which], self.spent + self.under_way() + amount <= LIMIT
        if not process.running:
            return
        hold = sorted(process.running)[place % len(process.running)]
        name = f"{hold}:{len(process.running[hold])}"
        verdict = self.run(process.state.reserve(name, [Want(COUNTER, amount, LIMIT, END)], HOLD_S))
        if self.calm:
            assert (verdict.refused is None) == fits, (verdict, self.spent, self.under_way())
        process.running[hold].append(amount if verdict.refused is None else 0)

    @rule(which=which, place=st.integers(0, 100), amount=amounts, steps=st.integers(0, 4))
    def ask_for_more_and_leave(self, which: int, place: int, amount: int, steps: int) -> None:
        process = self.processes[which]
        if not process.running:
            return
        hold = sorted(process.running)[place % len(process.running)]
        name = f"{hold}:{len(process.running[hold])}"

        async def leave() -> None:
            asking = asyncio.ensure_future(process.state.reserve(name, [Want(COUNTER, amount, LIMIT, END)], HOLD_S))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

        self.run(leave())
        process.running[hold].append(0)
        self.settle(process, hold, 0)

    def settle(self, process: Process, hold: str, amount: int) -> None:
        """Count what a request spent, and free all that it holds."""
        further = range(1, len(process.running.pop(hold)))
        self.run(process.state.settle(hold, {COUNTER: (amount, END)}, ended=self.clock.now))
        for number in further:
            self.run(process.state.settle(f"{hold}:{number}", {COUNTER: (0, END)}))

    @rule(which=which, amount=amounts, steps=st.integers(0, 4))
    def ask_and_leave(self, which: int, amount: int, steps: int) -> None:
        process = self.processes[which]
        self.calls += 1
        hold = f"call-{self.calls}"

        async def leave() -> None:
            asking = asyncio.ensure_future(process.state.reserve(hold, [Want(COUNTER, amount, LIMIT, END)], HOLD_S))
            for _ in range(steps):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            await process.state.settle(hold, {COUNTER: (0, END)})

        self.run(leave())

    @rule(which=which, place=st.integers(0, 100), share=st.floats(0, 1))
    def answer(self, which: int, place: int, share: float) -> None:
        process = self.processes[which]
        if not process.running:
            return
        hold = sorted(process.running)[place % len(process.running)]
        amount = round(sum(process.running[hold]) * share)
        self.clock.now += 0.5
        self.spent += amount
        self.logged.append((self.clock.now, amount))
        self.settle(process, hold, amount)

    @rule(which=which, amount=amounts)
    def ask_and_answer(self, which: int, amount: int) -> None:
        self.ask(which, amount)
        self.answer(which, self.calls, 1.0)

    @rule(which=which, mode=st.sampled_from(["up", "away", "deaf", "late"]))
    def line(self, which: int, mode: str) -> None:
        self.processes[which].line.mode = mode
        self.calm = self.calm and mode == "up"

    @rule(which=which)
    def look(self, which: int) -> None:
        """As `ResilientState.run` does once a second."""
        process = self.processes[which]
        self.clock.now += 0.5
        self.run(process.state.look())
        assert process.state._owed.write()

    @rule(which=which, place=st.integers(0, 100))
    def arrive_late(self, which: int, place: int) -> None:
        if late := self.processes[which].line.late:
            self.run(late.pop(sorted(late)[place % len(late)])())

    @rule(which=which, kind=st.sampled_from(["crash", "stop", "empty", "clock"]), seconds=st.sampled_from([-7200, 60]))
    def fault(self, which: int, kind: str, seconds: int) -> None:
        if kind == "clock":
            self.store_clock.now += seconds
        elif kind != "empty" and not self.whole():
            pass  # nobody may be left who knows that the counter was there
        elif kind == "empty":
            self.empty()
        else:
            process = self.processes[which]
            # It alone knew what it spent just now: that is lost, too, if the state comes back empty now, or just did.
            self.orphaned = self.clock.now
            if process.state._owed.epoch == process.stale:
                self.lost += sum(spent[COUNTER][0] for spent in process.state._recent._spent.values() if spent)
            self.crash(process) if kind == "crash" else self.stop(process)
            self.processes[which] = self.start(process.line)  # what it sent is still on the way

    def whole(self) -> bool:
        """Whether the state has its epoch and the counter."""
        verdict = self.run(self.store.state.reserve("probe", [Want(COUNTER, 0, -1, END)], 1))
        return verdict.whole and COUNTER in verdict.spent

    @rule(what=st.sampled_from(sorted(LOST)))
    def lose(self, what: str) -> None:
        """The state loses single counters, as a Redis that evicts them. Every process knew that they were there."""
        states = [process.state for process in self.processes]
        if not all(state._alone.knows(COUNTER) for state in states) or not self.whole():
            return
        if any(process.line.late for process in self.processes):
            return
        if what == "epoch":
            # Just after the state was emptied, not every process can tell that only the epoch is missing.
            if any(process.state._owed.epoch == process.stale for process in self.processes):
                return
            if not all(0 < state._owners._count < math.inf for state in states):
                return
        else:
            # What one process spent just now may be neither in the log nor known to the process that finds out.
            recent = sum(amount for when, amount in self.logged if when > self.clock.now - 2)
            self.lost += recent
            self.calm = self.calm and not recent and not self.under_way()
        self.store.lose(LOST[what])

    def find_out(self) -> None:
        """The next claim finds out that a counter is lost."""
        self.calls += 1
        for process in self.processes:
            self.run(process.state.reserve(f"call-{self.calls}", [Want(COUNTER, 0, None, END)], HOLD_S))
            self.run(process.state.settle(f"call-{self.calls}", {COUNTER: (0, END)}))

    def crash(self, process: Process) -> None:
        """What it owes and has not written down yet is lost."""
        owed = process.state._owed
        written = msgspec.json.decode(owed._written, type=dict[str, Payment]).values()
        self.lost += max(0, owed.of(COUNTER) - sum(payment.spent.get(COUNTER, (0, END))[0] for payment in written))
        self.calm = self.calm and not process.running
        if owed._lock is not None:  # the system does it for the dead
            os.close(owed._lock)
            owed._lock = None

    def stop(self, process: Process) -> None:
        for hold in [*process.running]:
            self.settle(process, hold, 0)
        self.run(process.state.aclose())

    def empty(self) -> None:
        """The state restarts and has nothing; nor has it what was on the way to it."""
        self.calm = self.calm and not self.spent and not self.under_way()
        if self.clock.now - self.orphaned < 10:
            self.lost += sum(amount for when, amount in self.logged if when > self.clock.now - 12)
        self.store.empty()
        for process in self.processes:
            process.line.late.clear()
            process.stale = process.state._owed.epoch

    @rule(late_first=st.booleans())
    def quiet(self, late_first: bool = True) -> None:
        """All faults pass, and everyone looks until the dead are known to be dead."""
        for process in self.processes:
            process.line.mode = "up"
        for first in (late_first, True):
            for process in self.processes if first else ():
                for call in process.line.late.values():
                    self.run(call())
                process.line.late.clear()
            for _ in range(SILENT_LOOKS + 2):
                for which in range(2):
                    self.look(which)
            self.find_out()
        for which in range(2):
            self.look(which)
        assert all(process.state.error is None for process in self.processes)
        told, running = self.run(self.store.state.levels([COUNTER]))[COUNTER], self.under_way()
        assert self.spent - self.lost <= told - running <= self.spent, (told, running, self.spent, self.lost)
        # What a crash lost is known now.
        self.spent, self.lost = told - running, 0
        self.logged = [(self.clock.now - 10, self.spent)]

    def teardown(self) -> None:
        self.quiet()
        for process in self.processes:
            self.run(process.state.aclose())


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.run_until_complete(made.shutdown_default_executor())
    made.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis"])
def test_what_is_told_is_what_was_spent(
    kind: str, loop: asyncio.AbstractEventLoop, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    clock = Clock()
    store, close = _open(kind, clock, request)
    try:
        run_state_machine_as_test(lambda: Fleet(loop, store, clock, tmp_path), settings=examples(kind))  # type: ignore[arg-type]  # any factory will do
    finally:
        loop.run_until_complete(store.state.aclose())
        close()


def _open(kind: str, clock: Clock, request: pytest.FixtureRequest) -> tuple[Store, Callable[[], None]]:
    if kind == "memory":
        return Store(MemoryState(clock), lambda: MemoryState(clock, epoch=0), _forget), lambda: None
    if kind == "redis":
        url = request.getfixturevalue("redis_server").new_database()
        client, shared = redis.Redis.from_url(url), RedisState(url, clock)

        def flush() -> SharedState:
            client.flushdb()
            return shared

        return Store(shared, flush, lambda _, names: client.delete(*(PREFIX + name for name in names))), client.close
    database = (
        SqliteDatabase() if kind == "sqlite" else PostgresDatabase(request.getfixturevalue("postgres").new_database())
    )
    migrate(database)
    state = SqlState(database, clock, threads=1 if kind == "sqlite" else 4)

    def empty() -> SharedState:
        with database.transaction() as session:
            for table in ("counters", "holds", "settled", "entries"):
                session.run(f"DELETE FROM {table}")
        return state

    def lose(_: SharedState, names: Sequence[str]) -> None:
        with database.transaction() as session:
            session.run_many("DELETE FROM counters WHERE name = ?", [(name,) for name in names])

    return Store(state, empty, lose), lambda: None


def _forget(state: SharedState, names: Sequence[str]) -> None:
    assert isinstance(state, MemoryState)
    for name in names:
        state._counters.pop(name, None)
        if name == EPOCH:
            state._epoch = 0
