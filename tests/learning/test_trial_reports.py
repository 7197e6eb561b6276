"""What `semroute judge` and `semroute shadow` tell of a log."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from msgspec.structs import replace

from semroute.cli.commands import group
from semroute.learning.judge_report import JudgeFound, judge_report
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.shadow_report import FOLDER, ShadowFound, shadow_report
from semroute.messages import Usage
from semroute.record import Attempt, Trial
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.trials import TrialLog
from tests.learning.logs import line
from tests.stores.test_decision_log import record

CALL = Attempt(
    model="large",
    status="ok",
    latency_ms=900,
    usage=Usage(output_tokens=40),
    cost_usd=Decimal("0.002"),
    purpose="shadow",
)
LIKE = {"same_text": False, "same_finish_reason": True, "served_chars": 10, "chars": 30}


def trial(number: int, purpose: Any = "judge", **fields: Any) -> Trial:
    given = {"id": f"r{number}:{purpose}", "decision": f"r{number}", "at": 1.0, "purpose": purpose, "route": "billing"}
    return Trial(**{**given, "tier": "simple", "unit": f"u{number}", "served": "small", **fields})


def graded(number: int, score: float | None, **fields: Any) -> Trial:
    return trial(number, judge="jury", method="rubric", served_score=score, attempts=(CALL,), **fields)


def compared(number: int, verdict: Any, **fields: Any) -> Trial:
    fields = {
        "judge": "jury",
        "method": "pairwise",
        "model": "large",
        "served_score": 0.5,
        "attempts": (CALL,),
    } | fields
    return trial(number, verdict=verdict, **fields)


def shadowed(number: int, **fields: Any) -> Trial:
    fields = {"model": "large", "method": "agreement", "attempts": (CALL,), "detail": LIKE} | fields
    return trial(number, "shadow", **fields)


def rows(*trials: Iterable[Trial], **fields: Any) -> list[LoggedDecision]:
    made = [line(number, None, **fields) for number, _ in enumerate(trials, start=1)]
    read = [msgspec.convert(each, LoggedDecision, strict=False) for each in made]
    return [replace(row, trials=tuple(each)) for row, each in zip(read, trials, strict=True)]


def only_judge(found: list[LoggedDecision]) -> JudgeFound:
    [judge] = judge_report(found).judges
    return judge


def only_shadow(found: list[LoggedDecision]) -> ShadowFound:
    [shadow] = shadow_report(found).shadows
    return shadow


def test_a_grade_counts_for_the_requests_that_it_was_drawn_from() -> None:
    common = [[graded(n, 1.0, propensity=0.1, route="billing")] for n in range(20)]
    rare = [[graded(n, 0.0, propensity=1.0, route="")] for n in range(20)]
    found = only_judge(rows(*common, *rare, []))
    assert (found.trials, found.graded) == (40, 40)
    assert found.quality is not None and found.quality.mean == pytest.approx(200 / 220)
    assert {name: (each.n, each.mean) for name, each in found.by_route.items()} == {
        "(default)": (20, 0.0),
        "billing": (20, 1.0),
    }
    assert (found.cost_usd, found.usd_per_grade) == (Decimal("0.08"), Decimal("0.002"))


def test_failures_are_counted_and_paid() -> None:
    failed = graded(2, None, error="no grade", detail={"failed": "unreadable"})
    found = only_judge(rows([graded(1, 0.5)], [failed]))
    assert (found.graded, found.failed, found.cost_usd) == (1, {"unreadable": 1}, Decimal("0.004"))


def test_the_judge_is_compared_with_people() -> None:
    good = rows(*[[graded(n, 0.9)] for n in range(30)], feedback={"score": 1.0})
    bad = rows(*[[graded(n, 0.2)] for n in range(9)], [graded(9, 0.6)], feedback={"score": 0.0})
    unscored = rows([graded(1, 0.9)])
    found = only_judge(good + bad + unscored).agreement
    assert (found.n, found.both_good, found.both_bad, found.judge_good, found.people_good) == (40, 30, 9, 1, 0)
    assert found.kappa == pytest.approx(0.931, abs=1e-3)
    assert found.low is not None and 0.6 < found.low < 0.9


def test_a_judge_in_two_ways_is_two_judges() -> None:
    found = judge_report(rows([graded(1, 0.5)], [compared(2, "tie")], [compared(3, "tried")]))
    assert [(each.method, each.against, each.trials) for each in found.judges] == [
        ("pairwise", "large", 2),
        ("rubric", "", 1),
    ]


def test_how_often_the_cheap_answer_would_have_done_by_route() -> None:
    did = [[shadowed(n), compared(n, "tie" if n % 2 else "served", detail={"flipped": n == 1})] for n in range(30)]
    did_not = [[shadowed(n, route="law"), compared(n, "tried", route="law")] for n in range(10)]
    found = only_shadow(rows(*did, *did_not))
    assert (found.asked, found.answered, found.compared, found.flipped) == (40, 40, 40, 1)
    assert found.verdicts == {"served": 15, "tie": 15, "tried": 10}
    assert found.would_do is not None and found.would_do.mean == 0.75
    assert found.by_route["billing"].mean == 1.0 and found.by_route["billing"].low > 0.85
    assert found.by_route["law"].mean == 0.0 and found.by_route["law"].high < 0.3
    assert (found.cost_usd, found.judge_usd) == (Decimal("0.08"), Decimal("0.08"))


def test_without_a_judge_only_what_answers_have_in_common_is_known() -> None:
    found = only_shadow(rows([shadowed(1)], [shadowed(2, detail={**LIKE, "same_text": True, "same_json": True})]))
    assert (found.would_do, found.by_route, found.compared) == (None, {}, 0)
    assert {name: (each.n, each.mean) for name, each in found.alike.items()} == {
        "same_text": (2, 0.5),
        "same_finish_reason": (2, 1.0),
        "same_json": (1, 1.0),
    }
    assert found.tried is not None and found.served is not None
    assert (found.tried.latency_ms, found.tried.output_tokens, found.tried.cost_usd) == (900, 40, 0.002)
    assert (found.served.chars, found.tried.chars) == (10, 30)


def test_pairs_of_a_judge_without_a_shadow_count_too() -> None:
    found = only_shadow(rows([compared(1, "served")], [compared(2, "tried")]))
    assert (found.to, found.asked, found.compared) == ("large", 0, 2)
    assert found.would_do is not None and found.would_do.mean == 0.5


def test_a_candidate_folder_is_told_apart() -> None:
    same = {"candidate": "v2", "model_changed": False, "route_changed": False}
    other = {**same, "model_changed": True, **LIKE}
    decided = [[shadowed(n, attempts=(), model="small", method="", detail=same)] for n in range(3)]
    asked = [shadowed(4, detail=other), compared(4, "served")]
    failed = [shadowed(5, attempts=(), error="it cannot decide", detail={"candidate": "v2", "failed": "undecided"})]
    found = only_shadow(rows(*decided, asked, failed))
    assert (found.to, found.asked, found.answered, found.failed) == (FOLDER, 2, 1, {"undecided": 1})
    assert found.candidate is not None and (found.candidate.version, found.candidate.decided) == ("v2", 4)
    assert found.candidate.model_changed is not None and found.candidate.model_changed.mean == 0.25
    assert found.compared == 1


def test_a_log_without_trials_says_what_to_write(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(line(1, None)) + "\n")
    for command, section in (("judge", "judge:"), ("shadow", "shadow:")):
        done = CliRunner().invoke(group, [command, str(tmp_path / "log.jsonl")])
        assert (done.exit_code, f"write `{section}` into the route files" in done.output) == (0, True), done.output


@pytest.fixture
def url(tmp_path: Path) -> str:
    """The URL of a log with twenty shadowed requests. A judge compared them."""
    url = f"sqlite:///{tmp_path / 'log.db'}"
    database = open_database(url)
    SqlLog(database).write([record(n) for n in range(1, 21)])
    ids = [record(n).request_id for n in range(1, 21)]
    for make in (shadowed(0), compared(0, "tie")):
        trials = [replace(make, id=f"{id_}:{make.purpose}", decision=id_, unit=f"u{id_}") for id_ in ids]
        TrialLog(database).append(trials)
    database.close()
    return url


def test_commands_read_the_database(url: str) -> None:
    done = CliRunner().invoke(group, ["shadow", url])
    assert done.exit_code == 0, done.output
    assert "large: 20 of 20 answered" in done.output
    assert "the served answer would have done: 100.0% (83.9% to 100.0%), from 20 comparisons" in done.output
    done = CliRunner().invoke(group, ["judge", url])
    assert "jury compares answers with those of large: 20 of 20 graded" in done.output
    assert "agreement with people: not known, because people scored none of these answers" in done.output


@pytest.mark.parametrize(("flips", "told"), [(20, True), (10, True), (9, False)])
def test_a_judge_that_goes_by_the_order_is_told(tmp_path: Path, flips: int, told: bool) -> None:
    url = f"sqlite:///{tmp_path / 'log.db'}"
    database = open_database(url)
    SqlLog(database).write([record(n) for n in range(1, 21)])
    ids = [record(n).request_id for n in range(1, 21)]
    for number, id_ in enumerate(ids):
        made = compared(number, "tie", detail={"flipped": number < flips})
        TrialLog(database).append(
            [replace(one, id=f"{id_}:{one.purpose}", decision=id_) for one in (shadowed(0), made)]
        )
    database.close()
    for command in ("judge", "shadow"):
        done = CliRunner().invoke(group, [command, url])
        assert f"20 ties, {flips} by the order" in done.output
        assert ("the verdict mostly changed with the order" in done.output) == told


def test_json_has_all(url: str, tmp_path: Path) -> None:
    exported = tmp_path / "log.jsonl"
    assert CliRunner().invoke(group, ["export", str(exported)], env={"SEMROUTE_DATABASE_URL": url}).exit_code == 0
    for source in (url, str(exported)):
        found = json.loads(CliRunner().invoke(group, ["shadow", source, "--json"]).stdout)
        assert found["requests"] == 20
        [shadow] = found["shadows"]
        assert shadow["would_do"]["n"] == 20 and shadow["cost_usd"] == 0.04
        found = json.loads(CliRunner().invoke(group, ["judge", source, "--json"]).stdout)
        assert found["judges"][0]["quality"]["mean"] == 0.5


def test_details_that_another_version_wrote_are_passed_over() -> None:
    strange = {"same_text": "yes", "chars": "many", "model_changed": None}
    found = only_shadow(rows([shadowed(1, detail=strange)]))
    assert (found.answered, found.alike["same_text"].mean) == (1, 0.0)
    assert found.tried is not None and found.tried.chars == 0
    assert only_judge(rows([graded(1, None, detail={"failed": 7})])).failed == {"7": 1}
