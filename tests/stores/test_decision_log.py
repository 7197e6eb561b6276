"""One suite over every back end of the decision log."""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from semroute.caller import Caller
from semroute.decision import TIERS, Decision, Estimate, PlanEntry
from semroute.errors import StoreError
from semroute.messages import Usage
from semroute.record import AskFeatures, Attempt, Outcome, Record, RequestFeatures
from semroute.stores import log_rows, rollups
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Database, Feedback, JudgedRequest, LogScope, Query
from semroute.stores.migrations import MIGRATIONS, migrate
from tests.stores.conftest import NOW

DAY = int(NOW // 86_400)
# Of `record()`, as version 1 of the database kept it.
BODY_OF_VERSION_1 = (
    "01783ffb0ebefa7d94bb4e84401486313156be809d0f60cc60485c2b1e8500331a22023220d9ce4b626581765a6e766096bd"
    "c4585b4cb6c57d001be303f810ce0ccb6d4d3cd56492734ef8fe6fb8a5f5b62f656fe4c077a09ea063a0698301d82c95485e"
    "b9e5b82e9f955553699de4b4935a6e21db8c312a5ab6a5fef3216a3569e896fab7222babb897fae7b3a8172279137c61baee"
    "58507faace8447788666e2c68028e292e194d681dc8c23c71b4e22dfdf978d451b744a1dcfc0b61f20b668b61ba7dc2a466b"
    "1477b36e8ebbf35e90abad035a6749c02100eaa29fe8e84a1d0b75d9d433b9df098fc31aa6459b332309f71db339ef8b42c7"
    "8a85dcf87a26a75ec6a6cbd56459254359515194a2b5a2b9cbd71fce68adc7e343975756c932f2cf3bdd70d1178715ed8364"
    "449ed90461db140b21cb83380c7c8c32d3c3090a33f927804b2275bbff0fd4cebc27e3f6db5f1b95d74d1d15be7aede3b2c1"
    "4c0566008eb41c867e102098fe02eef02469"
)


def record(number: int = 1, **fields: Any) -> Record:
    """Number one came at NOW, each further a second later."""
    at = NOW + number - 1
    cost = fields.pop("cost_usd", Decimal("0.000024"))
    route = fields.pop("route", "billing")
    attempt = Attempt(
        model=fields.pop("model", "small"),
        status="ok",
        latency_ms=100,
        usage=Usage(input_tokens=12, output_tokens=6, cached_tokens=4),
        cost_usd=cost,
    )
    outcome: Outcome = fields.pop("outcome", "ok")
    decision = Decision(
        id=f"{int(at * 1000):012x}{number:016x}",
        route=route,
        reason="semantic" if route else "default",
        explanation="because",
        confidence=0.9,
        threshold=0.5,
        margin=0.4,
        model="small",
        plan=("small", "large"),
        rejected={"tiny": "too small"},
        candidates=(),
        estimate=Estimate(input_tokens=12, output_tokens=300, cost_usd=Decimal("0.001")),
        config_version="v1",
    )
    values: dict[str, Any] = {
        "attempts": (attempt,),
        "latency_ms": 100.0,
        "at": at,
        "overhead_ms": 2.0,
        "tier": "simple",
    }
    values |= {"embedding": struct.pack("<3e", 0.5, -0.25, 1), "scores": struct.pack("<2e", 0.75, 0.25)}
    values |= {"routes": ("billing", "coding"), "caller": Caller(id="k1", name="app", team="web"), "feature": "chat"}
    return Record(request_id=decision.id, decision=decision, outcome=outcome, **values | fields)


@pytest.fixture
def log(database: Database) -> SqlLog:
    return SqlLog(database)


def ids(page: list[dict[str, Any]]) -> list[int]:
    return [int(row["id"][12:], 16) for row in page]


def test_a_record_is_read_back_whole(log: SqlLog) -> None:
    written = record(error="it broke", saved_usd=Decimal("0.1"), content="full", prompt="hello", answer="there")
    log.write([written])
    read = log.read(written.request_id)
    assert read is not None
    assert read["decision"] == written.decision
    assert read["attempts"] == written.attempts
    assert (read["cost_usd"], read["saved_usd"]) == (Decimal("0.000024"), Decimal("0.1"))
    assert read["scores"] == {"billing": 0.75, "coding": 0.25}
    assert read["embedding"] == [0.5, -0.25, 1]
    assert (read["prompt"], read["answer"], read["error"]) == ("hello", "there", "it broke")
    assert (read["key_id"], read["team"], read["feature"], read["tier"]) == ("k1", "web", "chat", "simple")
    assert read["feedback"] is None
    assert log.read("nothing") is None


def test_a_batch_that_may_have_been_written_counts_once(log: SqlLog) -> None:
    log.write([record(1)])
    log.write([record(1), record(2)], again=True)
    assert ids(log.page(Query())) == [2, 1]
    [total] = log.stats("all", DAY, DAY)
    assert (total["requests"], total["cost_usd"]) == (2, Decimal("0.000048"))


def test_pages_go_back_in_time_without_gap_or_repetition(log: SqlLog) -> None:
    log.write([record(number) for number in range(1, 26)])
    seen: list[int] = []
    before = None
    while page := log.page(Query(limit=10, before=before)):
        seen += ids(page)
        before = page[-1]["id"]
    assert seen == list(range(25, 0, -1))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"since": NOW + 3}, [6, 5, 4]),
        ({"until": NOW + 1}, [1]),
        ({"route": "coding"}, [2]),
        ({"route": ""}, [6]),
        ({"model": "large"}, [3]),
        ({"model": "", "since": NOW}, [6]),
        ({"key": "k2"}, [4]),
        ({"team": "mobile"}, [4]),
        ({"feature": "search"}, [5]),
        ({"outcome": "failed"}, [5]),
        ({"min_cost_usd": Decimal(1)}, [3]),
        ({"max_cost_usd": Decimal(0)}, [6, 2]),
        ({"error": "100%_OFF"}, [5]),
        ({"error": "100_"}, []),
        ({"model": "small", "min_cost_usd": Decimal("0.00001"), "since": NOW}, [5, 4, 1]),
    ],
)
def test_filters(log: SqlLog, query: dict[str, Any], expected: list[int]) -> None:
    log.write(
        [
            record(1),
            record(2, route="coding", cost_usd=Decimal(0)),
            record(3, model="large", cost_usd=Decimal("1.5")),
            record(4, caller=Caller(id="k2", team="mobile")),
            record(5, feature="search", outcome="failed", error="it is 100%_off today"),
            record(6, route=None, attempts=(), outcome="decided"),
        ]
    )
    assert ids(log.page(Query(**query))) == expected
    assert [int(row["id"][12:], 16) for row in log.export(Query(**query))] == expected[::-1]


