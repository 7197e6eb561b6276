from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from semroute import Router
from semroute.errors import RequestError
from semroute.evaluation.measure import Outcome
from semroute.evaluation.thresholds import point, rows_needed, tune
from semroute.learning.labels import read_labelled

NUMBERS = itertools.count()


def outcome(expected: str | None, best: str | None, confidence: float, decided: str | None = None) -> Outcome:
    text = f"prompt {next(NUMBERS)}"
    return Outcome(text=text, expected=expected, decided=decided, best=best, confidence=confidence, latency_ms=0)


def prompts(route: str, low: float, high: float, out_of_scope: float, n: int = 50) -> list[Outcome]:
    """In-scope confidences from `low` to `high`, and as many out of scope, all at `out_of_scope`."""
    inside = [outcome(route, route, low + (high - low) * i / n) for i in range(n)]
    return inside + [outcome(None, route, out_of_scope) for _ in range(n)]


def test_how_much_is_enough_follows_from_the_width() -> None:
    assert [rows_needed(width) for width in (0.15, 0.1, 0.05)] == [43, 97, 385]


@pytest.mark.parametrize(("inside", "outside", "kind"), [(42, 50, "a route should"), (50, 42, "no route should")])
def test_too_little_is_refused_with_what_is_enough(inside: int, outside: int, kind: str) -> None:
    rows = [outcome("a", "a", 0.9) for _ in range(inside)] + [outcome(None, "a", 0.1) for _ in range(outside)]
    expected = f"got 42 different prompts that {kind} take, expected at least 43, .* to within 15 points"
    with pytest.raises(RequestError, match=expected):
        tune(rows, ["a"])
    copies = [replace(row, text=f" {row.text.upper()}") for row in rows]
    with pytest.raises(RequestError, match=expected):
        tune(rows + copies, ["a"])


def test_a_copy_changes_nothing() -> None:
    rows = prompts("a", 0.3, 0.9, 0.4)
    assert tune(rows + rows, ["a"]) == tune(rows, ["a"])


def test_nothing_out_of_scope_is_refused() -> None:
    with pytest.raises(RequestError, match="0 different prompts that no route should take"):
        tune([outcome("a", "a", 0.9) for _ in range(100)], ["a"])


def test_the_threshold_lies_in_the_middle_of_the_gap() -> None:
    tuning = tune(prompts("a", 0.6, 0.9, out_of_scope=0.2), ["a"])
    assert tuning.thresholds == {"a": pytest.approx(0.4)}
    assert (tuning.accuracy, tuning.accuracy_held_out, tuning.accuracy_before) == (1.0, 1.0, 0.5)


def test_a_route_with_enough_prompts_has_its_own() -> None:
    rows = prompts("a", 0.6, 0.9, 0.2) + prompts("b", 0.95, 0.99, 0.8) + [outcome("c", "c", 0.5)]
    tuning = tune(rows, ["a", "b", "c"])
    assert tuning.own == ("a", "b")
    assert tuning.thresholds["a"] == pytest.approx(0.4)
    assert tuning.thresholds["b"] == pytest.approx(0.875)
    assert tuning.thresholds["c"] == tuning.threshold


def test_a_bound_on_false_abstention_takes_the_highest_that_keeps_it() -> None:
    tuning = tune(prompts("a", 0.5, 1.0, 0.2), ["a"], max_false_abstain=0.1)
    abstained = sum(row.confidence < tuning.threshold for row in prompts("a", 0.5, 1.0, 0.2)[:50])
    assert abstained == 5


def test_a_bound_on_false_abstention_is_kept_by_routes_with_a_threshold_of_their_own_and_without() -> None:
    strange = [outcome(None, "b", 0.3) for _ in range(50)]
    rows = prompts("a", 0.9, 1.0, 0.2) + [outcome("c", "c", 0.3 + i / 100) for i in range(20)] + strange
    tuning = tune(rows, ["a", "b", "c"], max_false_abstain=0.1)
    assert tuning.own == ("a",)  # of `b` nothing is known but what is not its own
    assert tuning.thresholds == {"a": pytest.approx(0.91), "b": tuning.threshold, "c": tuning.threshold}
    assert sum(row.confidence < tuning.threshold for row in rows if row.expected == "c") == 2


