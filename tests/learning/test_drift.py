"""`semroute drift`: what moved in a log, and what did not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from semroute.cli.commands import group as cli
from semroute.learning.compare_windows import VECTORS
from tests.learning.logs import line, write

DAY_S = 86_400
DIM = 16
START = 1_779_840_000.0  # 2026-05-27 00:00 UTC
MOVED_AT = 32
"""The day on which the second half of the window begins, of 28 days of reference and 8 of window."""


def unit(vector: Any) -> list[float]:
    return [round(float(x), 5) for x in vector / np.linalg.norm(vector)]


def rows(count: int = 1200, *, drift: bool = False, **fixed: Any) -> Iterator[dict[str, Any]]:
    """36 days. With `drift`, a third of the requests has a new topic from day 32 on."""
    random = np.random.default_rng(3)
    topics = random.normal(size=(3, DIM)) * 2
    for number in range(count):
        day = 36 * number / count
        new = drift and day >= MOVED_AT and random.random() < 0.33
        topic = 2 if new else int(random.integers(2))
        score = float(random.random() < 0.8) if day < MOVED_AT or not drift else float(random.random() < 0.2)
        fields: dict[str, Any] = {
            "at": START + day * DAY_S,
            "route": None if new else ("billing", "shipping")[topic],
            "embedding": unit(topics[topic] + random.normal(size=DIM)),
            "cost_usd": float(random.lognormal()) / 1000,
            "tier": "simple",
            "attempts": [{"model": "small"}],
            "feedback": {"score": score} if number % 3 == 0 else None,
            "decision": {"in_scope": float(random.beta(2, 8) if new else random.beta(8, 2))},
        }
        prompt = f"prompt {number} about {('money', 'parcels', 'gardens')[topic]}"
        yield line(number, **{"prompt": prompt, **fields, **fixed})


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["drift", "--window", "8", *map(str, arguments)])


def changes(log: Path, *options: object) -> dict[str, dict[str, Any]]:
    shown = json.loads(run(log, "--json", *options).stdout)
    return {change["what"]: change for change in shown["changes"]} | {"all": shown}


def test_a_new_topic_moves_what_it_touches(tmp_path: Path) -> None:
    found = changes(write(tmp_path / "log.jsonl", rows(drift=True)))
    moved = {what for what, change in found.items() if what != "all" and change["moved"]}
    touched = {"share of the default", "share of abstentions", "in-scope score", "quality of the tier simple", VECTORS}
    assert touched <= moved
    assert "cost a request in USD" not in moved
    for what in touched - {"quality of the tier simple"}:
        assert abs(found[what]["since"] - START - MOVED_AT * DAY_S) < DAY_S, what
    [new] = found["all"]["new"]
    assert new["are_prompts"]
    assert all("gardens" in example for example in new["examples"])
    assert new["routes"] == {"": new["requests"]}
    assert found["quality of the tier simple"]["after"] < found["quality of the tier simple"]["before"]


def test_nothing_moves_without_drift(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", rows())
    found = changes(log)["all"]
    assert (found["moved"], found["new"]) == (False, [])
    assert len(found["changes"]) == 7
    assert run(log, "--fail").exit_code == 0


def test_cron_gets_an_exit_code_and_people_a_table(tmp_path: Path) -> None:
    log = write(tmp_path / "log.jsonl", rows(drift=True))
    done = run(log, "--fail")
    assert done.exit_code == 1
    assert "reference: 2026-05-26 23:16 to 2026-06-23 23:16, 933 requests" in done.stdout
    assert "share of abstentions" in done.stdout
    assert "new prompts: " in done.stdout
    assert "gardens" in done.stdout
    assert run(log).exit_code == 0


def test_cost_alone(tmp_path: Path) -> None:
    dear = ({**row, "cost_usd": 3 * row["cost_usd"]} if row["at"] > START + 30 * DAY_S else row for row in rows())
    found = changes(write(tmp_path / "log.jsonl", dear))
    assert {what for what, change in found.items() if what != "all" and change["moved"]} == {"cost a request in USD"}
    assert abs(found["cost a request in USD"]["since"] - START - 30 * DAY_S) < DAY_S


def test_without_text_the_nearest_utterances_are_shown(tmp_path: Path) -> None:
    nearest = {"route": "billing", "confidence": 0.1, "nearest": {"utterance": "where is my bill", "similarity": 0.3}}
    some = [{**row, "prompt": None} for row in rows(drift=True)]
    for row in some:
        row["decision"]["candidates"] = [nearest]
    [new] = changes(write(tmp_path / "log.jsonl", some))["all"]["new"]
    assert (new["are_prompts"], new["examples"]) == (False, ["where is my bill"])


@pytest.mark.parametrize(
    ("fixed", "told"),
    [
        ({"embedding": None}, "not compared, because the log has none for the window"),
        ({"feedback": None}, "quality: not compared, because no request has a score from feedback"),
        ({"decision": {}}, "in-scope score: not compared, because a window has fewer than 20 values"),
    ],
)
def test_what_the_log_lacks_is_said(tmp_path: Path, fixed: dict[str, Any], told: str) -> None:
    notes = changes(write(tmp_path / "log.jsonl", rows(**fixed)))["all"]["notes"]
    assert any(told in note for note in notes)


def test_vectors_of_another_encoder_are_left_out(tmp_path: Path) -> None:
    some = list(rows())
    for number, row in enumerate(some):
        row["encoder"] = "old" if number < 600 else "new"
    some[300]["embedding"] = [1.0] * 3
    found = changes(write(tmp_path / "log.jsonl", some))
    assert not found[VECTORS]["moved"]
    assert any("600 of the reference are of another encoder" in note for note in found["all"]["notes"])
    for row in some[:900]:
        row["encoder"] = "old"
    found = changes(write(tmp_path / "log.jsonl", some))
    assert VECTORS not in found
    assert any("got 33 in the reference and" in note for note in found["all"]["notes"])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            ["--since", "2026-07-20", "--until", "2026-07-21"],
            "the window has 0 requests, expected at least 100, 100 more",
        ),
        (["--reference", "0.5"], "the reference before the window has"),
        (["--window", "100"], "in a young log, a shorter window"),
        (["--since", "2026-06-20", "--until", "2026-06-20"], "expected a later end"),
    ],
)
def test_windows_that_are_too_small(tmp_path: Path, options: list[str], told: str) -> None:
    done = run(write(tmp_path / "log.jsonl", rows()), *options)
    assert done.exit_code == 1
    assert told in str(done.exception)


def test_an_empty_log(tmp_path: Path) -> None:
    done = run(write(tmp_path / "log.jsonl", []))
    assert "got a log without rows" in str(done.exception)


def test_a_log_of_which_no_row_can_be_read(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"id": "1", "decision"\n')
    done = run(file)
    assert "got a log without rows" in str(done.exception)
    assert f"{file}:1: got" in done.stderr


def test_a_large_window_is_sampled_with_the_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = write(tmp_path / "log.jsonl", rows(drift=True))
    monkeypatch.setattr("semroute.learning.drift_windows.MOST_ROWS", 150)
    first, again, other = (changes(log, "--seed", seed)["all"] for seed in (1, 1, 2))
    assert first == again
    assert first["changes"] != other["changes"]
    assert (first["reference"]["compared"], first["reference"]["rows"]) == (150, 933)
