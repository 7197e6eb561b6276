"""Clocks of the wall are set back and forward; whoever waits does not wait by them."""

from __future__ import annotations

from pathlib import Path

import pytest

from semroute.access.accounts import Accounts
from semroute.access.meters import Meter
from semroute.config.schema.service import LogSettings
from semroute.stores.decision_log import SqlLog
from semroute.stores.log_writer import PRUNE_EVERY_S, LogWriter
from semroute.stores.memory import MemoryState
from semroute.stores.migrations import migrate
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.conftest import Clock
from tests.stores.test_decision_log import record

JUMPS = [-86_400.0, -3600.0, 3600.0, 86_400.0]


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_the_shared_state_is_back_at_the_next_look(tmp_path: Path, jump_s: float) -> None:
    wall, file = Clock(), tmp_path / "state.db"
    database = SqliteDatabase(file)
    migrate(database)
    state = ResilientState(SqlState(database, wall), wall)
    with database.transaction() as session:
        session.run("ALTER TABLE entries RENAME TO away")
    assert await state.get("a") is None
    assert state.error is not None
    with database.transaction() as session:
        session.run("ALTER TABLE away RENAME TO entries")
    wall.now += jump_s
    await state.look()
    assert state.error is None
    await state.aclose()


@pytest.mark.parametrize("jump_s", JUMPS)
def test_records_are_pruned_a_minute_later(tmp_path: Path, jump_s: float) -> None:
    wall, monotonic, log = Clock(), Clock(), SqlLog(SqliteDatabase(tmp_path / "log.db"))
    migrate(log.database)
    wall.now += 10 * 86_400
    writer = LogWriter(log, lambda: LogSettings(keep_days=1), wall, monotonic)
    writer.put(record(1))
    assert writer.flush()
    wall.now += jump_s
    monotonic.now += PRUNE_EVERY_S
    assert writer.close()
    assert log.stats("all", 0, 10**6)[0]["requests"] == 1
    assert log.read(record(1).request_id) is None
    log.database.close()


@pytest.mark.parametrize("jump_s", JUMPS)
async def test_a_level_is_no_older_than_a_second(jump_s: float) -> None:
    wall, monotonic, state = Clock(), Clock(), MemoryState(Clock())
    accounts = Accounts(state, wall, monotonic)
    meter = Meter(counter="usd:all", kind="usd", limit=10, name="all")
    assert await accounts._recent([meter]) == [(meter, 0)]
    await state.settle("r1", {"usd:all": (5, wall.now + 10**7)})
    wall.now += jump_s
    assert await accounts._recent([meter]) == [(meter, 0)]  # just read
    monotonic.now += 1.1
    assert await accounts._recent([meter]) == [(meter, 5)]
