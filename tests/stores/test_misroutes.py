"""Misroutes by who says so, on every back end of the decision log."""

from __future__ import annotations

import struct
import threading
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.record import Attempt, Record
from semroute.stores import misroutes as module
from semroute.stores.alarm_log import AlarmLog, ScoresKey
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Database, Feedback
from semroute.stores.misroutes import Misroute, MisrouteLog
from semroute.stores.trials import TrialLog
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import DAY, record
from tests.stores.test_trials import trial


@pytest.fixture
def log(database: Database) -> SqlLog:
    return SqlLog(database)


@pytest.fixture
def counting(database: Database) -> MisrouteLog:
    return MisrouteLog(database, "first")


def said(log: SqlLog, by: str = "tier") -> dict[str, tuple[int, dict[str, int]]]:
    """The misroutes, and by whom, of each value. Sources without any are left out."""
    rows = log.stats(by, DAY, DAY)
    return {
        row["value"]: (row["misroutes"], {source: n for source, n in row["misroutes_by"].items() if n}) for row in rows
    }


def judge(log: SqlLog, number: int, score: float | None, **fields: Any) -> None:
    fields = {"judge": "large", "method": "rubric", "served_score": score} | fields
    TrialLog(log.database).append([trial(record(number).request_id, **fields)])


def unanswered(number: int) -> Record:
    """A request whose first answer failed a check."""
    poor = Attempt(model="small", status="ok", latency_ms=1, escalated="it declines")
    return record(number, attempts=(poor, Attempt(model="small", status="ok", latency_ms=1)))


def test_each_source_counts_on_its_own_and_a_request_once_in_the_total(log: SqlLog, counting: MisrouteLog) -> None:
    log.write([unanswered(1), *(record(number) for number in range(2, 7))])
    for number in (1, 2, 3):
        judge(log, number, 0.25)
    judge(log, 4, 0.5)
    for number in (1, 2, 5):
        log.feed_back(record(number).request_id, Feedback(score=0), NOW)
    found, more = counting.count_verdicts()
    assert found == [
        Misroute("billing", "simple", "judge", counted=False),
        Misroute("billing", "simple", "judge", counted=False),
        Misroute("billing", "simple", "judge", counted=True),
    ]
    assert not more
    by = {"feedback": 3, "judge": 3, "escalation": 1}
    for dimension in ("tier", "model", "route", "key", "team", "feature", "all"):
        assert list(said(log, dimension).values()) == [(4, by)], dimension
    [row] = log.stats("all", DAY, DAY)
    assert (row["judged"], row["judge_quality"]) == (4, 0.3125)
    assert (row["misroute_rate"], set(row["misroutes_by"])) == (round(4 / 6, 6), {*by, "retry"})


def test_feedback_that_is_replaced_is_exact_whoever_else_speaks(log: SqlLog, counting: MisrouteLog) -> None:
    log.write([unanswered(1), record(2), record(3)])
    judge(log, 2, 0.0)
    counting.count_verdicts()
    for number in (1, 2, 3):
        noted = log.feed_back(record(number).request_id, Feedback(score=0.1), NOW)
        assert noted is not None
        assert (noted.by_feedback, noted.misrouted) == (True, number == 3)
    assert said(log) == {"simple": (3, {"feedback": 3, "judge": 1, "escalation": 1})}
    for number in (1, 2, 3):
        log.feed_back(record(number).request_id, Feedback(score=0.9), NOW)
    assert said(log) == {"simple": (2, {"judge": 1, "escalation": 1})}
    log.feed_back(record(2).request_id, Feedback(label="coding"), NOW)
    assert said(log) == {"simple": (2, {"feedback": 1, "judge": 1, "escalation": 1})}


def test_a_verdict_that_comes_before_its_record_counts_later(log: SqlLog, counting: MisrouteLog) -> None:
    judge(log, 1, 0.0)
    judge(log, 2, 1.0)
    assert counting.count_verdicts() == ([], False)
    log.write([record(1), record(2)])
    assert len(counting.count_verdicts()[0]) == 1
    assert counting.count_verdicts() == ([], False)
    assert said(log) == {"simple": (1, {"judge": 1})}


