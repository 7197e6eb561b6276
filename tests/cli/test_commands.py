from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(semroute: Run, tmp_path: Path) -> Path:
    """What `semroute init` writes."""
    assert semroute("init", tmp_path / "mine").returncode == 0
    return tmp_path / "mine"


def test_demo_shows_decisions_and_answers(semroute: Run) -> None:
    done = semroute("demo", "--routes", ROOT / "routes")
    assert done.returncode == 0, done.stderr
    for word in ("customer-support", "(default)", "(rule)", "(pinned)", "[echo of", "nearest utterance", "USD", "less"):
        assert word in done.stdout


def test_demo_as_json(semroute: Run) -> None:
    shown = json.loads(semroute("demo", "--routes", ROOT / "routes", "--json").stdout)
    assert shown["ready_s"] > 0
    first = shown["prompts"][0]
    assert set(first) == {
        *("prompt", "route", "reason", "confidence", "nearest", "model", "answer", "cost_usd", "usage", "decision_ms")
    }
    assert first["answer"].startswith("[echo of ")


def test_demo_with_other_routes(semroute: Run, folder: Path) -> None:
    done = semroute("demo", "--routes", folder)
    assert done.returncode == 0, done.stderr
    assert "2 routes in service" in done.stdout


def test_the_ids_of_models_are_no_markup(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("""
providers: {p: {dialect: echo}}
models: {"m[/]": {provider: p, name: m, output_price: 1}}
baseline: "m[/]"
default: {models: ["m[/]"]}
routes: [{name: billing, models: ["m[/]"], utterances: [refund me please, where is my invoice]}]
""")
    (tmp_path / "prompts.jsonl").write_text('{"prompt": "refund me please", "output_tokens": 9}\n')
    shown = semroute("demo", "--routes", tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "m[/]" in shown.stdout
    saved = semroute("savings", tmp_path / "prompts.jsonl", "--routes", tmp_path)
    assert "m[/] 100.0%" in saved.stdout, saved.stderr


def test_route_says_where_and_why(semroute: Run, folder: Path) -> None:
    done = semroute("route", "--routes", folder, "I was charged twice")
    assert done.returncode == 0, done.stderr
    assert "billing -> small" in done.stdout
    assert "why was I charged twice this month" in done.stdout
    assert "plan: small, then large" in done.stdout
    assert "not callable here: small, large (OPENAI_API_KEY is not set)" in done.stdout


def test_a_long_prompt_is_explained_in_a_table_that_fits(semroute: Run, folder: Path) -> None:
    done = semroute("route", "--routes", folder, "--explain", "I was charged twice this month " * 150)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("charged") > 1
    assert len(done.stdout.splitlines()) < 60


def test_route_as_json_is_the_decision(semroute: Run, folder: Path) -> None:
    decision = json.loads(semroute("route", "--routes", folder, "--json", "I was charged twice").stdout)
    assert decision["route"] == "billing"
    assert decision["candidates"][0]["nearest"]["similarity"] > 0.5


def test_route_reads_standard_input(folder: Path) -> None:
    command = [sys.executable, "-m", "semroute", "route", "--routes", str(folder), "-"]
    done = subprocess.run(command, input="I was charged twice", capture_output=True, text=True, check=True)
    assert "billing" in done.stdout


def test_check_prints_all_problems_and_fails(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("routes:\n  - {name: a, models: [x], treshold: 2, utterances: [yes]}\nfoo: 1\n")
    done = semroute("check", tmp_path)
    assert done.returncode == 1
    assert "unknown key `treshold`, did you mean `threshold`?" in done.stdout
    assert "got true, expected a string" in done.stdout
    assert f"{tmp_path}/a.yaml:3 $.foo" in done.stdout
    as_json = json.loads(semroute("check", tmp_path, "--json").stdout)
    assert as_json["ok"] is False
    assert {problem["line"] for problem in as_json["problems"]} >= {2, 3}


def test_check_is_content_with_what_init_writes(semroute: Run, folder: Path) -> None:
    done = semroute("check", folder)
    assert done.returncode == 0
    assert "2 routes, 20 utterances, 2 models" in done.stdout
    assert "`OPENAI_API_KEY` is not set" in done.stdout
    assert semroute("check", folder, "--strict").returncode == 1
    assert semroute("check", folder, "--strict", OPENAI_API_KEY="sk-x").returncode == 0


def test_init_does_not_overwrite(semroute: Run, folder: Path) -> None:
    again = semroute("init", folder)
    assert again.returncode == 2
    assert "has models.yaml, routes.yaml, schema.json already; name another folder, or overwrite" in again.stderr
    assert semroute("init", folder, "--force").returncode == 0


def test_schema_is_json_schema(semroute: Run) -> None:
    schema = json.loads(semroute("schema").stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")


def test_eval_reports(semroute: Run, folder: Path, tmp_path: Path) -> None:
    rows = [
        {"text": "refund me the double charge on my card", "route": "billing"},
        {"text": "my python function raises a KeyError", "route": "coding"},
        {"text": "bananas are yellow", "route": None},
    ]
    file = tmp_path / "eval.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    report = json.loads(semroute("eval", file, "--routes", folder, "--json").stdout)
    assert set(report) == {
        *(
            "n",
            "n_out_of_scope",
            "folds",
            "accuracy",
            "in_scope_accuracy",
            "false_abstain",
            "oos_recall",
            "oos_auroc",
            "fpr_at_95_tpr",
            "ece",
            "latency_ms",
            "threshold_claim",
            "per_route",
            "confusions",
            "reliability",
            "risk_coverage",
        )
    }
    assert (report["n"], report["in_scope_accuracy"]) == (3, 1.0)
    assert set(report["latency_ms"]) == {"p50", "p90", "p95", "p99"}
    done = semroute("eval", file, "--routes", folder)
    assert done.returncode == 0
    assert "in-scope accuracy" in done.stdout


def test_eval_tells_the_line_at_fault(semroute: Run, folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "eval.jsonl"
    file.write_text('{"text": "x", "route": "billing"}\n{"text": "x", "route": "biling"}\n')
    done = semroute("eval", file, "--routes", folder)
    assert done.returncode == 1
    assert f"{file}:2: got route 'biling', which does not exist, did you mean `billing`?" in done.stderr


def test_wrong_usage_is_exit_code_2(semroute: Run) -> None:
    assert semroute("nonsense").returncode == 2
    assert semroute("serve", "--port", "70000").returncode == 2
    assert semroute("route").returncode == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "--min-accuracy", "nan"),
        ("eval", "--html", "/nowhere/x.html"),
        ("tune", "--max-false-abstain", "nan"),
        ("route", "hi", "--cost-quality", "nan"),
        ("report", "--html", "/nowhere/x.html"),
        ("export", "/nowhere/x.jsonl"),
        ("export", "x.csv"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(semroute: Run, arguments: tuple[str, ...]) -> None:
    done = semroute(*arguments, SEMROUTE_DATABASE_URL="memory:")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def shell(command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    line = f"set -o pipefail; {sys.executable} -m semroute {command}"
    return subprocess.run(
        ["bash", "-c", line], env={**os.environ, **environ}, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("check --no-embed {} > /dev/full", 2, "output: No space left on device\n"),
        ("check --no-embed --json {} > /dev/full", 2, "output: No space left on device\n"),
        ("route --routes {} - <&-", 2, "standard input is closed"),
        ("route --routes {} - < <(printf '\\xff')", 2, "standard input cannot be read: byte 0 is not UTF-8"),
        ("route --routes {} hi | head -1", 0, ""),
    ],
)
def test_streams_that_do_not_work_are_told_in_a_line(folder: Path, command: str, code: int, said: str) -> None:
    done = shell(command.format(folder), PYTHONUTF8="1", PYTHONIOENCODING="utf-8:strict")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception" not in done.stderr


def test_a_terminal_need_not_know_every_character(folder: Path) -> None:
    (folder / "more.yaml").write_text(
        "routes:\n- {name: café, models: [small], utterances: [où est le café]}\n", "utf-8"
    )
    done = shell(f"check --no-embed {folder}", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert 'got "caf?", expected letters' in done.stdout
    shell(f"check --no-embed --json {folder} > {folder}/out.json", PYTHONIOENCODING="ascii")
    assert "café" in (folder / "out.json").read_text("utf-8")


def test_help_lists_the_commands(semroute: Run) -> None:
    text = semroute("--help").stdout
    assert all(name in text for name in ("demo", "serve", "route", "check", "eval", "init", "schema"))