def test_statistics_count_everything(log: SqlLog) -> None:
    failed = Attempt(model="small", status="failed", latency_ms=5, error_code="provider_timeout")
    ok = Attempt(model="large", status="ok", latency_ms=9, cost_usd=Decimal("0.5"), usage=Usage(output_tokens=7))
    passed_over = msgspec.structs.replace(ok, escalated="too short")
    log.write(
        [
            record(1),
            record(2, attempts=(failed, ok), latency_ms=1000.0, tier="complex", saved_usd=Decimal("0.25")),
            record(3, attempts=(passed_over, ok), route=None, tier="complex"),
            record(4, attempts=(failed,), outcome="failed"),
        ]
    )
    rows = {row["value"]: row for row in log.stats("model", DAY, DAY)}
    assert list(rows) == ["large", "small"]
    large = rows["large"]
    assert (large["requests"], large["share"], large["output_tokens"]) == (2, 0.5, 21)
    assert (large["cost_usd"], large["saved_usd"]) == (Decimal("1.5"), Decimal("0.25"))
    assert (large["fallback_rate"], large["escalation_rate"], large["abstention_rate"]) == (0.5, 0.5, 0.5)
    assert rows["small"]["error_rate"] == 0.5
    assert large["latency_ms"]["p99"] == pytest.approx(1000, rel=0.046)
    assert large["latency_ms"]["p50"] == pytest.approx(100, rel=0.046)
    assert [row["value"] for row in log.stats("route", DAY, DAY)] == ["billing", ""]
    assert [row["value"] for row in log.stats("tier", DAY, DAY)] == ["complex", "simple"]
    assert log.stats("model", DAY + 1, DAY + 9) == []
    log.write([record(5, attempts=(), outcome="decided", tier="")])
    assert len(log.stats("model", DAY, DAY)) == len(log.stats("tier", DAY, DAY)) == 2
    classified = msgspec.structs.replace(ok, purpose="classifier", cost_usd=Decimal("0.125"))
    log.write([record(6, attempts=(classified,), outcome="decided", tier="")])
    for by in ("model", "tier", "route", "all"):
        rows_by = log.stats(by, DAY, DAY)
        assert sum(row["cost_usd"] for row in rows_by) == Decimal("1.625024")


