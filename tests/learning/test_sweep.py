"""A sweep of a log: what each setting leads to, which rows and signals count, the overlay and the command."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from msgspec.structs import replace

from semroute import Router
from semroute.config.dials import turned
from semroute.config.load import load
from semroute.config.schema.service import LogSettings
from semroute.errors import RequestError
from semroute.learning import sweep_signals
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.sweep_log import chosen, read_table, sweep
from semroute.learning.sweep_page import page
from semroute.learning.sweep_report import Floor
from semroute.learning.sweep_rows import Sweeper, hashed
from semroute.learning.sweep_table import UNKNOWN, SweepTable
from tests.learning.logs import line, write, write_log

Run = Callable[..., subprocess.CompletedProcess[str]]
FOLDER = """
providers: {here: {dialect: echo}}
models:
  small: {provider: here, name: s, tier: simple, input_price: 1, output_price: 2, quality: 0.5}
  middle: {provider: here, name: m, tier: moderate, input_price: 3, output_price: 6, quality: 0.7}
  large: {provider: here, name: l, tier: complex, input_price: 10, output_price: 20, quality: 0.9}
default: {models: [large]}
policy: {difficulty: {by: complexity, moderate_from: 0.1, complex_from: 0.4}}
routes:
  - name: weather
    models: [small, middle, large]
    utterances: [will it rain tomorrow, how cold is it outside, is it sunny]
  - name: sport
    models: [small, middle, large]
    utterances: [who won the match, when does the game begin, how many goals were there]
    policy: {select: balanced, cost_quality: 0.5}
