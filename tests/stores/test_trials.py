"""One suite over every back end of the trials."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

from semroute.access.budget_recovery import spent_by_log
from semroute.access.trial_budget import TrialBudget, trial_counter
from semroute.config.config import Config
from semroute.config.schema.routes import Default
from semroute.messages import Usage
from semroute.record import Attempt, Trial
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Database, Query, SharedState
from semroute.stores.trials import TrialLog
from tests.stores.conftest import NOW, Clock
from tests.stores.test_decision_log import DAY, record

CALL = Attempt(
    model="judge", status="ok", latency_ms=10, purpose="judge", usage=Usage(input_tokens=5), cost_usd=Decimal("0.002")
)


def trial(decision: str, **fields: Any) -> Trial:
    given: dict[str, Any] = {
        "purpose": "judge",
        "at": NOW + 1,
        "attempts": (CALL,),
        "detail": {"flipped": True},
    } | fields
    return Trial(**{"id": f"{decision}:{given['purpose']}", "decision": decision} | given)


def test_a_trial_is_read_as_it_was_written(database: Database) -> None:
    log = TrialLog(database)
    one = trial("a", served="small", judge="judge", method="rubric", served_score=0.25, propensity=0.1, unit="u12")
    log.append([one])
    assert [*log.read()] == [one]


def test_a_batch_that_comes_twice_counts_once(database: Database) -> None:
    trials, log = TrialLog(database), SqlLog(database)
    trials.append([trial("a"), trial("b", purpose="shadow", error="timeout")])
    trials.append([trial("b", purpose="shadow", error="timeout"), trial("c")])
    rows = {row["value"]: row for row in log.stats("purpose", DAY, DAY)}
    assert {name: row["requests"] for name, row in rows.items()} == {"judge": 2, "shadow": 1}
    assert rows["judge"]["cost_usd"] == Decimal("0.004") and rows["judge"]["input_tokens"] == 10
    assert rows["shadow"]["error_rate"] == 1
    assert log.stats("all", DAY, DAY) == [], "answers cost nothing"


def test_all_are_read_however_many_end_together(database: Database) -> None:
    log = TrialLog(database)
    every = [trial(f"{n:04}", at=NOW + n // 600) for n in range(1100)]
    log.append(every[:600])
    log.append(every[600:])
    assert [one.decision for one in log.read()] == [one.decision for one in every]
    assert [one.decision for one in log.read(since=every[599].at, after=every[599].id)] == [
        one.decision for one in every[600:]
    ]
    assert [*log.read(purpose="shadow")] == []


def test_records_show_their_trials_and_who_asked(database: Database) -> None:
    log, one = SqlLog(database), record(1, unit="u0123456789abcdef", experiment="prices", arm="cheap")
    log.write([one, record(2)])
    TrialLog(database).append([trial(one.request_id), trial(one.request_id, purpose="shadow")])
    first, second = log.export(Query())
    assert [each.purpose for each in first["trials"]] == ["judge", "shadow"]
    assert (first["unit"], first["experiment"], first["arm"]) == ("u0123456789abcdef", "prices", "cheap")
    assert (second["trials"], second["unit"], second["experiment"]) == ([], "", "")
    whole = log.read(one.request_id)
    assert whole is not None and len(whole["trials"]) == 2


def test_trials_are_deleted_with_their_records(database: Database) -> None:
    log, trials = SqlLog(database), TrialLog(database)
    log.write([record(1), record(2)])
    trials.append([trial(record(1).request_id), trial(record(2).request_id)])
    assert log.prune(before=NOW + 1, max_bytes=None) == 1
    assert [one.decision for one in trials.read()] == [record(2).request_id]


def test_an_empty_state_learns_from_the_log_what_trials_spent(database: Database) -> None:
    config = Config(providers={}, models={}, default=Default(models=("a",)), routes={})
    TrialLog(database).append([trial("a", at=NOW), trial("b", at=NOW + 5), trial("c", at=NOW - 86_400)])
    spent = spent_by_log(SqlLog(database), config, [], NOW + 10, NOW + 5)
    assert {name: amount for name, (amount, _) in spent.items()} == {trial_counter("judge", NOW): 2_000_000_000}


async def test_a_budget_of_trials_is_exact(state: SharedState, clock: Clock) -> None:
    budget = TrialBudget(state, clock)
    first = await budget.reserve("judge", "w/a:judge", Decimal(1), Decimal("0.7"))
    assert first is not None
    assert await budget.reserve("judge", "w/b:judge", Decimal(1), Decimal("0.7")) is None, "held amounts count"
    assert await budget.reserve("shadow", "w/b:shadow", Decimal(1), Decimal("0.7")) is not None, "its own budget"
    await budget.settle(first, Decimal("0.2"))
    second = await budget.reserve("judge", "w/b:judge", Decimal(1), Decimal("0.8"))
    assert second is not None and await budget.spent_usd("judge") == 1
    await budget.settle(second, Decimal("0.8"))
    assert await budget.reserve("judge", "w/c:judge", Decimal(1), Decimal("0.000001")) is None
    clock.now += 86_400
    assert await budget.reserve("judge", "w/c:judge", Decimal(1), Decimal(1)) is not None, "a new day"


async def test_a_caller_who_leaves_while_a_budget_is_asked_frees_it(state: SharedState, clock: Clock) -> None:
    budget = TrialBudget(state, clock)
    for number in range(6):
        asking = asyncio.create_task(budget.reserve("judge", f"w/{number}:judge", Decimal(1), Decimal("0.7")))
        for _ in range(number):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        if not asking.cancelled() and (hold := asking.result()) is not None:
            await budget.settle(hold, Decimal(0))
        await asyncio.gather(*budget._freeing)
        assert await budget.spent_usd("judge") == 0
