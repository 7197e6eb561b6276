"""`semroute experiment`: what is known, and what stopping writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.cli import experiment
from semroute.config.load import load
from semroute.config.overlays import arm_config
from semroute.errors import RequestError
from semroute.learning.experiment_figures import NAMES
from semroute.record import Record
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.experiment_store import ExperimentStore
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import record

ROUTES = """
providers: {local: {dialect: echo}}
models: {large: {provider: local, name: large, quality: 0.9}, small: {provider: local, name: small, quality: 0.5}}
policy: {select: best, deadline_s: 30}
default: {models: [large]}
routes:
  - {name: billing, models: [large, small], utterances: [a, b, c, d, e]}
  - {name: shipping, models: [large], utterances: [f, g, h, i, j]}
experiments:
  trial:
    arms:
      control: {}
      cheap: {policy: {select: cheapest, hedge_after_ms: null}, models: {billing: [small]}, thresholds: {billing: 0.25}}
      all: {models: [small]}
      candidate: {folder: candidate}
    least_days: 2
    least_samples: 100
"""
DAY_S = 86_400


@pytest.fixture
def routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "routes"
    (folder / "candidate").mkdir(parents=True)
    (folder / "routes.yaml").write_text(ROUTES)
    (folder / "candidate" / "routes.yaml").write_text(ROUTES.partition("experiments")[0])
    monkeypatch.setenv("SEMROUTE_DATABASE_URL", f"sqlite:///{tmp_path}/semroute.db")
    return folder


def started(tmp_path: Path, weights: dict[str, float], since: float) -> SqlLog:
    """A database in which an experiment started at a moment."""
    database = open_database(f"sqlite:///{tmp_path}/semroute.db")
    ExperimentStore(database, lambda: since).follow({"trial": weights})
    return SqlLog(database)


def request(user: int, day: int, arm: str, **fields: Any) -> Record:
    made = record(1 + day * DAY_S + user * 7, experiment="trial", arm=arm, **fields)
    return replace(made, unit=f"u{user * 0x9E3779B97F4A7C15 % 2**64:016x}")


def shown(routes: Path, capsys: pytest.CaptureFixture[str], name: str | None = "trial") -> tuple[int, Any]:
    with pytest.raises(SystemExit) as left:
        experiment.status(name, routes, as_json=True)
    return int(str(left.value.code)), json.loads(capsys.readouterr().out)["experiments"]


def fill(log: SqlLog, users: int, arms: Callable[[int], str]) -> None:
    rows = []
    for day in range(3):
        for user in range(users):
            arm = arms(user)
            cost = (user // 2 % 3 + 1) * Decimal("0.00001" if arm == "cheap" else "0.000024")
            outcome = "failed" if user // 2 % 20 == 0 else "ok"
            rows.append(request(user, day, arm, outcome=outcome, latency_ms=100.0 + user // 2 % 50, cost_usd=cost))
    log.write(rows)


def test_the_status_says_what_is_known_and_what_is_not(
    routes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    fill(log, 400, lambda user: "cheap" if user % 2 else "control")
    code, [report] = shown(routes, capsys)
    arms = {arm["name"]: arm for arm in report["arms"]}
    assert (code, report["state"], report["control"], report["conclusive"]) == (0, "running", "control", False)
    assert list(arms) == ["control", "cheap", "all", "candidate"]
    cheap = arms["cheap"]
    assert (cheap["requests"], cheap["units"], arms["all"]["requests"]) == (600, 200, 0)
    assert list(cheap["metrics"]) == list(NAMES)
    cost = cheap["metrics"]["cost_usd"]
    assert cost["estimate"]["value"] == pytest.approx(0.00002, rel=0.01)
    assert cost["difference"]["low"] < cost["difference"]["value"] < cost["difference"]["high"] < 0
    assert cost["difference"]["value"] == pytest.approx(10 / 24 - 1)
    assert [day["day"] for day in cost["by_day"]] == ["2026-05-28", "2026-05-29", "2026-05-30"]
    assert cost["by_day"][-1]["difference"] == cost["difference"]
    errors = cheap["metrics"]["error_rate"]["difference"]
    assert errors["low"] < 0 < errors["high"]
    assert cheap["metrics"]["quality"]["difference"] == {"value": None, "low": None, "high": None}
    assert cheap["metrics"]["p95_ms"]["estimate"]["low"] <= 150 <= cheap["metrics"]["p95_ms"]["estimate"]["high"]
    assert arms["control"]["metrics"]["cost_usd"]["difference"] is None
    assert report["summary"][0].startswith("Nothing is concluded yet: it has run for")


def test_a_difference_is_called_when_it_has_run_for_long_enough(
    routes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ROUTES.replace("      all: {models: [small]}\n      candidate: {folder: candidate}\n", "")
    (routes / "routes.yaml").write_text(text)
    fill(started(tmp_path, {"control": 1, "cheap": 1}, NOW), 400, lambda user: "cheap" if user % 2 else "control")
    code, [report] = shown(routes, capsys)
    cost = report["arms"][1]["metrics"]["cost_usd"]
    assert (code, report["conclusive"], cost["differs"], cost["better"]) == (0, True, True, True)
    assert "cheap is better than control in cost: -58.3%" in report["summary"][1]
    assert "No difference between cheap and control is known in: latency" in report["summary"][2]
    with pytest.raises(SystemExit):
        experiment.status(None, routes, as_json=False)
    told = capsys.readouterr().out
    assert "-58.3%" in told
    assert "better" in told


def test_wrong_shares_shout(routes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    fill(log, 600, lambda user: "cheap" if user % 3 == 0 else "control")
    code, [report] = shown(routes, capsys)
    assert (code, report["sample_ratio"]["ok"]) == (1, False)
    assert report["summary"][0].startswith("DO NOT TRUST THIS EXPERIMENT")
    assert "cheap has 200 users instead of about 300" in report["summary"][0]


def test_an_experiment_that_no_service_has_seen_has_not_started(
    routes: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, [report] = shown(routes, capsys)
    assert (code, report["state"], report["started_at"]) == (0, "waiting", None)
    assert report["summary"] == ["It has not started: no service has seen it yet, or its first day has not come"]


def test_an_unknown_name_is_told(routes: Path) -> None:
    with pytest.raises(RequestError, match="got the experiment 'trail', expected one of `trial`, did you mean `trial`"):
        experiment.status("trail", routes, as_json=True)


@pytest.mark.parametrize("arm", ["cheap", "all", "control"])
def test_stop_writes_the_overlay_of_the_adopted_arm(routes: Path, tmp_path: Path, arm: str) -> None:
    started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    before = load(routes, environ={})
    experiment.stop("trial", arm, routes, as_json=False)
    after = load(routes, environ={})
    wanted = arm_config(before, "trial", arm)
    for part in ("policy", "default", "routes", "tuned"):
        assert getattr(after, part) == getattr(wanted, part)
    assert (after.adopted.experiment, after.adopted.arm) == ("trial", arm)  # type: ignore[union-attr]  # just written
    run = ExperimentStore(open_database(f"sqlite:///{tmp_path}/semroute.db")).follow({}).runs["trial"]
    assert (run.adopted, run.ended_at is not None) == (arm, True)


def test_stop_tells_machines_what_it_did(routes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    experiment.stop("trial", "cheap", routes, as_json=True)
    written = str(routes / "adopted.yaml")
    told = {"experiment": "trial", "ended": True, "adopted": "cheap", "written": written}
    assert json.loads(capsys.readouterr().out) == told


def test_a_second_adoption_keeps_the_first(routes: Path, tmp_path: Path) -> None:
    started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    experiment.stop("trial", "cheap", routes, as_json=False)
    more = "experiments: {second: {arms: {control: {}, fast: {policy: {deadline_s: 5}, models: {shipping: [small]}}}}}"
    (routes / "second.yaml").write_text(more)
    experiment.stop("second", "fast", routes, as_json=False)
    config = load(routes, environ={})
    assert (config.policy.select, config.policy.deadline_s, config.policy.hedge_after_ms) == ("cheapest", 5, None)
    assert [route.models for route in config.routes.values()] == [("small",), ("small",)]
    assert config.routes["billing"].threshold == 0.25


@pytest.mark.parametrize(
    ("name", "arm", "told"),
    [
        ("trial", "cheep", "got the arm 'cheep', expected one of `all`, `candidate`, `cheap`, `control`, did you mean"),
        ("trial", "candidate", "the arm candidate is the folder candidate, which is no overlay"),
        ("other", None, "got the experiment 'other', expected one of `trial`"),
    ],
)
def test_what_cannot_be_stopped_or_adopted_changes_nothing(
    routes: Path, tmp_path: Path, name: str, arm: str | None, told: str
) -> None:
    started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    with pytest.raises(RequestError, match=told):
        experiment.stop(name, arm, routes, as_json=False)
    assert not (routes / "adopted.yaml").exists()
    runs = ExperimentStore(open_database(f"sqlite:///{tmp_path}/semroute.db")).follow({}).runs
    assert runs["trial"].ended_at is None


def test_files_of_people_are_not_overwritten(routes: Path, tmp_path: Path) -> None:
    started(tmp_path, {"control": 1, "cheap": 1}, NOW)
    (routes / "adopted.yaml").write_text("negatives: [hello]\n")
    with pytest.raises(RequestError, match=r"adopted\.yaml: has content that `semroute experiment stop` did not write"):
        experiment.stop("trial", "cheap", routes, as_json=False)


def test_without_the_database_of_the_service_nothing_is_stopped(routes: Path) -> None:
    with pytest.raises(RequestError, match="there is no such database, expected that of the service"):
        experiment.stop("trial", None, routes, as_json=False)