def test_several_verdicts_of_one_request_count_it_once(log: SqlLog, counting: MisrouteLog) -> None:
    log.write([record(1)])
    judge(log, 1, 0.0)
    judge(log, 1, 0.25, purpose="shadow", method="pairwise", verdict="tried")
    judge(log, 1, 1.0, purpose="experiment")
    found, _ = counting.count_verdicts()
    assert found == [Misroute("billing", "simple", "judge", counted=True)]
    [row] = log.stats("all", DAY, DAY)
    assert (row["misroutes"], row["misroutes_by"]["judge"], row["judged"]) == (1, 1, 3)


@pytest.mark.parametrize(
    ("score", "fields"),
    [(None, {}), (0.0, {"judge": "", "method": "agreement"}), (None, {"error": "the judge is down"})],
)
def test_a_trial_without_a_grade_of_a_judge_says_nothing(
    log: SqlLog, counting: MisrouteLog, score: float | None, fields: dict[str, Any]
) -> None:
    log.write([record(1)])
    judge(log, 1, score, **fields)
    assert counting.count_verdicts() == ([], False)
    [row] = log.stats("all", DAY, DAY)
    assert (row["misroutes"], row["judged"], row["judge_quality"]) == (0, 0, None)


def test_many_processes_count_each_verdict_once(database: Database, log: SqlLog) -> None:
    every = range(1, module.AT_ONCE + 50)
    log.write([record(number) for number in every])
    TrialLog(database).append(
        [trial(record(number).request_id, judge="large", served_score=number % 2) for number in every]
    )
    found: list[Misroute] = []

    def count() -> None:
        counting, more = MisrouteLog(database, "any"), True
        while more:
            some, more = counting.count_verdicts()
            found.extend(some)

    threads = [threading.Thread(target=count) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    [row] = log.stats("all", DAY, DAY)
    assert (row["judged"], row["misroutes"], len(found)) == (len(every), len(every) // 2, len(every) // 2)


def test_grades_of_judges_are_scores_for_the_alarms(database: Database, log: SqlLog, counting: MisrouteLog) -> None:
    log.write([record(1), record(2)])
    judge(log, 1, 0.25)
    judge(log, 2, 0.5)
    counting.count_verdicts()
    assert AlarmLog(database, "any").scores(DAY) == {ScoresKey("judge", "simple", DAY): (2, 750_000)}


def test_a_retry_counts_once_and_not_in_the_total(log: SqlLog, counting: MisrouteLog) -> None:
    log.write([record(1), record(2)])
    id_ = record(1).request_id
    assert counting.lead()
    assert counting.count_retries([id_, id_, "gone"], "p1") == [Misroute("billing", "simple", "retry", counted=False)]
    assert counting.count_retries([id_], "p2") == []
    assert counting.position() == "p2"
    assert said(log) == {"simple": (0, {"retry": 1})}


def test_a_process_that_does_not_lead_counts_no_retries(database: Database, log: SqlLog, counting: MisrouteLog) -> None:
    log.write([record(1)])
    assert counting.lead()
    assert MisrouteLog(database, "second").count_retries([record(1).request_id], "p") is None
    assert said(log) == {"simple": (0, {})}
    assert counting.position() == ""


def test_asks_are_those_that_were_matched_in_order(log: SqlLog, counting: MisrouteLog) -> None:
    pinned = record(3, unit="u1")
    log.write(
        [
            record(1, unit="u1", latency_ms=2500.0),
            record(2),
            replace(pinned, decision=replace(pinned.decision, reason="pinned")),
            record(4, unit="u2", outcome="failed"),
            record(5, unit="u2", embedding=b""),
            record(6, unit="u3", attempts=(), outcome="decided"),
            record(7, unit="u4"),
        ]
    )
    asks = counting.asks("", NOW + 6)
    assert [(ask.unit, ask.answered) for ask in asks] == [("u1", True), ("u2", False), ("u3", False)]
    assert (asks[0].at, asks[0].ended) == (NOW, NOW + 2.5)
    assert asks[0].embedding == struct.pack("<3e", 0.5, -0.25, 1)
    assert asks[0].input_tokens == 12
    assert [ask.unit for ask in counting.asks(asks[0].id, NOW + 100)] == ["u2", "u3", "u4"]