def shares(log: SqlLog, by: str) -> dict[str, tuple[int, float]]:
    """Misroutes, and their share of what was routed there, by value."""
    return {row["value"]: (row["misroutes"], row["misroute_rate"]) for row in log.stats(by, DAY, DAY)}


def test_a_misroute_counts_where_the_request_went_first(log: SqlLog) -> None:
    failed = Attempt(model="tiny", status="failed", latency_ms=5)
    small = Attempt(model="small", status="ok", latency_ms=5, escalated="too short")
    large = Attempt(model="large", status="ok", latency_ms=9)
    plan = [
        PlanEntry(model=name, why="", tier=tier, quality=0.5, cost_usd=Decimal(0), latency_ms=None)
        for name, tier in zip(("tiny", "small", "large"), TIERS, strict=True)
    ]
    decision = msgspec.structs.replace(record(1).decision, plan_details=tuple(plan))

    def one(number: int, *attempts: Attempt, tier: str) -> Record:
        made = record(number, attempts=attempts, tier=tier)
        its = msgspec.structs.replace(decision, id=made.request_id)
        return msgspec.structs.replace(made, decision=its)

    log.write(
        [
            one(1, failed, small, large, tier="complex"),
            one(2, msgspec.structs.replace(small, served_anyway=True), tier="moderate"),
            one(3, msgspec.structs.replace(small, escalated=None), tier="moderate"),
            one(4, large, tier="complex"),
            one(5, failed, large, tier="complex"),
        ]
    )
    assert shares(log, "tier") == {"complex": (0, 0.0), "moderate": (2, round(2 / 3, 6))}
    assert shares(log, "model") == {"large": (0, 0.0), "small": (2, round(2 / 3, 6))}
    assert shares(log, "route") == {"billing": (2, 0.4)}
    assert shares(log, "all") == {"": (2, 0.4)}
    assert [row["escalated"] for row in log.page(Query())] == [False, False, False, True, True]
    for number in (1, 4):  # the first counts already
        noted = log.feed_back(record(number).request_id, Feedback(score=0), NOW)
        assert noted == JudgedRequest("billing", "complex", misrouted=number == 4, by_feedback=True)
    assert shares(log, "tier") == {"complex": (1, 0.5), "moderate": (2, round(2 / 3, 6))}


@pytest.mark.parametrize(
    ("escalated", "ungraded", "misroutes"),
    [
        ("judge could not grade it: status 500", "judge could not grade it: status 500", 0),
        ("judge gave no grade: got {} (at most 1 escalations are allowed)", "judge gave no grade: got {}", 0),
        ("judge gives 0.2, expected 0.5", "small could not grade it: status 500", 1),
        ("it declines", None, 1),
    ],
)
def test_an_answer_that_nothing_graded_is_no_misroute(
    log: SqlLog, escalated: str, ungraded: str | None, misroutes: int
) -> None:
    first = Attempt(model="small", status="ok", latency_ms=5, escalated=escalated, ungraded=ungraded)
    log.write([record(1, attempts=(first, Attempt(model="large", status="ok", latency_ms=9)), tier="complex")])
    (row,) = log.stats("all", DAY, DAY)
    assert (row["misroutes"], row["escalation_rate"]) == (misroutes, 1.0)


def test_all_of_a_tier_may_have_gone_wrong(log: SqlLog) -> None:
    first = Attempt(model="small", status="ok", latency_ms=5, escalated="it declines")
    entry = PlanEntry(model="small", why="", tier="simple", quality=0.5, cost_usd=Decimal(0), latency_ms=None)
    made = record(1, attempts=(first, Attempt(model="large", status="ok", latency_ms=9)), tier="complex")
    log.write([msgspec.structs.replace(made, decision=msgspec.structs.replace(made.decision, plan_details=(entry,)))])
    assert shares(log, "tier") == {"complex": (0, 0.0), "simple": (1, 1.0)}


