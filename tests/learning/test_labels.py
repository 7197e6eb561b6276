"""Which route of a logged decision is right: what feedback says, never the route that was taken."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from semroute import Router
from semroute.cli import export
from semroute.errors import RequestError
from semroute.evaluation.gain_training import read_labels
from semroute.evaluation.measure import read_rows
from semroute.learning.labels import ANOTHER, read_labelled
from semroute.learning.logged_decisions import MAX_TOLD
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback, Query
from tests.stores.test_decision_log import record

Run = Callable[..., subprocess.CompletedProcess[str]]
RAIN, COLD, MATCH = "will it rain tomorrow", "how cold is it outside", "who won the match yesterday"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("routes")
    (folder / "all.yaml").write_text(
        "providers: {here: {dialect: echo}}\nmodels: {m: {provider: here, name: m}}\ndefault: {models: [m]}\n"
        f"routes:\n  - {{name: weather, models: [m], utterances: [{RAIN}, {COLD}]}}\n"
        "  - {name: sport, models: [m], utterances: [who won the match, when does the game begin]}\n"
    )
    return folder


@pytest.fixture(scope="module")
def router(folder: Path) -> Router:
    return Router.load(folder)


def logged(
    router: Router, folder: Path, rows: list[tuple[str, Feedback | None]], ending: str = ".jsonl", **fields: Any
) -> Path:
    """Export a log of these prompts, with their feedback."""
    file = folder / f"log{ending}"
    with closing(open_database("memory:")) as database:
        log = SqlLog(database)
        for number, (text, feedback) in enumerate(rows, start=1):
            decision = router.route(text)
            one = replace(record(number), decision=decision, **{"prompt": text, **fields})
            log.write([one])
            if feedback is not None:
                log.feed_back(one.request_id, feedback, 0.0)
        if ending == ".parquet":
            export.write_parquet(file, log.export(Query()))
        else:
            with file.open("wb") as out:
                export.write_lines(out, log.export(Query()))
    return file


ROWS = [
    (RAIN, Feedback(label="sport")),
    (COLD, Feedback(score=0.9)),
    ("is it cold outside", Feedback(score=0.1)),
    (MATCH, Feedback(label="")),
    ("who won", Feedback(label="chess")),
    ("when does it begin", Feedback(comment="hm")),
    ("will it rain", None),
]


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_feedback_says_what_is_right(router: Router, tmp_path: Path, ending: str) -> None:
    found = read_labelled(logged(router, tmp_path, ROWS, ending), router)
    assert [(one.expected, one.decided) for one in found.outcomes] == [
        ("sport", "weather"),
        ("weather", "weather"),
        (ANOTHER, "weather"),
        (None, "sport"),
    ]
    counts = found.counts
    assert (counts.written, counts.corrected, counts.good, counts.bad) == (0, 2, 1, 1)
    assert (counts.unlabelled, counts.unknown_route, counts.other_version, counts.used) == (2, 1, 0, 4)


def test_what_somebody_wrote_into_a_line_comes_first(router: Router, tmp_path: Path) -> None:
    file = logged(router, tmp_path, ROWS[:1])
    line = json.loads(file.read_text())
    file.write_text(json.dumps({**line, "expected": "weather"}) + "\n")
    found = read_labelled(file, router)
    assert ([one.expected for one in found.outcomes], found.counts.written) == (["weather"], 1)


@pytest.mark.parametrize("rows", [ROWS[4:], ROWS[5:]], ids=["labels that are no routes", "none"])
def test_a_log_without_a_label_is_refused(router: Router, tmp_path: Path, rows: Any) -> None:
    with pytest.raises(RequestError, match=f"got {len(rows)} logged decisions and no label that can be used"):
        read_labelled(logged(router, tmp_path, rows), router)


def test_decisions_of_other_route_files_count_if_their_text_is_known(
    folder: Path, router: Router, tmp_path: Path
) -> None:
    older = Router.build(replace(router.config, version="older"))
    of_text = read_labelled(logged(older, tmp_path, ROWS, content="full"), router)
    assert [(one.expected, one.decided) for one in of_text.outcomes] == [
        ("sport", "weather"),
        ("weather", "weather"),
        (ANOTHER, "weather"),
        (None, "sport"),
    ]
    with pytest.raises(RequestError, match="4 with feedback are of other route files and without text"):
        read_labelled(logged(older, tmp_path, ROWS, content="hash"), router)


def test_torn_lines_of_a_log_are_told(router: Router, tmp_path: Path) -> None:
    file = logged(router, tmp_path, ROWS)
    file.write_bytes(file.read_bytes()[:-40])
    found = read_labelled(file, router)
    assert (found.counts.torn, len(found.torn), found.counts.used) == (1, 1, 4)
    assert f"{file}:7: got" in found.torn[0]


def test_the_command_says_how_many_labels_were_used(
    semroute: Run, folder: Path, router: Router, tmp_path: Path
) -> None:
    wrong = [(f"{RAIN} in town {number}", Feedback(label="sport")) for number in range(30)]
    right = [(f"{COLD} at {number}", Feedback(label="weather")) for number in range(30)]
    file = logged(router, tmp_path, [*wrong, *right, *ROWS[4:]])
    options = ("--routes", folder, "--dry-run")
    done = semroute("tune", file, *options, "--max-false-abstain", "0.1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        "60 labels: 60 from feedback that names the right route; left out: 2 without a label; "
        "left out: 1 with a label that is no route now\n"
    )
    assert "accuracy 0.500 now" in done.stdout
    shown = json.loads(semroute("tune", file, *options, "--max-false-abstain", "0.1", "--json").stdout)
    assert (shown["labels"]["corrected"], shown["tuning"]["accuracy_before"]) == (60, 0.5)
    refused = semroute("tune", file, *options)
    assert refused.returncode == 1
    assert "got 0 different prompts that no route should take" in refused.stderr.replace("\n", " ")


@pytest.mark.parametrize("read", [lambda file: read_rows(file, ()), lambda file: read_labels(file, {})])
def test_who_reads_other_files_says_what_a_log_is_for(
    router: Router, tmp_path: Path, read: Callable[[Path], list[Any]]
) -> None:
    with pytest.raises(RequestError, match=r"log\.jsonl:1: got a logged decision, which `semroute tune` and"):
        read(logged(router, tmp_path, ROWS))


@pytest.mark.parametrize("torn", ["null", "[]", "{}", '"text', '{"id": "5", "decision": {}, "scores": null}'])
@pytest.mark.parametrize("place", [0, 3])
def test_a_torn_row_is_told_wherever_it_is_in_a_log(router: Router, tmp_path: Path, torn: str, place: int) -> None:
    file = logged(router, tmp_path, ROWS)
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:place], torn, *lines[place:]]) + "\n")
    found = read_labelled(file, router)
    assert (found.counts.torn, found.counts.used) == (1, 4)
    assert found.torn[0].startswith(f"{file}:{place + 1}: ")


def test_a_mistake_in_a_file_that_people_wrote_is_refused(router: Router, tmp_path: Path) -> None:
    file = tmp_path / "eval.jsonl"
    for lines in (['{"text": "x", "route"', f'{{"text": "{RAIN}", "route": "weather"}}'], ["null"], ["{}"]):
        file.write_text("\n".join(lines) + "\n")
        with pytest.raises(RequestError, match=":1: "):
            read_labelled(file, router)


def test_many_torn_rows_are_counted_and_few_are_told(router: Router, tmp_path: Path) -> None:
    file = logged(router, tmp_path, ROWS)
    file.write_text(file.read_text() + "null\n" * 500)
    found = read_labelled(file, router)
    assert found.counts.torn == 500
    assert len(found.torn) == MAX_TOLD