"""
PROMPTS = (
    "will it rain on sunday",
    "prove step by step why it is cold today, compare two models and design an equation for it",
    "is it cold, and why?",
    "who won yesterday",
    "when is the game, and will it rain on sunday?",
    "what is the capital of France",
    "how many goals were there without the penalty, exactly?",
)
CASCADE = FOLDER.replace(
    "policy: {difficulty: {by: complexity, moderate_from: 0.1, complex_from: 0.4}}",
    "policy: {cascade: {checks: {judge: {model: large, rubric: good, threshold: 0.7}}}}",
)


def folder(path: Path, text: str = FOLDER) -> Path:
    path.mkdir(exist_ok=True)
    (path / "all.yaml").write_text(text)
    return path


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(folder(tmp_path_factory.mktemp("routes")))


@pytest.fixture(scope="module")
def cascading(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(folder(tmp_path_factory.mktemp("cascade"), CASCADE), previous=router)


def call(model: str, **fields: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1000, "output_tokens": 1000}
    return {"model": model, "status": "ok", "usage": usage, "cost_usd": 0.001} | fields


def answered(number: int, prompt: str | None = PROMPTS[0], model: str = "small", **fields: Any) -> dict[str, Any]:
    """Return a row of a request that `model` answered."""
    decision = {"model": model, "plan": [model]} | fields.pop("decision", {})
    given: dict[str, Any] = {"outcome": "ok", "model": model, "attempts": [call(model)]}
    return line(number, prompt, route="weather", decision=decision, **given | fields)


def table_of(router: Router, path: Path, rows: Sequence[dict[str, Any]], *dials: str) -> SweepTable:
    return read_table(router, LoggedDecisions(write(path / "log.jsonl", rows)), dials).sorted()


def models(table: SweepTable, row: str) -> list[str]:
    """Return the model of a row at each setting, the present one first."""
    [found] = table.rows[table.rows["order"] == hashed(row)]
    return [table.plan.models[place] if place != UNKNOWN else "?" for place in found["model"]]


@pytest.mark.parametrize("dial", ["moderate_from", "complex_from", "cost_quality", "abstain_threshold"])
def test_each_setting_decides_as_the_router_would(router: Router, tmp_path: Path, dial: str) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    write_log(url, router, PROMPTS, LogSettings(content="full"))
    write_log(url, router, PROMPTS, LogSettings(features=True), first=20)
    log = LoggedDecisions(url)
    table = read_table(router, log, [dial])
    [block] = table.plan.blocks
    assert table.counts["exact"] == 14
    seen = set[str]()
    rows = {hashed(row.id): PROMPTS[(number % 7)] for number, row in enumerate(log)}
    configs = [router.config, *(turned(router.config, dial, value) for value in block.values)]
    for row in table.rows:
        prompt = rows[int(row["order"])]
        fresh = [Router(config, router.embedder, router.trained).route(prompt).model for config in configs]
        assert [table.plan.models[place] for place in row["model"]] == fresh
        seen |= set(map(str, fresh))
    assert len(seen) >= 2


def test_what_a_setting_costs(router: Router, tmp_path: Path) -> None:
    unsaid = answered(2, model="small", attempts=[], input_tokens=1000, output_tokens=1000)
    failed = answered(3, attempts=[call("middle", status="failed"), call("small"), call("large", purpose="judge")])
    rows = [answered(1), unsaid, failed]
    table = table_of(router, tmp_path, rows, "moderate_from")
    # 2,000 tokens cost .003 with the small model, .009 with the middle one and .03 with the large one. The logged model
    # costs what all its calls did, at the prices of now.
    at_zero = {int(row["order"]): (row["cost"][0], row["cost"][1]) for row in table.rows}
    assert at_zero[hashed("r1")] == pytest.approx((0.003, 0.009))
    assert at_zero[hashed("r2")] == pytest.approx((0.003, 0.009))
    assert at_zero[hashed("r3")] == pytest.approx((0.042, 0.009))


def test_rows_that_say_nothing_are_counted(router: Router, tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    rows = [
        answered(1),
        answered(2, outcome="failed"),
        answered(3, outcome="decided", attempts=[]),
        answered(4, prompt=None),
        answered(5, prompt=None, embedding=[0.1] * 8, encoder="another"),
        answered(6, model="gone", decision={"model": "gone"}),
        answered(7, decision={"reason": "pinned", "route": None, "plan": ["gone"], "model": "gone"}),
        {"id": "r8", "decision": {"id": "r8"}},
    ]
    write(path, rows)
    path.write_text(path.read_text() + "{torn\n")
    log = LoggedDecisions(path)
    report = sweep(router, log, Floor(value=0.97), dials=["moderate_from"])
    counts = dict(report.counts)
    assert (counts.pop("rows"), counts.pop("not answered"), report.torn) == (8, 3, 1)
    assert report.used_rows == 2, "an unknown model answered one of them: it is no evidence, but its request counts"
    left_out = {why: count for why, count in counts.items() if why.startswith("not decided")}
    assert left_out == {
        "not decided: neither text nor vector is kept": 1,
        "not decided: their vectors are of another encoder, and their text is not kept": 1,
        "not decided: they ask for a model or a route that does not exist now": 1,
    }
    assert report.torn_told[0].startswith(f"{path}:9: ")


def test_a_setting_that_moves_few_requests_is_kept_without_any_label(router: Router, tmp_path: Path) -> None:
    hard = [answered(n, PROMPTS[1], model="large") for n in range(4)]
    easy = [answered(n) for n in range(4, 104)]
    log = LoggedDecisions(write(tmp_path / "log.jsonl", [*hard, *easy]))
    [curve] = sweep(router, log, Floor(value=0.9), dials=["complex_from"]).curves
    assert curve.best is not None
    assert curve.told.endswith("even if every answer of another model were as bad as can be")
    [refused] = sweep(router, log, Floor(value=0.99), dials=["complex_from"]).curves
    assert refused.best is None and "the data cannot tell" in refused.told


def test_an_empty_log_says_so(router: Router, tmp_path: Path) -> None:
    report = sweep(router, LoggedDecisions(write(tmp_path / "log.jsonl", [])), Floor(value=0.97))
    assert (report.used_rows, report.curves, report.units) == (0, (), 0)
    assert "0 logged requests" in page(report)


# --- signals ----------------------------------------------------------------------------------------------------------


def trial(**fields: Any) -> dict[str, Any]:
    given = {"id": "t", "decision": "r", "at": 1.0, "purpose": "shadow", "served": "small", "propensity": 0.25}
    return given | fields


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"feedback": {"score": 0.8}}, {"person": 0.8}),
        ({"feedback": {"label": "weather"}}, {"person": 1.0}),
        ({"feedback": {"label": "sport"}}, {"person": 0.0}),
        ({"feedback": {"score": 0.3, "label": "weather"}}, {"person": 0.3}),
        ({"feedback": {"score": 7}}, {"counts": {sweep_signals.OUT_OF_RANGE: 1}}),
        (
            {"trials": [trial(method="rubric", judge="large", served_score=0.6, purpose="judge")]},
            {"judge": 0.6, "judge_propensity": 0.25},
        ),
        (
            {"trials": [trial(method="pairwise", model="large", score=1.0, served_score=0.0)]},
            {"pair": ("large", 1.0, 0.25, False)},
        ),
        ({"trials": [trial(method="agreement", model="large", score=0.25)]}, {"pair": ("large", -0.75, 0.25, False)}),
        (
            {"trials": [trial(method="rubric", model="large", score=0.9, served_score=0.5)]},
            {"pair": ("large", 0.4, 0.25, False), "judge": 0.5},
        ),
        ({"trials": [trial(model="large")]}, {}),
        ({"trials": [trial(error="timeout", score=1.0)]}, {"counts": {sweep_signals.FAILED: 1}}),
        (
            {"trials": [trial(method="pairwise", model="large", score=1.0, served_score=0.0, propensity=0.0)]},
            {"counts": {sweep_signals.OUT_OF_RANGE: 1}},
        ),
        (
            {"attempts": [call("small", escalated="it is empty"), call("large")], "model": "large"},
            {"pair": ("small", -1.0, 1.0, True)},
        ),
        (
            {
                "attempts": [
                    call("small", escalated="judge x gives 0.25, expected at least 0.7", grades={"judge": 0.25}),
                    call("large", grades={"judge": 0.75}),
                ],
                "model": "large",
            },
            {"pair": ("small", -0.5, 1.0, False)},
        ),
        ({"attempts": [call("small", escalated="it is empty", served_anyway=True), call("large")]}, {}),
        ({"decision": {"propensity": 0.2, "explored": True}}, {"propensity": 0.2}),
        ({"decision": {"propensity": 0.0}}, {"counts": {sweep_signals.OUT_OF_RANGE: 1}}),
    ],
)
def test_what_counts_as_a_signal(tmp_path: Path, fields: dict[str, Any], expected: dict[str, Any]) -> None:
    [row] = LoggedDecisions(write(tmp_path / "log.jsonl", [answered(1, **fields)]))
    found = sweep_signals.signals_of(row)
    got = {"person": found.person, "judge": found.judge, "judge_propensity": found.judge_propensity}
    for name, value in got.items():
        if name in expected:
            assert value == pytest.approx(expected[name])
        elif not (name == "judge_propensity" and "judge" in expected):
            assert math.isnan(value), name
    pairs = [expected["pair"]] if "pair" in expected else []
    assert [(pair.model, round(pair.difference, 6), pair.propensity, pair.weak) for pair in found.pairs] == pairs
    assert found.propensity == expected.get("propensity")
    assert found.any == bool({"person", "judge", "pair"} & expected.keys())
    for name, count in expected.get("counts", {}).items():
        assert found.counts[name] == count


def test_a_unit_is_a_user_else_a_key_else_the_request(router: Router, tmp_path: Path) -> None:
    rows = [
        answered(1, unit="u1", key_id="k"),
        answered(2, unit="u1"),
        answered(3, key_id="k"),
        answered(4, key_id="k"),
        answered(5),
        answered(6),
    ]
    table = table_of(router, tmp_path, rows, "moderate_from")
    assert sorted(table.rows["unit"].tolist()) == sorted(map(hashed, ["u1", "u1", "k", "k", "r5", "r6"]))
    assert table.counts["without unit"] == 2


# --- cascades ---------------------------------------------------------------------------------------------------------


def test_a_threshold_of_a_judge_moves_what_the_grades_tell(cascading: Router, tmp_path: Path) -> None:
    told = "judge large gives 0.4, expected at least 0.7 (vague)"
    plan: dict[str, Any] = {"decision": {"plan": ["small", "middle", "large"]}}
    failed: dict[str, Any] = {"model": "middle", "decision": {"model": "small"}}
    rows = [
        answered(1, **plan, attempts=[call("small", grades={"judge": 0.8}), call("large", purpose="judge")]),
        answered(2, **failed, attempts=[call("small", escalated=told), call("large", purpose="judge"), call("middle")]),
        answered(3, **plan),
        answered(4, **failed, attempts=[call("small", escalated="it is empty"), call("middle")]),
    ]
    table = table_of(cascading, tmp_path, rows, "judge_threshold")
    [block] = table.plan.blocks
    at = {value: place for place, value in enumerate(block.values, start=1)}
    accepted, escalated, ungraded, empty = (models(table, f"r{number}") for number in (1, 2, 3, 4))
    assert (accepted[0], accepted[at[0.8]], accepted[at[0.85]]) == ("small", "small", "middle")
    assert (escalated[0], escalated[at[0.4]], escalated[at[0.45]]) == ("middle", "small", "middle")
    assert (ungraded[0], ungraded[at[0.7]], ungraded[at[0.75]], ungraded[at[0.0]]) == ("small", "small", "?", "?")
    assert set(empty) == {"middle"}
    costs = {int(row["order"]): row["cost"] for row in table.rows}
    # the judge's call costs as much as the large model: .03
    first, second = costs[hashed("r1")], costs[hashed("r2")]
    assert (first[0], first[at[0.85]]) == pytest.approx((0.033, 0.042))
    assert (second[0], second[at[0.4]]) == pytest.approx((0.042, 0.033))


def test_a_lower_threshold_does_not_skip_the_check_behind_it(router: Router, tmp_path: Path) -> None:
    checks = "min_certainty: 0.7, judge: {model: large, rubric: good}"
    text = CASCADE.replace("judge: {model: large, rubric: good, threshold: 0.7}", checks)
    both = Router.load(folder(tmp_path / "routes", text), previous=router)
    told = "rates its own certainty 0.4, expected at least 0.7"
    row = answered(
        1, model="middle", decision={"model": "small"}, attempts=[call("small", escalated=told), call("middle")]
    )
    found = models(table_of(both, tmp_path, [row], "min_certainty"), "r1")
    assert set(found[1 : found.index("middle", 1)]) == {"?"}, "the judge was not asked then, so nobody knows"


# --- the command ------------------------------------------------------------------------------------------------------


def compared(count: int = 120) -> list[dict[str, Any]]:
    """Return rows of the large model where the small one is as good, by 40 users."""
    same = trial(method="pairwise", served="middle", model="small", score=0.5, served_score=0.5)
    return [
        answered(
            n, PROMPTS[2], "middle", unit=f"u{n % 40}", trials=[same | {"id": f"t{n}"}], feedback={"score": n % 10 / 9}
        )
        for n in range(1, count + 1)
    ]


def test_the_command_shows_and_writes(semroute: Run, tmp_path: Path) -> None:
    routes = folder(tmp_path / "routes")
    log = write(tmp_path / "log.jsonl", compared())
    html = tmp_path / "sweep.html"
    shown = semroute("sweep", log, "--routes", routes, "--dial", "moderate_from", "--html", html, "--floor", "0.9")
    assert shown.returncode == 0, shown.stderr
    assert "120 scores of people, 120 answers of two models compared" in shown.stdout
    assert "saves 66.7% and keeps 100.0%" in shown.stdout
    assert not (routes / "swept.yaml").exists()
    markup = html.read_text("utf-8")
    assert "Quality that is kept against cost" in markup and "matched pairs" in markup
    written = semroute(
        "sweep", log, "--routes", routes, "--dial", "moderate_from", "--floor", "0.9", "--write", "--json"
    )
    assert written.returncode == 0, written.stderr
    told = json.loads(written.stdout)
    assert told["written"] == str(routes / "swept.yaml")
    [curve] = told["sweep"]["curves"]
    overlay = yaml.safe_load((routes / "swept.yaml").read_text("utf-8"))
    assert overlay == {"swept": {"moderate_from": curve["best"]}}
    difficulty = load(routes, {}).policy.difficulty
    assert difficulty is not None and difficulty.moderate_from == min(curve["best"], 0.4)
    assert Router.load(routes).route(PROMPTS[2]).model == "small"


def test_an_overlay_keeps_the_dials_that_were_swept_before(router: Router, tmp_path: Path) -> None:
    from semroute.cli.sweep import overlay

    report = sweep(
        router,
        LoggedDecisions(write(tmp_path / "log.jsonl", compared())),
        Floor(value=0.9),
        dials=["moderate_from", "abstain_threshold"],
    )
    config = replace(router.config, swept=replace(router.config.swept, cost_quality=0.2))
    moderate, abstain = report.curves
    text = overlay(config, replace(moderate, best=0.3), report, "abc")
    assert yaml.safe_load(text) == {"swept": {"cost_quality": 0.2, "moderate_from": 0.3}}
    text = overlay(config, replace(abstain, best=0.25), report, "abc")
    assert yaml.safe_load(text) == {"swept": {"encoder": "abc", "abstain_threshold": 0.25, "cost_quality": 0.2}}


def test_wrong_usage_is_told(semroute: Run, router: Router, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"dial 'moderat_from': .* expected one of: moderate_from, .*did you mean"):
        chosen(router.config, ["moderat_from"])
    routes = folder(tmp_path / "routes")
    (routes / "swept.yaml").write_text("swept: {moderate_from: 0.2}\n")
    done = semroute(
        "sweep", write(tmp_path / "log.jsonl", []), "--routes", routes, "--dial", "moderate_from", "--write"
    )
    assert done.returncode == 1
    assert "`semroute sweep` did not write" in done.stderr.replace("\n", " ")


def test_parts_of_a_log_can_be_read_apart(router: Router, tmp_path: Path) -> None:
    log = list(LoggedDecisions(write(tmp_path / "log.jsonl", compared(20))))
    whole, first, second = (Sweeper(router, ["moderate_from"]) for _ in range(3))
    whole.add(log)
    first.add(log[12:])
    second.add(log[:12])
    merged = second.table()
    merged.merge([first.table()])
    assert merged.sorted().rows.tobytes() == whole.table().sorted().rows.tobytes()
    assert merged.counts == whole.table().counts


def test_a_swept_abstention_threshold_counts_only_with_its_encoder(
    router: Router, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    routes = folder(tmp_path / "routes")
    overlay = routes / "swept.yaml"
    overlay.write_text(f"swept: {{encoder: {router.embedder.fingerprint}, abstain_threshold: 1}}\n")
    assert Router.load(routes, previous=router).route(PROMPTS[0]).reason == "default"
    overlay.write_text("swept: {encoder: other, abstain_threshold: 1, moderate_from: 0.2}\n")
    other = Router.load(routes, previous=router)
    assert other.route(PROMPTS[0]).reason == "semantic"
    assert other.config.swept.moderate_from == 0.2, "the other dials do not depend on the encoder"
    [told] = [record.getMessage() for record in caplog.records if "swept" in record.getMessage()]
    assert told.startswith(f"{overlay}:1: the swept abstention threshold does not count: it was found with another")
    assert told.endswith("run `semroute sweep` again, or delete the file")
