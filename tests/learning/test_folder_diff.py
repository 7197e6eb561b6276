"""What a change of route files does to decisions: on utterances, labelled prompts and a log; as text and for GitHub."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from semroute import Router
from semroute.config.schema.service import LogSettings
from semroute.decision_changes import DiffCounter, decide_texts, diff_utterances, summary
from semroute.evaluation.measure import Row
from semroute.learning.folder_diff import diff_log, diff_rows
from semroute.learning.logged_decisions import LoggedDecisions
from tests.learning.logs import PROMPTS, write_folder, write_log

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("folders")
    old, new = write_folder(folder / "old"), write_folder(folder / "new", sport="small")
    text = (new / "all.yaml").read_text().replace("name: weather", "name: climate").replace(", is it sunny", "")
    (new / "all.yaml").write_text(text)
    return old, new


@pytest.fixture(scope="module")
def routers(folders: tuple[Path, Path]) -> tuple[Router, Router]:
    before = Router.load(folders[0])
    return before, Router.load(folders[1], previous=before)


def test_utterances_of_both_folders_are_compared(routers: tuple[Router, Router]) -> None:
    before, after = routers
    diff = diff_utterances(before, after)
    assert (diff.compared, diff.total, diff.changed, diff.changed_routes, diff.changed_models) == (6, 6, 6, 3, 3)
    moves = {
        (move.route_before, move.route_after, move.model_before, move.model_after): move.count for move in diff.moves
    }
    assert moves == {("weather", "climate", "small", "small"): 3, ("sport", "sport", "large", "small"): 3}
    assert diff.examples[0].text == "is it sunny"  # what was deleted comes first
    assert diff.cost_before_usd > diff.cost_after_usd > 0
    told = summary(diff, before, after)
    assert told.startswith("6 of 6 utterances are decided otherwise (100.0%); ")
    assert {"weather → climate: 3", "sport with large → small: 3"} <= set(told.split("; ")[1].split(", "))
    assert told.endswith("; new routes: climate; routes gone: weather")


def test_the_same_files_change_nothing(routers: tuple[Router, Router]) -> None:
    before, _ = routers
    diff = diff_utterances(before, before)
    assert (diff.compared, diff.changed, diff.share, diff.moves) == (6, 0, 0.0, ())
    assert summary(diff, before, before) == "0 of 6 utterances are decided otherwise (0.0%)"


def test_a_limit_leaves_out_old_utterances_first(routers: tuple[Router, Router]) -> None:
    before, after = routers
    diff = diff_utterances(before, after, 2)
    assert (diff.compared, diff.total, diff.examples[0].text) == (2, 6, "is it sunny")
    assert "2 of 2 utterances (of 6) are decided otherwise" in summary(diff, before, after)
    assert diff_utterances(before, after, seconds=0).compared == 0


def test_vectors_that_are_there_decide_the_same(routers: tuple[Router, Router]) -> None:
    before, _ = routers
    texts = [text for route in before.config.routes.values() for text in route.utterances]
    known = dict(zip(texts, before.vectors, strict=True))
    for fresh, again in zip(map(before.route, texts), decide_texts(before, texts, known), strict=True):
        assert (fresh.route, fresh.confidence, fresh.model) == (again.route, again.confidence, again.model)


def test_labelled_prompts_say_which_folder_is_right(routers: tuple[Router, Router]) -> None:
    rows = [Row(text="will it rain on sunday", route="climate"), Row(text="who won yesterday", route="sport")]
    diff = diff_rows(*routers, rows, "eval.jsonl")
    assert (diff.on, diff.compared, diff.right_before, diff.right_after) == ("prompts of eval.jsonl", 2, 0.5, 1.0)


def test_a_log_is_decided_by_both(routers: tuple[Router, Router], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    for place, keep in enumerate((LogSettings(features=True), LogSettings(), LogSettings(embedding=False))):
        write_log(url, routers[0], PROMPTS, keep, first=10 * place + 1)
    found = diff_log(*routers, LoggedDecisions(url))
    assert (found.diff.compared, found.approximate, found.not_compared) == (10, 5, 5)
    assert found.diff.changed == 10


def test_many_changes_take_little_memory(routers: tuple[Router, Router]) -> None:
    [before], [after] = (decide_texts(router, ["who won yesterday"]) for router in routers)
    counter = DiffCounter()
    for number in range(500):
        counter.add(f"text {number}", before, after)
    diff = counter.result("a log")
    assert (diff.changed, len(diff.examples), diff.moves[0].count) == (500, 200, 500)
    assert diff.cost_before_usd == 500 * before.estimate.cost_usd > Decimal(0)


def test_the_command(semroute: Run, folders: tuple[Path, Path], tmp_path: Path) -> None:
    old, new = folders
    file = tmp_path / "eval.jsonl"
    file.write_text('{"text": "will it rain on sunday", "route": "climate"}\n{"text": "who won", "route": "sport"}\n')
    done = semroute("diff", old, new, "--eval", file, "--max-changed", "0.5")
    assert done.returncode == 1
    assert "6 of 6 utterances are decided otherwise (100.0%)" in done.stdout
    assert "right routes: 50.0% before, 100.0% after" in done.stdout
    assert "utterances: 100.00% of the decisions change, expected at most 50.00%" in done.stderr.replace("\n", " ")
    same = semroute("diff", old, old, "--max-changed", "0", "--json")
    assert (same.returncode, json.loads(same.stdout)["parts"][0]["changed"]) == (0, 0)


def test_notes_for_a_pull_request(semroute: Run, folders: tuple[Path, Path]) -> None:
    old, new = folders
    done = semroute("diff", old, new, "--format", "github", "--max-changed", "0.5")
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (1, 3)
    assert lines[0].startswith("::error title=semroute diff::6 of 6 utterances are decided otherwise (100.0%25); ")
    notes = dict(line.split("::", 2)[1:] for line in lines[1:])
    climate = f"notice file={new}/all.yaml,line=8,title=route climate"
    assert notes[climate] == "utterances: 3 weather → climate"
