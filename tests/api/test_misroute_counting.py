"""Counting misroutes in the background: several processes with one log."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semroute.api.misroute_counting import LATE_S, Misroutes
from semroute.config.config import Config
from semroute.config.schema.routes import Default
from semroute.config.schema.service import LogSettings
from semroute.errors import StoreError
from semroute.stores.decision_log import SqlLog
from semroute.stores.leadership import SILENT_LOOKS
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from semroute.stores.trials import TrialLog
from semroute.telemetry.prometheus import Metrics
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import DAY, record
from tests.stores.test_trials import trial


class Rig:
    """A log and the processes that count. A test says when a process looks."""

    def __init__(self, folder: Path) -> None:
        self.database = SqliteDatabase(folder / "semroute.db")
        migrate(self.database)
        self.log = SqlLog(self.database)
        self.minutes: float | None = 5
        self.now = NOW
        self.away = False

    def process(self, metrics: Metrics | None = None) -> Misroutes:
        async def ask(work: Any, *arguments: Any) -> Any:
            if self.away:
                raise StoreError("the database is away")
            return work(*arguments)

        return Misroutes(self.database, self.config, metrics, ask=ask, clock=lambda: self.now)

    def config(self) -> Config:
        log = LogSettings(retry_minutes=self.minutes)
        return Config(providers={}, models={}, default=Default(models=()), routes={}, log=log)

    def ask(self, number: int, degrees: float, unit: str = "u1") -> None:
        """Write a request whose vector has a direction."""
        angle = math.radians(degrees)
        vector = struct.pack("<2e", math.cos(angle), math.sin(angle))
        self.log.write([record(number, unit=unit, embedding=vector)])
        self.now = NOW + number + LATE_S

    @property
    def retried(self) -> int:
        return sum(row["misroutes_by"]["retry"] for row in self.log.stats("tier", DAY, DAY))


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.database.close()


async def test_retries_are_counted_by_one_process_and_each_once(rig: Rig) -> None:
    metrics, first, second = Metrics(), rig.process(), rig.process()
    first._metrics = metrics
    for process in (first, second):
        await process.once()
    rig.ask(1, 0)
    for process in (second, first):
        await process.once()
    rig.ask(10, 10)
    rig.ask(20, 90)
    rig.ask(30, 90, unit="u2")
    for process in (second, first, second):
        await process.once()
    assert rig.retried == 1
    text = metrics.render().decode()
    assert 'semroute_misroutes_by_source_total{route="billing",source="retry",tier="simple"} 1.0' in text
    assert 'semroute_misroutes_total{route="billing"' not in text


async def test_another_process_knows_what_the_leader_had_seen(rig: Rig) -> None:
    first, second = rig.process(), rig.process()
    await first.once()
    rig.ask(1, 0)
    rig.ask(2, 90)
    rig.ask(9, 90)
    await first.once()
    assert rig.retried == 1
    for _ in range(SILENT_LOOKS + 1):
        await second.once()
    rig.ask(30, 0)  # as the first one, which the process before had read
    await second.once()
    assert rig.retried == 2
    await first.once()
    await second.aclose()
    await first.once()
    assert rig.retried == 2


async def test_nothing_is_looked_for_unless_it_is_written(rig: Rig) -> None:
    rig.minutes = None
    counting = rig.process()
    rig.ask(1, 0)
    rig.ask(9, 0)
    await counting.once()
    assert rig.retried == 0


async def test_verdicts_are_counted_while_the_database_is_there(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    rig.minutes, metrics = None, Metrics()
    counting = rig.process(metrics)
    rig.log.write([record(1)])
    TrialLog(rig.database).append([trial(record(1).request_id, judge="large", method="rubric", served_score=0.0)])
    rig.away = True
    await counting.once()
    await counting.once()
    assert caplog.text.count("cannot count misroutes: the database is away") == 1
    rig.away = False
    await counting.once()
    text = metrics.render().decode()
    assert 'semroute_misroutes_by_source_total{route="billing",source="judge",tier="simple"} 1.0' in text
    assert 'semroute_misroutes_total{route="billing",tier="simple"} 1.0' in text
