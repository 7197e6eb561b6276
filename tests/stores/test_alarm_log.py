"""What alarms read and keep, on every back end of the decision log."""

from __future__ import annotations

import struct
import threading

import pytest
from msgspec.structs import replace

from semroute.record import Record
from semroute.stores.alarm_log import PAGE, AlarmLog, Saved, ScoresKey
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Database, Feedback
from semroute.stores.leadership import SILENT_LOOKS
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import BODY_OF_VERSION_1, DAY, record


def matched(number: int, in_scope: float | None = 0.5) -> Record:
    made = record(number, encoder="e1")
    return replace(made, decision=replace(made.decision, in_scope=in_scope))


@pytest.fixture
def first(database: Database) -> AlarmLog:
    return AlarmLog(database, "first")


@pytest.fixture
def second(database: Database) -> AlarmLog:
    return AlarmLog(database, "second")


def test_one_process_leads_until_it_is_silent(first: AlarmLog, second: AlarmLog) -> None:
    assert first.lead()
    for _ in range(2 * SILENT_LOOKS):
        assert not second.lead()
        assert first.lead()
    for _ in range(SILENT_LOOKS):
        assert not second.lead()
    assert second.lead()
    assert not first.lead()
    assert not first.save(b"late", None)
    assert second.save(b"p", b"r")
    assert second.saved() == Saved(b"p", b"r", 0)
    assert first.progress() == b"p"


def test_a_process_that_resigns_is_followed_at_once(first: AlarmLog, second: AlarmLog) -> None:
    assert first.lead()
    assert not second.lead()
    second.resign()  # it does not lead, so this changes nothing
    assert not second.lead()
    first.resign()
    assert second.lead()
    assert not first.lead()


def test_only_one_of_several_processes_takes_over(database: Database) -> None:
    gone, others = AlarmLog(database, "gone"), [AlarmLog(database, f"p{number}") for number in range(4)]
    assert gone.lead()
    for _ in range(SILENT_LOOKS):
        assert not any([other.lead() for other in others])
    leads, start = [], threading.Barrier(len(others))

    def look(log: AlarmLog) -> None:
        start.wait(30)
        leads.append(log.lead())

    threads = [threading.Thread(target=look, args=(other,)) for other in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(leads) == [False, False, False, True]


def test_what_is_saved_stays_until_it_is_replaced(first: AlarmLog) -> None:
    assert first.saved() == Saved(b"", b"", 0)
    first.lead()
    assert first.save(b"1", b"reference")
    assert first.save(b"2", None)
    first.reset()
    first.reset()
    assert first.saved() == Saved(b"2", b"reference", 2)
    assert first.resets() == 2


def test_requests_come_in_order_up_to_a_moment(database: Database, first: AlarmLog) -> None:
    log = SqlLog(database)
    log.write([matched(number, None if number == 3 else number / 10_000) for number in range(1, PAGE + 102)])
    page = first.requests("", NOW + PAGE + 100)
    rest = first.requests(page[-1].id, NOW + PAGE + 100)
    assert (len(page), len(rest)) == (PAGE, 100)
    assert [round(seen.at - NOW) for seen in [*page, *rest]] == list(range(PAGE + 100))
    assert [seen.in_scope for seen in page[:4]] == [0.0001, 0.0002, None, 0.0004]
    assert {(seen.encoder, seen.embedding) for seen in page} == {("e1", struct.pack("<3e", 0.5, -0.25, 1))}
    assert first.id_before_last(100, NOW + PAGE + 100) == page[-1].id
    assert first.id_before_last(0, NOW + 1) == page[0].id
    assert first.id_before_last(PAGE + 100, NOW + PAGE + 100) == ""


def test_a_request_without_a_vector_or_with_a_damaged_body_has_none(database: Database, first: AlarmLog) -> None:
    SqlLog(database).write([replace(matched(1), embedding=b""), matched(2)])
    SqlLog(database).write([matched(100)])
    with database.transaction() as session:
        session.run("UPDATE blocks SET data = ? WHERE id = ?", (b"\x01torn", matched(100).request_id))
    unmatched, sound, torn = first.requests("", NOW + 1000)
    assert (unmatched.embedding, sound.in_scope) == (b"", 0.5)
    assert (torn.id, torn.embedding, torn.in_scope) == (matched(100).request_id, b"", None)


def test_a_body_that_stands_alone_is_read(database: Database, first: AlarmLog) -> None:
    SqlLog(database).write([matched(1), matched(2)])
    with database.transaction() as session:
        session.run(
            "UPDATE bodies SET block = NULL, body = ? WHERE id = ?",
            (bytes.fromhex(BODY_OF_VERSION_1), matched(1).request_id),
        )
        session.run("UPDATE bodies SET block = NULL, body = ? WHERE id = ?", (b"", matched(2).request_id))
    old, torn = first.requests("", NOW + 1000)
    assert (old.encoder, old.in_scope, len(old.embedding)) == ("", None, 6)
    assert (torn.encoder, torn.in_scope) == ("", None)


def test_scores_are_those_of_the_last_feedback(database: Database, first: AlarmLog) -> None:
    log = SqlLog(database)
    later = replace(record(90_000), tier="complex")
    log.write([record(1), record(2), record(3), later])
    for number, score in ((1, 1.0), (2, 0.5), (1, 0.0), (1, 0.25)):
        log.feed_back(record(number).request_id, Feedback(score=score), NOW)
    log.feed_back(record(3).request_id, Feedback(label="coding"), NOW)
    log.feed_back(later.request_id, Feedback(score=1.0), NOW)
    simple, complex_ = ScoresKey("feedback", "simple", DAY), ScoresKey("feedback", "complex", DAY + 1)
    assert first.scores(DAY) == {simple: (2, 750_000), complex_: (1, 1_000_000)}
    assert first.scores(DAY + 1) == {complex_: (1, 1_000_000)}
