"""One suite over every back end of the grades."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from semroute.record import Record
from semroute.stores.decision_log import SqlLog
from semroute.stores.grades import DayOfGrades, read_grades
from semroute.stores.interfaces import Database, Feedback
from semroute.stores.migrations import MIGRATIONS
from semroute.stores.trials import TrialLog
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import DAY, record
from tests.stores.test_trials import trial


def pinned(number: int, route: str | None) -> Record:
    """A record of a request that named a route, or else a model."""
    one = record(number, route=route)
    return replace(one, decision=replace(one.decision, reason="pinned"))


def grades(database: Database, since_day: int = 0) -> set[DayOfGrades]:
    return set(read_grades(database, since_day)[1] or ())


def graded(database: Database, *scores: float, **fields: Any) -> None:
    """Write as many records, and give each a score."""
    log = SqlLog(database)
    for number, score in enumerate(scores, start=1):
        one = record(number, **fields)
        log.write([one])
        log.feed_back(one.request_id, Feedback(score=score), NOW + 60)


def test_feedback_is_summed_up_by_day_route_and_model(database: Database) -> None:
    graded(database, 1.0, 0.25, 0.0)
    assert grades(database) == {DayOfGrades("billing", "small", "feedback", DAY, 3, 1.25)}
    assert grades(database, DAY + 1) == set()


def test_a_second_feedback_replaces_the_first(database: Database) -> None:
    graded(database, 1.0, 1.0)
    log = SqlLog(database)
    log.feed_back(record(1).request_id, Feedback(score=0.125), NOW + 90)
    log.feed_back(record(2).request_id, Feedback(label="billing", comment="no score"), NOW + 90)
    assert grades(database) == {DayOfGrades("billing", "small", "feedback", DAY, 2, 1.125)}


def test_feedback_counts_on_the_day_of_the_answer(database: Database) -> None:
    log, old = SqlLog(database), record(1, at=NOW - 40 * 86_400)
    log.write([old])
    log.feed_back(old.request_id, Feedback(score=1.0), NOW)
    assert {each.day for each in grades(database)} == {DAY - 40}


def test_grades_outlive_the_records(database: Database) -> None:
    graded(database, 1.0)
    SqlLog(database).prune(before=NOW + 1000, max_bytes=None)
    assert len(grades(database)) == 1


def test_only_an_answer_that_was_seen_says_something_of_its_model(database: Database) -> None:
    log = SqlLog(database)
    failed, left = record(1, outcome="failed"), record(4, outcome="cancelled")
    for each in (failed, pinned(2, None), pinned(3, "billing"), left):
        log.write([each])
        log.feed_back(each.request_id, Feedback(score=1.0), NOW)
    assert grades(database) == {DayOfGrades("billing", "small", "feedback", DAY, 2, 2.0)}


def test_without_new_grades_only_their_revision_is_read(database: Database) -> None:
    graded(database, 1.0)
    revision, days = read_grades(database, 0)
    assert days and read_grades(database, 0, revision) == (revision, None)
    SqlLog(database).feed_back(record(1).request_id, Feedback(comment="no score"), NOW)
    assert read_grades(database, 0, revision) == (revision, None)
    SqlLog(database).feed_back(record(1).request_id, Feedback(score=0.5), NOW)
    again, days = read_grades(database, 0, revision)
    assert again > revision and [day.score for day in days or ()] == [0.5]


def test_a_judge_grades_the_served_answer_and_the_one_that_was_tried(database: Database) -> None:
    judged: dict[str, Any] = {"route": "billing", "served": "small", "judge": "judge", "at": NOW}
    before, _ = read_grades(database, 0)
    TrialLog(database).append([trial("a", method="rubric", served_score=0.25, **judged)])
    again = [trial("a", method="rubric", served_score=0.25, **judged), trial("b", method="rubric", **judged)]
    TrialLog(database).append([*again, trial("c", served_score=1.0, error="timeout", **judged)])
    after, _ = read_grades(database, 0)
    assert after == before + 1, "neither one that is there already nor one without a score is new"
    assert grades(database) == {DayOfGrades("billing", "small", "judge", DAY, 1, 0.25)}


def test_of_two_answers_that_were_compared_only_the_worse_one_is_bad(database: Database) -> None:
    pair: dict[str, Any] = {
        "route": "billing",
        "served": "small",
        "model": "large",
        "judge": "judge",
        "method": "pairwise",
        "at": NOW,
    }
    scores = {"a": (0.0, 1.0), "b": (0.5, 0.5), "c": (1.0, 0.0)}
    TrialLog(database).append([trial(id_, served_score=one, score=two, **pair) for id_, (one, two) in scores.items()])
    assert grades(database) == {
        DayOfGrades("billing", "small", "judge", DAY, 3, 2.0),
        DayOfGrades("billing", "large", "judge", DAY, 3, 2.0),
    }


def test_a_judge_says_nothing_of_the_default_if_the_model_was_pinned(database: Database) -> None:
    both = [pinned(1, None), record(2, route=None)]
    SqlLog(database).write(both)
    judged: dict[str, Any] = {"served": "small", "judge": "judge", "method": "rubric", "served_score": 1.0, "at": NOW}
    TrialLog(database).append([trial(each.request_id, **judged) for each in both])
    assert grades(database) == {DayOfGrades("", "small", "judge", DAY, 1, 1.0)}


def test_feedback_from_before_there_were_grades_counts(database: Database) -> None:
    late = (DAY + 1) * 86_400 - 0.25  # a moment before midnight
    log = SqlLog(database)
    given: list[tuple[float, float, dict[str, Any]]] = [(NOW, 1.0, {}), (NOW, 0.5, {}), (late, 0.0, {})]
    given += [(NOW, 1.0, {"outcome": "failed"}), (NOW, 1.0, {"route": None})]
    for number, (at, score, fields) in enumerate(given):
        one = record(number, at=at, **fields)
        log.write([one])
        log.feed_back(one.request_id, Feedback(score=score), NOW)
    expected = grades(database)
    with database.transaction() as session:
        session.run("DELETE FROM rollups WHERE dimension = 'graded by feedback'")
    assert grades(database) == set()
    migrating = [each for migration in MIGRATIONS for each in migration if "graded by feedback" in each]
    assert len(migrating) == 2
    with database.transaction() as session:
        for statement in migrating:
            session.run(statement.format(**database.types))
    assert grades(database) == expected and sum(one.number for one in expected) == 4
