from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute import Router
from semroute.cli.evaluate import missed
from semroute.evaluation.measure import Outcome, measure
from tests.conftest import ROOT
from tests.test_router import MODELS, ROUTES

Run = Callable[..., subprocess.CompletedProcess[str]]
NEGATIVES = ("is the office open on sunday", "what is your name", "play some jazz", "who won the match", "goodbye")


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "some.jsonl"
    file.write_text("\n".join((ROOT / "routes/eval.jsonl").read_text("utf-8").splitlines()[::12]) + "\n")
    return file


def test_the_report_is_written_and_a_gate_fails(semroute: Run, rows: Path, tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    with rows.open("a", encoding="utf-8") as file:
        file.write('{"text": "Twice told", "route": "coding"}\n{"text": "twice  told", "route": null}\n')
    done = semroute("eval", rows, "--routes", ROOT / "routes", "--html", html, "--min-accuracy", "1", "--max-ece", "1")
    assert done.returncode == 1
    assert '"Twice told" has labels that contradict: coding, none' in done.stderr
    assert "accuracy: got" in done.stderr
    assert "expected at least 1" in done.stderr
    assert "ece" not in done.stderr
    assert "FPR at 95% TPR" in done.stdout
    assert "semroute: some.jsonl" in html.read_text("utf-8")
    assert "Calibrated thresholds: on average, at most 5.0% of the prompts of a route" in html.read_text("utf-8")


def test_colons_are_printed_as_they_are(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(f"{MODELS}\n{ROUTES}\n")
    file = tmp_path / "some.jsonl"
    row = '{"text": "put out the :fire: there", "route": null}\n'
    file.write_text(row.replace("null", '"cooking"'))
    assert "put out the :fire: there" in semroute("eval", file, "--routes", tmp_path).stdout
    file.write_text(row * 99 + "{}\n")
    assert semroute("eval", file, "--routes", tmp_path).stderr.startswith(f"{file}:100: ")


def test_without_a_file_the_utterances_are_cross_validated(semroute: Run) -> None:
    done = semroute("eval", "--routes", ROOT / "routes", "--json", "--min-in-scope-accuracy", "0.5")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["n"], report["folds"], report["n_out_of_scope"]) == (500, 5, 0)
    assert report["oos_auroc"] is None
    assert "split conformal on" in report["threshold_claim"]


def test_negatives_are_cross_validated_too(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "models.yaml").write_text(MODELS)
    negatives = "\n".join(f"  - {text}" for text in NEGATIVES)
    (tmp_path / "routes.yaml").write_text(f"{ROUTES}\nnegatives:\n{negatives}\n")
    done = semroute("eval", "--routes", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["n"], report["n_out_of_scope"]) == (6 + len(NEGATIVES), len(NEGATIVES))
    assert report["oos_auroc"] is not None


def test_the_promise_of_the_thresholds_is_printed(semroute: Run, rows: Path) -> None:
    done = semroute("eval", rows, "--routes", ROOT / "routes")
    assert "calibrated thresholds: on average, at most 5.0% of the prompts" in " ".join(done.stdout.split())
    done = semroute("route", "why was I charged twice", "--routes", ROOT / "routes", "--explain")
    assert "split conformal on" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("added", "claim"),
    [
        ("", "used for 1 of 2 routes; no share can be promised"),
        ("abstain: {threshold: 0.7}", ""),
        ("tuned: {thresholds: {weather: 0.5}}", ""),
    ],
)
def test_the_promise_is_made_where_calibrated_thresholds_are_used(tmp_path: Path, added: str, claim: str) -> None:
    (tmp_path / "all.yaml").write_text(f"{MODELS}{ROUTES}{added}\n")  # one of two routes has its own threshold
    said = Router.load(tmp_path).threshold_claim
    assert said.startswith(claim)
    assert bool(said) is bool(claim)


def test_a_gate_without_rows_is_not_passed() -> None:
    row = Outcome(text="x", expected="a", decided="a", best="a", confidence=1.0, latency_ms=1.0)
    evaluation = measure([row])
    assert missed(evaluation, {"min_accuracy": 1.0, "max_ece": 0.0, "min_oos_recall": None}) == []
    assert missed(evaluation, {"min_oos_auroc": 0.9}) == ["oos-auroc: no rows to measure it on, expected min 0.9"]
    assert missed(evaluation, {"max_ece": -1.0}) == ["ece: got 0.0000, expected at most -1"]
