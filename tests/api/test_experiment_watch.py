"""Experiments that start, end by a guard, and stay ended in all processes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from semroute import reload
from semroute.api.experiment_watch import ExperimentWatch
from semroute.config.folder import read_files
from semroute.errors import StoreError
from semroute.gateway.experiment_arms import Experiments
from semroute.gateway.serving import Serving
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.stores.decision_log import SqlLog
from semroute.stores.experiment_store import ExperimentStore
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import NOW, Clock
from tests.stores.test_decision_log import record

ROUTES = """
providers: {local: {dialect: echo}}
models: {large: {provider: local, name: large}, small: {provider: local, name: small}}
default: {models: [large]}
experiments: {trial: {arms: {control: {}, canary: {models: [small]}}, guards: {GUARDS}}}
"""


class Process:
    """One of the processes of a service."""

    def __init__(self, folder: Path, database: SqliteDatabase, state: MemoryState, clock: Clock) -> None:
        self.transport, self.stages = Transport(), dict[str, str]()
        self.folder, self.clock = folder, clock
        self.serving = self.load()
        self.experiments = Experiments(clock)
        self.store = ExperimentStore(database, clock)
        self.watch = ExperimentWatch(
            self.experiments,
            self.store,
            lambda: self.serving,
            state,
            on_stage=self.stages.__setitem__,
            clock=clock,
        )

    def load(self) -> Serving:
        return Serving.open(reload.build(read_files(self.folder)), self.transport, echo=True)


class Fleet:
    """Several processes with one database."""

    def __init__(self, folder: Path) -> None:
        self.clock, self.folder = Clock(), folder
        self.database = SqliteDatabase(folder / "semroute.db")
        migrate(self.database)
        self.state = MemoryState(self.clock)
        self.made: list[Process] = []

    def process(self, guards: str = "error_rate: +1%") -> Process:
        (self.folder / "routes.yaml").write_text(ROUTES.replace("GUARDS", guards))
        self.made.append(Process(self.folder, self.database, self.state, self.clock))
        return self.made[-1]

    def log(self, users: int, **of_canary: Any) -> None:
        """Write requests of so many users in each arm. `of_canary`: what differs in the arm `canary`."""
        SqlLog(self.database).write([*requests(users, "control"), *requests(users, "canary", **of_canary)])


def requests(users: int, arm: str, **fields: Any) -> Iterator[Record]:
    first = 1 if arm == "control" else 100_001
    for number in range(first, first + users):
        digest = f"u{number * 0x9E3779B97F4A7C15 % 2**64:016x}"
        given = {name: value(number) if callable(value) else value for name, value in fields.items()}
        yield record(number, experiment="trial", arm=arm, unit=digest, **given)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncIterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    for process in made.made:
        await process.transport.aclose()
    made.database.close()


async def test_one_process_starts_it_and_says_so_in_one_line(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "semroute.experiments")
    one, two = fleet.process(), fleet.process()
    await one.watch.look()
    await two.watch.look()
    assert [line.message for line in caplog.records] == ["the experiment trial has started"]
    assert one.experiments.runs == two.experiments.runs
    assert one.stages == two.stages == {"trial": "running"}


async def test_a_broken_guard_ends_it_in_all_processes_and_for_good(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "semroute.experiments")
    one, two = fleet.process(), fleet.process()
    await one.watch.look()
    await two.watch.look()
    caplog.clear()
    fleet.log(100, outcome=lambda number: "failed" if number % 2 else "ok")
    await one.watch.guard()
    assert one.stages == {"trial": "ended"}
    await two.watch.look()
    assert two.stages == {"trial": "ended"}
    [told, again] = [line.message for line in caplog.records]
    assert (
        told
        == again
        == (
            "the experiment trial has ended, all go to control: the error rate of the arm canary is 50.0%, against "
            "0.0% of control, and surely breaks the guard error_rate: +1%"
        )
    )
    restarted = fleet.process()
    await restarted.watch.look()
    assert restarted.stages == {"trial": "ended"}
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("guards", "canary", "ends"),
    [
        ("error_rate: +1%", {}, False),
        ("error_rate: +80%", {"outcome": lambda number: "failed" if number % 2 else "ok"}, False),
        ("p95_ms: +20%", {"latency_ms": lambda number: 300.0 + number % 40}, True),
        ("p95_ms: +20%", {"latency_ms": lambda number: 105.0 + number % 5}, False),
        ("cost_usd: +10%", {"cost_usd": Decimal("0.001")}, True),
        ("cost_usd: +10%", {"cost_usd": Decimal("0.000025")}, False),
    ],
)
async def test_each_guard_looks_at_its_own_figure(
    fleet: Fleet, guards: str, canary: dict[str, Any], ends: bool
) -> None:
    process = fleet.process(guards)
    await process.watch.look()
    fleet.log(400, **canary)
    await process.watch.guard()
    assert process.stages["trial"] == ("ended" if ends else "running")


async def test_one_process_at_a_time_looks_at_the_guards(fleet: Fleet) -> None:
    one, two = fleet.process(), fleet.process()
    await one.watch.look()
    await two.watch.look()
    await one.watch.guard()
    fleet.log(100, outcome="failed")
    await two.watch.guard()
    assert two.stages == {"trial": "running"}
    fleet.clock.now += 60
    await two.watch.guard()
    assert two.stages == {"trial": "ended"}


async def test_without_the_database_what_was_known_last_counts(fleet: Fleet, caplog: pytest.LogCaptureFixture) -> None:
    process = fleet.process()
    await process.watch.look()
    known = process.experiments.runs
    fleet.database.close()

    def away(*_: object, **__: object) -> Any:
        raise StoreError("it is away")

    process.store.follow = away  # type: ignore[method-assign]  # stands for a database that is away
    for _ in range(3):
        await process.watch.look()
    assert process.experiments.runs is known
    assert [line.message for line in caplog.records] == [
        "cannot read the experiments, so what was known last counts: it is away"
    ]


async def test_a_reload_with_other_weights_is_noted_once_and_an_old_process_does_not_undo_it(fleet: Fleet) -> None:
    old, new = fleet.process(), fleet.process()
    await old.watch.look()
    await new.watch.look()
    text = (fleet.folder / "routes.yaml").read_text().replace("control: {}", "control: {weight: 9}")
    (fleet.folder / "routes.yaml").write_text(text)
    new.serving = new.load()
    fleet.clock.now += 100
    for _ in range(3):
        await new.watch.look()
        await old.watch.look()
    run = old.experiments.runs["trial"]
    assert run.weights == ((NOW, {"control": 1.0, "canary": 1.0}), (NOW + 100, {"control": 9.0, "canary": 1.0}))