@pytest.mark.parametrize(
    ("fields", "feedback", "expected"),
    [
        ({}, [Feedback(label="coding")], 1),
        ({}, [Feedback(label="billing")], 0),
        ({}, [Feedback(score=0.49)], 1),
        ({}, [Feedback(score=0.5)], 0),
        ({}, [Feedback(comment="bad")], 0),
        ({}, [Feedback(label="billing"), Feedback(score=0)], 1),
        ({}, [Feedback(label="coding"), Feedback(score=1)], 1),
        ({}, [Feedback(label="coding"), Feedback(label="billing")], 0),
        ({}, [Feedback(score=0), Feedback(score=0.1), Feedback(score=1)], 0),
        ({"route": None}, [Feedback(label="billing")], 1),
        ({"route": None}, [Feedback(label="")], 0),
        ({}, [Feedback(label="")], 1),
        ({"route": None, "reason": "pinned"}, [Feedback(label="billing")], 0),
        ({"route": None, "reason": "pinned"}, [Feedback(score=0)], 1),
        ({"attempts": (), "outcome": "decided", "tier": ""}, [Feedback(label="coding")], 1),
    ],
    ids=str,
)
def test_feedback_says_whether_a_request_was_misrouted(
    log: SqlLog, fields: dict[str, Any], feedback: list[Feedback], expected: int
) -> None:
    fields = dict(fields)
    reason = fields.pop("reason", None)
    made = record(1, **fields)
    if reason is not None:
        made = msgspec.structs.replace(made, decision=msgspec.structs.replace(made.decision, reason=reason))
    log.write([made, record(2), record(3), record(4)])
    told = [log.feed_back(made.request_id, one, NOW) for one in feedback]
    assert shares(log, "all") == {"": (expected, expected / 4)}
    labels = {row["labels"] for row in log.stats("all", DAY, DAY)}
    assert labels == {int(any(one.label is not None for one in feedback))}
    assert any(one is not None and one.misrouted for one in told) >= bool(expected)


def test_days_are_in_order(log: SqlLog) -> None:
    log.write([record(1), record(1 + 86_400), record(2 + 86_400)])
    assert [(row["value"], row["requests"]) for row in log.stats("day", 0, DAY + 1)] == [
        (str(DAY), 1),
        (str(DAY + 1), 2),
    ]


def test_feedback_lands_in_the_record_and_again_replaces_it(log: SqlLog) -> None:
    log.write([record(1), record(2)])
    id_ = record(1).request_id
    for score in (0.0, 1.0, 1.0):
        assert log.feed_back(id_, Feedback(score=score), NOW)
    assert log.feed_back(id_, Feedback(label="coding", comment="wrong way"), NOW + 1)
    read = log.read(id_)
    assert read is not None
    assert read["feedback"] == {"score": 1, "label": "coding", "comment": "wrong way", "feedback_at": NOW + 1}
    [total] = log.stats("all", DAY, DAY)
    assert (total["feedbacks"], total["quality"]) == (1, 1.0)
    assert ids(log.page(Query(label="coding"))) == [1]
    assert not log.feed_back("nothing", Feedback(score=1), NOW)


def test_pruning_deletes_what_is_old_and_keeps_the_statistics(log: SqlLog) -> None:
    log.write([record(number) for number in range(1, 11)])
    assert log.prune(before=NOW + 4, max_bytes=None) == 4
    assert ids(log.page(Query())) == [10, 9, 8, 7, 6, 5]
    assert log.read(record(1).request_id) is None
    assert log.stats("all", DAY, DAY)[0]["requests"] == 10


def test_records_that_share_a_block_with_pruned_ones_are_still_read(log: SqlLog) -> None:
    numbers = range(1, 2 * log_rows.BLOCK + 10)
    log.write([record(number, error=f"error {number}") for number in reversed(numbers)])
    assert log.prune(before=NOW + log_rows.BLOCK + 5, max_bytes=None) == log_rows.BLOCK + 5
    left = numbers[log_rows.BLOCK + 5 :]
    for number in left:
        read = log.read(record(number).request_id)
        assert read is not None
        assert (read["decision"], read["error"]) == (record(number).decision, f"error {number}")
    assert [row["decision"].id for row in log.export(Query())] == [record(number).request_id for number in left]
    with log.database.transaction(write=False) as session:
        [[blocks]] = session.run("SELECT COUNT(*) FROM blocks")
    assert blocks == 2


def test_a_body_that_an_older_version_wrote_is_read(log: SqlLog) -> None:
    old = record()
    log.write([old])
    with log.database.transaction() as session:
        session.run("DELETE FROM blocks")
        session.run("UPDATE bodies SET body = ?, block = NULL", (bytes.fromhex(BODY_OF_VERSION_1),))
    read = log.read(old.request_id)
    assert read is not None
    assert (read["decision"], read["attempts"]) == (old.decision, old.attempts)


