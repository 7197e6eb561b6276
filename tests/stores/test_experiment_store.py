"""One suite over every database of what all processes know of experiments."""

from __future__ import annotations

import threading
import time
from decimal import Decimal
from typing import Any

from semroute.access.budget_recovery import spent_by_log
from semroute.access.trial_budget import experiment_budget, trial_counter
from semroute.config.config import Config
from semroute.config.schema.experiments import Arm, Experiment
from semroute.config.schema.routes import Default
from semroute.record import Attempt, Record
from semroute.stores.decision_log import SqlLog
from semroute.stores.experiment_store import SETTLING_S, ExperimentStore, periods
from semroute.stores.interfaces import Database, Feedback
from semroute.stores.trials import TrialLog
from tests.stores.conftest import NOW, Clock
from tests.stores.test_decision_log import DAY, record
from tests.stores.test_trials import trial

HALVES = {"control": 1.0, "cheap": 1.0}
SLOW = Attempt(model="small", status="ok", latency_ms=900, cost_usd=Decimal("0.001"))


def arm(number: int, name: str, unit: str = "", **fields: Any) -> Record:
    return record(number, experiment="trial", arm=name, unit=unit or f"u{number:016x}", **fields)


def test_several_processes_start_an_experiment_once(database: Database) -> None:
    stores = [ExperimentStore(database) for _ in range(4)]
    barrier, found = threading.Barrier(4), list[tuple[str, ...]]()

    def start(store: ExperimentStore) -> None:
        barrier.wait()
        found.append(store.follow({"trial": HALVES}).started)

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(), (), (), ("trial",)]
    [run] = {str(store.follow({"trial": HALVES}).runs) for store in stores}
    assert run.count("started_at=") == 1


def test_the_time_is_that_of_the_database(database: Database) -> None:
    before = time.time()
    assert before - 5 < ExperimentStore(database).follow({}).now < time.time() + 5


def test_an_ended_experiment_stays_ended(database: Database, clock: Clock) -> None:
    store = ExperimentStore(database, clock)
    store.follow({"trial": HALVES})
    clock.now += 60
    assert store.end("trial", "a guard broke")
    clock.now += 60
    assert not store.end("trial", "somebody stopped it", "cheap")
    run = ExperimentStore(database, clock).follow({"trial": {"control": 1.0}}).runs["trial"]
    assert (run.started_at, run.ended_at, run.reason, run.adopted) == (NOW, NOW + 60, "a guard broke", "cheap")


def test_an_experiment_that_no_service_has_seen_can_be_ended(database: Database) -> None:
    store = ExperimentStore(database)
    assert store.end("trial", "somebody stopped it")
    assert store.follow({"trial": HALVES}).started == ()


def test_changed_weights_begin_a_new_period(database: Database, clock: Clock) -> None:
    store = ExperimentStore(database, clock)
    store.follow({"trial": HALVES})
    clock.now += 1000
    run = store.follow({"trial": {"control": 1.0, "cheap": 3.0}}).runs["trial"]
    found = list(periods(run, NOW + 2000))
    assert found == [
        (0.0, NOW + 1000 - SETTLING_S, HALVES),
        (NOW + 1000 + SETTLING_S, NOW + 2000, {"control": 1.0, "cheap": 3.0}),
    ]


def test_the_sums_of_each_arm(database: Database) -> None:
    log, store = SqlLog(database), ExperimentStore(database)
    log.write(
        [
            record(1),
            arm(2, "control"),
            arm(3, "control", route=None),
            arm(4, "cheap", outcome="failed"),
            arm(5, "cheap", outcome="cancelled"),
            arm(6, "cheap", attempts=(SLOW,), latency_ms=900.0),
        ]
    )
    log.feed_back(record(6).request_id, Feedback(score=0.75), NOW)
    graded: dict[str, Any] = {"experiment": "trial", "arm": "cheap", "unit": f"u{6:016x}"}
    TrialLog(database).append(
        [
            trial(record(6).request_id, served_score=0.5, method="rubric", propensity=0.1, **graded),
            trial(record(5).request_id, served_score=1.0, method="pairwise", **graded),
        ]
    )
    since, until = store.span("trial") or (0, 0)
    assert (since, until) == (NOW + 1, NOW + 5)
    found = store.sums("trial", since, until + 1)
    totals = {
        name: [sum(column) for column in zip(*(values for arm, _, values in found.sums if arm == name), strict=True)]
        for name in ("control", "cheap")
    }
    assert totals["control"][:4] == [2, 2, 0, 2]
    assert totals["control"][5:] == [2, 48e6, 2, 1, 0, 0]
    assert totals["cheap"][:5] == [3, 2, 1, 1, 900]
    assert totals["cheap"][5:] == [3, 48e6 + 1e9, 3, 0, 1, 0.75]
    [(name, _, n, score)] = found.judged
    assert (name, round(n, 6), round(score, 6)) == ("cheap", 10, 5)
    assert found.latencies["cheap"] == {900.0: 1}
    assert [slow for _, _, slow in store.slower("trial", "cheap", 500)] == [1]
    assert store.sums("trial", until + 1, until + 2).sums == []
    assert store.span("other") is None


def test_users_count_where_they_came_first(database: Database) -> None:
    log, store = SqlLog(database), ExperimentStore(database)
    log.write(
        [
            arm(1, "control", "u1"),
            arm(2, "cheap", "u2"),
            arm(3, "cheap", "u1"),
            arm(11, "cheap", "u2"),
            arm(12, "cheap", "u3"),
        ]
    )
    found, moved = store.units("trial", [(NOW, NOW + 9), (NOW + 9, NOW + 99)])
    assert found == [{"control": 1, "cheap": 1}, {"cheap": 1}]
    assert moved == 1


def test_totals_by_arm_with_feedback(database: Database) -> None:
    log = SqlLog(database)
    log.write([record(1), arm(2, "control"), arm(3, "cheap"), arm(4, "cheap")])
    log.feed_back(record(3).request_id, Feedback(score=0.0), NOW)
    rows = {row["value"]: row for row in log.stats("arm", DAY, DAY)}
    assert {name: row["requests"] for name, row in rows.items()} == {"trial/control": 1, "trial/cheap": 2}
    assert rows["trial/cheap"]["cost_usd"] == Decimal("0.000048")
    assert (rows["trial/cheap"]["quality"], rows["trial/cheap"]["misroutes"]) == (0, 1)
    assert sum(row["requests"] for row in log.stats("all", DAY, DAY)) == 4


def test_an_empty_state_learns_from_the_log_what_arms_spent(database: Database) -> None:
    log = SqlLog(database)
    log.write([record(1), arm(2, "control"), arm(3, "cheap"), arm(4, "best"), arm(60, "cheap")])
    arms = {"control": Arm(), "cheap": Arm(), "best": Arm()}
    experiments = {"trial": Experiment(arms=arms, budget_usd_per_day=Decimal(1)), "free": Experiment(arms=arms)}
    config = Config(providers={}, models={}, default=Default(models=("a",)), routes={}, experiments=experiments)
    spent = spent_by_log(log, config, [], NOW + 70, NOW + 30)
    assert {name: amount for name, (amount, _) in spent.items()} == {
        trial_counter(experiment_budget("trial"), NOW): 48_000_000
    }
