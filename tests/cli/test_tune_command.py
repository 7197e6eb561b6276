from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from semroute import Router
from semroute.cli.tune import HEADER
from semroute.config.load import read
from tests.conftest import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "routes", tmp_path / "routes")
    return tmp_path / "routes"


def test_tuned_thresholds_stand_in_a_file_of_their_own(semroute: Run, folder: Path) -> None:
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    done = semroute("tune", "--routes", folder, "--max-false-abstain", "0.05")
    assert done.returncode == 0, done.stderr
    assert f"written: {folder}/tuned.yaml" in done.stdout
    assert "false abstention" in done.stdout
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.name != "tuned.yaml"} == before
    tuned = yaml.safe_load((folder / "tuned.yaml").read_text("utf-8"))["tuned"]
    router = Router.load(folder)
    assert set(tuned["thresholds"]) == set(router.config.routes)
    decision = router.route("why was I charged twice this month")
    assert (decision.threshold, decision.threshold_from) == (tuned["thresholds"]["customer-support"], "tuned")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("tuned.yaml", "# my own\ntuned: {thresholds: {coding: 0.5}}\n", "`semroute tune` did not write"),
        ("tuned.yaml", f"{HEADER}9 prompts\ntuned: {{}}\nnegatives: [hm]\n", "`semroute tune` did not write"),
        ("mine.yaml", "tuned: {thresholds: {coding: 0.5}}\n", "mine.yaml:1: got `tuned`, expected it in"),
    ],
)
def test_what_people_wrote_is_left_alone(semroute: Run, folder: Path, file: str, text: str, message: str) -> None:
    (folder / file).write_text(text)
    done = semroute("tune", "--routes", folder, "--max-false-abstain", "0.05")
    assert done.returncode == 1
    assert message in done.stderr.replace("\n", "")
    assert (folder / file).read_text() == text
    assert semroute("tune", "--routes", folder, "--dry-run").returncode == 0


def test_what_tune_wrote_is_written_anew(semroute: Run, folder: Path) -> None:
    (folder / "tuned.yaml").write_text(f"{HEADER}9 prompts\ntuned: {{thresholds: {{coding: 0.5}}}}\n")
    done = semroute("tune", "--routes", folder, "--max-false-abstain", "0.05")
    assert done.returncode == 0, done.stderr
    assert "from 236 prompts" in (folder / "tuned.yaml").read_text()


def test_a_dry_run_writes_nothing(semroute: Run, folder: Path) -> None:
    done = semroute("tune", folder / "eval.jsonl", "--routes", folder, "--dry-run", "--json")
    shown = json.loads(done.stdout)
    assert shown["written"] is None
    assert shown["tuning"]["n"] == 236
    assert len(shown["tuning"]["table"]) == 21
    assert not (folder / "tuned.yaml").exists()


def test_too_little_is_refused(semroute: Run, folder: Path) -> None:
    (folder / "eval.jsonl").write_text('{"text": "hi", "route": "small-talk"}\n')
    done = semroute("tune", "--routes", folder)
    assert done.returncode == 1
    assert "expected at least 43" in done.stderr


def test_thresholds_of_another_encoder_do_not_count(
    semroute: Run, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "tuned.yaml").write_text("tuned: {encoder: other, thresholds: {coding: 0.01}}\n")
    router = Router.load(folder)
    assert router.route("why does this loop never end").threshold_from != "tuned"
    (told,) = (record.getMessage() for record in caplog.records if "thresholds" in record.getMessage())
    assert told.startswith(f"{folder}/tuned.yaml:1: the tuned thresholds do not count: they were found with another")
    assert f"(other), and bundled ({router.embedder.fingerprint})" in told
    assert told.endswith("run `semroute tune` again, or delete the file")
    problems = json.loads(semroute("check", folder, "--json").stdout)["problems"]
    (stale,) = (problem for problem in problems if problem["code"] == "stale-thresholds")
    assert (stale["file"], stale["line"]) == (f"{folder}/tuned.yaml", 1)


def test_a_tuned_route_must_exist(folder: Path) -> None:
    (folder / "tuned.yaml").write_text("tuned:\n  thresholds:\n    codin: 0.5\n    coding: 2\n")
    config, problems = read(folder, {})
    assert config is None
    problem, wrong = (problem for problem in problems if problem.severity == "error")
    assert str(wrong) == f"{folder}/tuned.yaml:4 $.tuned.thresholds.coding: got 2, expected a number from 0 to 1"
    assert problem.line == 3
    assert 'got "codin", expected one of `routes`' in problem.message
    assert "did you mean `coding`?" in problem.message