def test_a_point_counts_what_a_threshold_does() -> None:
    rows = [
        outcome("a", "a", 0.9),
        outcome("a", "b", 0.6),
        outcome("b", "b", 0.3),
        outcome(None, "a", 0.7),
        outcome(None, None, 0.0),
    ]
    found = point(rows, 0.5)
    assert found.accuracy == pytest.approx(2 / 5)
    assert found.coverage == pytest.approx(3 / 5)
    assert found.wrong == pytest.approx(2 / 3)
    assert found.false_abstain == pytest.approx(1 / 3)
    assert found.oos_recall == 0.5


def test_what_rules_decided_stays() -> None:
    rows = [*prompts("a", 0.6, 0.9, 0.2), outcome("a", None, 0.0, decided="a")]
    assert tune(rows, ["a"]).accuracy == 1.0
    by_rules = [outcome("a", None, 0.0, decided="a") for _ in range(50)]
    tuning = tune(rows + by_rules, ["a"], max_false_abstain=0.1)
    assert tuning.threshold == tune(prompts("a", 0.6, 0.9, 0.2), ["a"], max_false_abstain=0.1).threshold
    assert (tuning.table[-1].false_abstain, tuning.table[-1].wrong) == (50 / 101, 0.0)


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "all.yaml").write_text(
        "providers: {here: {dialect: echo}}\nmodels: {m: {provider: here, name: m}}\ndefault: {models: [m]}\n"
        "routes:\n  - {name: weather, models: [m], utterances: [will it rain tomorrow, how cold is it outside]}\n"
        "rules:\n  - {name: urgent, when: {keywords: [urgent]}, models: [m]}\n"
    )
    return Router.load(folder)


def read(router: Router, folder: Path, *lines: object) -> list[Outcome]:
    file = folder / "labelled.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)) + "\n")
    return read_labelled(file, router).outcomes


def test_texts_are_decided_and_logged_decisions_are_taken_as_they_were(router: Router, tmp_path: Path) -> None:
    logged = {
        "id": "1",
        "route": "weather",
        "reason": "semantic",
        "explanation": "",
        "candidates": [{"route": "weather", "confidence": 0.77}],
        "config_version": router.config.version,
    }
    rows = read(
        router,
        tmp_path,
        {"text": "will it rain tomorrow", "route": "weather"},
        {"text": "wird es morgen regnen oder nicht", "expected": None},
        {"decision": logged, "expected": None},
        {**logged, "expected": "weather"},
    )
    assert [(row.expected, row.best) for row in rows] == [
        ("weather", "weather"),
        (None, None),  # no threshold has a say in another language
        (None, "weather"),
        ("weather", "weather"),
    ]
    assert [row.confidence for row in rows[2:]] == [0.77, 0.77]


def test_a_log_says_what_the_same_prompts_say_as_text(router: Router, tmp_path: Path) -> None:
    texts = ("will it rain tomorrow", "who won the match", "wird es morgen regnen oder nicht", "URGENT: is it cold")
    decisions = [msgspec.to_builtins(router.route(text)) for text in texts]
    as_text = read(router, tmp_path, *({"text": text, "expected": None} for text in texts))
    logged = read(router, tmp_path, *({**decision, "expected": None} for decision in decisions))
    assert [row.best for row in as_text] == ["weather", "weather", None, None]
    assert [(row.best, row.confidence, row.decided) for row in logged] == [
        (row.best, row.confidence, row.decided) for row in as_text
    ]


@pytest.mark.parametrize("reason", ["sticky", "classifier", "pinned", "rule"])
def test_what_something_else_decided_no_threshold_changes(router: Router, tmp_path: Path, reason: str) -> None:
    decision = msgspec.to_builtins(router.route("will it rain tomorrow")) | {"reason": reason}
    (row,) = read(router, tmp_path, {"decision": decision, "expected": "weather"})
    assert (row.decided, row.best) == ("weather", None)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"text": "x", "route": "wether"}, "got route 'wether', which does not exist, did you mean `weather`?"),
        ({"text": "x"}, "got no right route"),
        ({"expected": None}, "got neither `text` nor `decision`"),
        (
            {
                **{"id": "1", "route": None, "reason": "default", "explanation": "", "candidates": []},
                **{"config_version": "old", "expected": None},
            },
            "by version 'old' of the route files",
        ),
        ([1], "$: got a list, expected a mapping"),
    ],
)
def test_a_bad_line_is_told(router: Router, tmp_path: Path, line: object, message: str) -> None:
    with pytest.raises(RequestError, match=r"labelled\.jsonl:1: ") as caught:
        read(router, tmp_path, line)
    assert message in str(caught.value)