def test_pruning_by_size_deletes_the_oldest(log: SqlLog) -> None:
    log.write([record(number) for number in range(1, 501)])
    size = log.database.size_bytes()
    deleted = log.prune(before=None, max_bytes=size // 2)
    assert 200 <= deleted <= 300
    assert ids(log.page(Query(limit=1))) == [500]
    assert len(list(log.export(Query()))) == 500 - deleted
    for _ in range(10):  # what was deleted counts no more, though a server's files stay as large as they were
        log.prune(before=None, max_bytes=size // 2)
    assert len(list(log.export(Query()))) >= 100


def by_feature(log: SqlLog, days: int = 0) -> dict[str, int]:
    return {row["value"]: row["requests"] for row in log.stats("feature", DAY, DAY + days)}


def test_a_day_has_so_many_features_and_the_rest_counts_together(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_FEATURES", 4)
    other_writer = SqlLog(log.database)
    log.write([record(1, feature=""), record(2, feature="a"), record(3, feature="b")])
    other_writer.write([record(4, feature="c"), record(5, feature="a")])
    log.write([record(6, feature="d"), record(7, feature="e"), record(8, feature="f")])
    other_writer.write([record(9, feature="g"), record(10, feature="d")])
    SqlLog(log.database).write([record(number, feature=f"x{number}") for number in range(11, 31)])
    log.write([record(31, feature="a"), record(32, feature="other")])
    assert by_feature(log) == {"": 1, "a": 3, "b": 1, "c": 1, "d": 2, "other": 24}
    assert ids(log.page(Query(feature="x12"))) == [12]  # a record keeps its own
    later = 86_400
    log.write([record(later + number, feature=name) for number, name in enumerate("vwxyz")])
    assert by_feature(log, 1) == {"": 1, "a": 3, "b": 1, "c": 1, "d": 2, "other": 24 + 5}
    assert sum(by_feature(log, 1).values()) == 37
    assert log.stats("all", DAY, DAY + 1)[0]["requests"] == 37


def test_features_that_were_not_committed_take_no_place(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_FEATURES", 2)
    unwritable = record(2, feature="gone", tier="\ud800")
    with pytest.raises(UnicodeError):
        log.write([record(1, feature="lost"), unwritable])
    log.write([record(3, feature="a"), record(4, feature="b"), record(5, feature="c")])
    assert by_feature(log) == {"a": 1, "b": 1, "other": 1}


def test_feedback_on_a_feature_without_a_place_makes_none(log: SqlLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_FEATURES", 1)
    log.write([record(number, feature=f"f{number}") for number in (1, 2, 3)])
    for number in (1, 2, 3):
        assert log.feed_back(record(number).request_id, Feedback(score=1), NOW)
    rows = {row["value"]: row["feedbacks"] for row in log.stats("feature", DAY, DAY)}
    assert rows == {"f1": 1, "other": 2}


def test_totals_and_names_that_outlived_their_use_are_forgotten(log: SqlLog) -> None:
    def versions() -> set[str]:
        with log.database.transaction(write=False) as session:
            return {version for (version,) in session.run("SELECT version FROM score_names")}

    old, new = record(1), record(2 + 86_400)
    later = msgspec.structs.replace(new.decision, config_version="v2")
    log.write([old])
    log.write([msgspec.structs.replace(new, decision=later)])
    assert versions() == {"v1", "v2"}
    log.prune(before=NOW + 86_400, max_bytes=None)
    assert versions() == {"v2"}
    years = rollups.KEEP_DAYS * 86_400
    log.write([record(3 + 86_400 + years)])
    log.prune(before=None, max_bytes=None)
    assert [row["value"] for row in log.stats("day", DAY, DAY + 10_000)] == [
        str(DAY + 1),
        str(DAY + 1 + rollups.KEEP_DAYS),
    ]
    assert versions() == {"v1", "v2"}


def test_what_cannot_be_pruned_does_not_count_as_the_logs_size(log: SqlLog) -> None:
    log.write([record(number) for number in range(1, 101)])
    size = log.database.size_bytes()
    with log.database.transaction() as session:
        cells = [("key", DAY, f"k{number}", 0, 1) for number in range(20_000)]
        session.run_many(rollups.UPSERT, cells)
        insert = "INSERT INTO audit (id, at, who, action, detail, allowed) VALUES (?, 0, 'w', 'a', ?, 1)"
        session.run_many(insert, [(f"{number:06}", "d" * 500) for number in range(2_000)])
    assert log.database.size_bytes() <= size * 1.1
    assert log.prune(before=None, max_bytes=round(size * 1.1)) == 0


def test_a_key_sees_its_own_records_and_those_of_its_routes_and_models(log: SqlLog) -> None:
    log.write(
        [
            record(1),
            record(2, route="coding"),
            record(3, route="coding", model="large"),
            record(4, route=None, model="large"),
            record(5, route=None, caller=Caller(id="k2")),
        ]
    )
    for routes, models, seen in (
        (("billing",), None, [5, 1]),
        (None, ("large",), [5, 4, 3]),
        (("coding",), ("large",), [5, 3]),
        (("coding",), (), [5]),
    ):
        within = LogScope(key="k2", routes=routes, models=models)
        assert ids(log.page(Query(within=within))) == seen
        assert ids(log.page(Query(within=within, outcome="ok", limit=1))) == seen[:1]
        for number in range(1, 6):
            there = number in seen
            assert (log.read(record(number).request_id, within) is not None) is there
            assert (log.feed_back(record(number).request_id, Feedback(comment="hm"), NOW, within) is not None) is there


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_what_is_pruned_while_it_is_read_is_read_whole(log: SqlLog) -> None:
    log.write([record(1)])
    with log.database.transaction(write=False) as session:
        [[block]] = session.run("SELECT block FROM bodies")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(log.prune, before=NOW + 1, max_bytes=None).result() == 1
        assert len(session.run("SELECT data FROM blocks WHERE id = ?", (block,))) == 1
    assert log.read(record(1).request_id) is None


def test_an_export_gives_all_in_order(log: SqlLog) -> None:
    log.write([record(number) for number in range(1, 1203)])
    assert [int(row["id"][12:], 16) for row in log.export(Query())] == list(range(1, 1203))


def test_writers_and_feedback_at_once_lose_nothing(log: SqlLog) -> None:
    log.write([record(10_000)])

    def write(number: int) -> None:
        log.write([record(number * 10 + place) for place in range(1, 11)])
        log.feed_back(record(10_000).request_id, Feedback(score=number / 20), NOW)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(20)))
    [total] = log.stats("all", DAY, DAY)
    assert (total["requests"], total["feedbacks"]) == (201, 1)
    assert total["cost_usd"] == 201 * Decimal("0.000024")


def test_migrations_go_forward_once(database: Database) -> None:
    assert migrate(database) == 0
    further = (*MIGRATIONS, ("CREATE TABLE more (id TEXT NOT NULL PRIMARY KEY) {clustered}",))
    with ThreadPoolExecutor(4) as pool:
        steps = list(pool.map(lambda _: migrate(database, further), range(4)))
    assert sorted(steps) == [0, 0, 0, 1]
    known = len(MIGRATIONS)
    with pytest.raises(StoreError, match=f"version {known + 1}, this semroute knows up to {known}"):
        migrate(database)


def test_a_block_of_an_older_release_says_whose_answer_was_given() -> None:
    """`served` was the name of `served_anyway` then."""

    class Older(msgspec.Struct):
        decision: Decision
        attempts: tuple[dict[str, Any], ...]

    made = record(1)
    attempts = tuple({**msgspec.to_builtins(one), "served": True} for one in made.attempts)
    for each in attempts:
        del each["served_anyway"]
    packed = msgspec.msgpack.encode({"a": Older(made.decision, attempts)})
    press = zlib.compressobj(1, zdict=log_rows._DICTIONARY_1)
    [attempt] = log_rows.read_block(b"\x01" + press.compress(packed) + press.flush())["a"].attempts
    assert attempt == msgspec.structs.replace(made.attempts[0], served_anyway=True)
    assert "served" not in msgspec.to_builtins(attempt)


def test_features_are_kept_and_deleted_with_their_record(log: SqlLog) -> None:
    features = RequestFeatures(encoder="e", asks=(AskFeatures(vector=b"\x00" * 8, pieces=(1, 70_000)),), turns=2)
    log.write([record(1, features=msgspec.msgpack.encode(features)), record(2)])
    first, second = log.export(Query())
    assert (first["features"], second["features"]) == (features, None)
    log.prune(before=NOW + 0.5, max_bytes=None)
    with log.database.transaction() as session:
        assert session.run("SELECT features FROM bodies") == [(None,)]
