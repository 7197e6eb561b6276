from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.cli.check import annotation
from semroute.errors import Problem
from tests.conftest import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]

KEYS = {
    f"{name}_API_KEY": "sk-x" for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GROQ", "MISTRAL", "DEEPSEEK", "OPENROUTER")
}
BAD = """
providers: {here: {dialect: echo}}
models: {small: {provider: here, name: small-1}}
default: {models: [small]}
routes:
  - name: used
    description: What someone has already taken of their leave.
    utterances:
      - how many vacation days have I used
      - how much leave is gone already
      - days off taken this year
      - show the holidays I had
      - did I take time off in March
      - will it be cold tonight
    models: [small]
  - name: left
    utterances:
      - how many vacation days have i used up
      - how much data remains on my plan
      - how many gigabytes can I still use
      - did I run out of mobile data
      - what is left of my data allowance
    models: [small]
    threshold: 1
  - name: weather
    utterances:
      - is it cold outside
      - will it rain tomorrow
      - how hot does it get in July
      - is a storm coming
      - what is the weather like outside today
    models: [small]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "all.yaml").write_text(BAD)
    rows = '\ufeff{"text": "Is a storm  coming", "route": "left"}\nnot json\n{"text": "new"}\n'
    (tmp_path / "eval.jsonl").write_text(rows, "utf-8")
    return tmp_path


def test_the_shipped_routes_are_quiet(semroute: Run) -> None:
    done = semroute("check", ROOT / "routes", "--strict", **KEYS)
    assert done.returncode == 0, done.stdout
    assert "12 routes, 500 utterances, 14 models; 0 errors, 0 warnings" in done.stdout
    assert "Everyday prompts that a route takes" in done.stdout
    assert re.search(r"small-talk +│ \d+ of 100 │ .+ \(near line \d+\)", done.stdout)


def test_what_only_the_meaning_shows_is_found(semroute: Run, folder: Path) -> None:
    done = semroute("check", folder, "--json")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert [border["route"] for border in shown["borders"]] == ["used", "left", "weather"]
    assert {"file", "line", "tried", "taken", "outsiders", "loneliest", "loneliest_line"} <= set(shown["borders"][0])
    problems = {problem["code"]: problem for problem in shown["problems"]}
    assert set(problems) == {"collision", "misplaced", "unreachable", "leakage"}
    assert problems["collision"]["line"] == 18
    assert f"{folder}/all.yaml:9" in problems["collision"]["message"]
    assert problems["misplaced"]["line"] == 14
    assert "looks more like `weather`" in problems["misplaced"]["message"]
    assert "its threshold is 1.00" in problems["unreachable"]["message"]
    assert (problems["leakage"]["file"], problems["leakage"]["line"]) == (f"{folder}/eval.jsonl", 1)
    assert 'the file expects "left"' in problems["leakage"]["message"]
    assert all(problem["severity"] == "warning" and problem["suggestion"] for problem in problems.values())


def test_an_error_hides_no_finding_of_meaning(semroute: Run, folder: Path) -> None:
    wrong = "      - Is a storm  coming\n    models: [smal]\n"
    (folder / "all.yaml").write_text(BAD.replace("    models: [small]\n", wrong, 1))
    done = semroute("check", folder, "--json")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert [border["route"] for border in shown["borders"]] == ["used", "left", "weather"]
    problems = {problem["code"]: problem for problem in shown["problems"]}
    assert set(problems) == {"config", "ambiguous", "collision", "misplaced", "unreachable", "leakage"}
    assert (problems["config"]["line"], problems["ambiguous"]["line"], problems["collision"]["line"]) == (16, 31, 19)
    assert f"which `used` has too, at {folder}/all.yaml:15" in problems["ambiguous"]["message"]
    last = semroute("check", folder).stdout.splitlines()[-1]
    assert last.startswith(f"{folder}: 2 errors, ")
    assert last.endswith(" warnings (the utterances were compared without the parts that have errors)")
    assert semroute("check", folder, "--no-embed").stdout.endswith("2 errors, 1 warning\n")


def test_one_route_with_one_model_is_not_told_in_the_plural(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text(
        "providers: {here: {dialect: echo}}\nmodels: {small: {provider: here, name: small-1}}\n"
        "default: {models: [small]}\nroutes: [{name: leave, utterances: [how much leave is left], models: [small]}]\n"
    )
    assert ": 1 route, 1 utterance, 1 model; 0 errors, " in semroute("check", tmp_path, "--no-embed").stdout


def test_a_row_that_is_a_negative_measures_memory_too(semroute: Run, folder: Path) -> None:
    (folder / "more.yaml").write_text("negatives: [new, old]\n")
    found = json.loads(semroute("check", folder, "--no-embed", "--json").stdout)["problems"]
    (leak,) = (problem for problem in found if problem["line"] == 3)
    assert leak["message"] == f'"new" is a negative at {folder}/more.yaml:1'


def test_a_threshold_for_all_that_a_route_cannot_reach_is_found(semroute: Run, folder: Path) -> None:
    (folder / "more.yaml").write_text("abstain: {threshold: 1}\n")
    found = json.loads(semroute("check", folder, "--json").stdout)["problems"]
    lost = [(problem["file"], problem["line"]) for problem in found if "its threshold is 1.00" in problem["message"]]
    assert lost.count((f"{folder}/more.yaml", 1)) == 2  # the third route has a threshold of its own


def test_a_policy_by_what_was_never_learned_is_told(semroute: Run, folder: Path) -> None:
    (folder / "more.yaml").write_text("policy:\n  difficulty: {by: learned, strong_share: 0.3}\n")
    found = json.loads(semroute("check", folder, "--no-embed", "--json").stdout)["problems"]
    (told,) = (problem for problem in found if problem["code"] == "unlearned")
    assert (told["file"], told["line"]) == (f"{folder}/more.yaml", 2)
    assert "semroute train" in told["suggestion"]
    (folder / "difficulty.npz").touch()
    assert "unlearned" not in semroute("check", folder, "--no-embed", "--json").stdout


def test_an_embedder_that_cannot_be_loaded_is_a_problem_at_its_line(semroute: Run, folder: Path) -> None:
    (folder / "more.yaml").write_text("embedder:\n  model: nope/nope\n")
    done = semroute("check", folder, "--json")
    assert done.returncode == 1
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    (told,) = (problem for problem in shown["problems"] if problem["severity"] == "error")
    assert (told["file"], told["line"], told["code"]) == (f"{folder}/more.yaml", 2, "embedder")
    annotated = semroute("check", folder, "--format", "github").stdout
    assert f"::error file={folder}/more.yaml,line=2,title=semroute embedder::" in annotated


def test_warnings_are_errors_when_strict(semroute: Run, folder: Path) -> None:
    assert semroute("check", folder, "--strict").returncode == 1


def test_the_structure_alone_is_checked_without_embedding(semroute: Run, folder: Path) -> None:
    found = json.loads(semroute("check", folder, "--no-embed", "--json").stdout)["problems"]
    assert [problem["code"] for problem in found] == ["leakage"]


def test_github_shows_the_findings_at_their_lines(semroute: Run, folder: Path) -> None:
    lines = semroute("check", folder, "--format", "github").stdout.splitlines()
    assert len(lines) == 4
    assert any(
        line.startswith(f"::warning file={folder}/all.yaml,line=18,title=semroute collision::$.") for line in lines
    )


def test_an_annotation_escapes_what_github_would_read() -> None:
    problem = Problem(file="a,b:c.yaml", line=0, path="$", message="100%\nsure", severity="info", code="x")
    assert annotation(problem) == "::notice file=a%2Cb%3Ac.yaml,line=1,title=semroute x::$: 100%25%0Asure"
