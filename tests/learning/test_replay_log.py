"""What a replay sums up: exact and approximate rows, changes, costs, moves; and that it can go on after a stop."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from semroute import Router
from semroute.config.schema.service import LogSettings
from semroute.errors import RequestError
from semroute.learning import logged_decisions, replay_log, replay_tally
from semroute.learning.logged_decisions import LoggedDecisions
from semroute.learning.replay_log import Replay
from semroute.learning.replay_page import page
from semroute.learning.replay_tally import ReplayReport
from semroute.stores.interfaces import Query
from tests.learning.logs import PROMPTS, write_folder, write_log
from tests.stores.conftest import NOW

Run = Callable[..., subprocess.CompletedProcess[str]]
FULL, FEATURES, VECTOR = LogSettings(content="full"), LogSettings(features=True), LogSettings()
NOTHING = LogSettings(embedding=False)
ALL = Query()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("routes"))


@pytest.fixture(scope="module")
def router(folder: Path) -> Router:
    return Router.load(folder)


@pytest.fixture(scope="module")
def candidate(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(write_folder(tmp_path_factory.mktemp("candidate"), sport="small"), previous=router)


@pytest.fixture
def url(tmp_path: Path, router: Router) -> str:
    url = f"sqlite:///{tmp_path}/log.db"
    for place, keep in enumerate((FULL, FEATURES, VECTOR, NOTHING)):
        write_log(url, router, PROMPTS, keep, first=10 * place + 1)
    return url


def replay(router: Router, url: str, query: Query = ALL, resume: Path | None = None) -> ReplayReport:
    return Replay(router, LoggedDecisions(url), query, resume).run()


def test_the_same_files_change_no_exact_row(router: Router, url: str) -> None:
    report = replay(router, url)
    assert (report.rows, report.exact, report.approximate) == (20, {"text": 5, "features": 5}, 5)
    assert report.not_replayed == {"neither text nor vector is kept": 5}
    assert report.guessed == {"the word pieces of the ask": 5}
    assert (report.changed_exact, report.agreement.compared, report.agreement.same_route) == (0, 10, 10)
    assert report.before_usd == report.after_usd > 0
    assert report.booked_usd == Decimal("0.5") * 15


def test_another_folder_moves_requests_and_costs(candidate: Router, url: str) -> None:
    report = replay(candidate, url, Query(until=NOW + 9))
    assert (report.rows, report.changed, report.changed_exact, report.changed_routes) == (5, 3, 3, 0)
    assert (report.by_model["large"].before, report.by_model["large"].after, report.by_model["small"].came) == (3, 0, 3)
    # 2,000 tokens cost .003 with the small model, and .03 with the large one
    assert (report.before_usd, report.after_usd) == (Decimal("0.096"), Decimal("0.015"))
    assert report.quality_before == pytest.approx(0.74)
    assert report.quality_after == pytest.approx(0.5)
    [move] = report.moves
    assert (move.route_before, move.route_after, move.model_before, move.model_after, move.count) == (
        "sport",
        "sport",
        "large",
        "small",
        3,
    )
    first = move.examples[0]
    assert (first.text, first.exact) == ("who won yesterday", True)
    assert first.nearest_after is not None
    assert first.nearest_after.utterance == "who won the match"


class Stopped(Exception):
    pass


@pytest.mark.parametrize("source", ["database", "log.jsonl", "log.parquet"])
def test_a_stopped_replay_goes_on(
    candidate: Router, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, semroute: Run
) -> None:
    log: str | Path = url
    if source != "database":
        log = tmp_path / source
        assert semroute("export", log, SEMROUTE_DATABASE_URL=url).returncode == 0
    if source == "log.jsonl":
        assert isinstance(log, Path)
        # A row that is there twice must not make it go on at the wrong one.
        first, *rest = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"torn\n" + b"".join([*rest[:8], first, *rest[8:-1], rest[4]]))
    monkeypatch.setattr(logged_decisions, "TOGETHER", 3)
    monkeypatch.setattr(replay_log, "SAVE_EVERY", 1)
    whole = Replay(candidate, LoggedDecisions(log), Query()).run()
    state, decided = tmp_path / "replay.state", []

    def stop(done: int, total: int) -> None:
        decided.append(done)
        if done >= 9:
            raise Stopped

    with pytest.raises(Stopped):
        Replay(candidate, LoggedDecisions(log), Query(), state).run(stop)
    again = Replay(candidate, LoggedDecisions(log), Query(), state)
    assert again.report.rows == 9
    resumed = again.run()
    assert msgspec.to_builtins(resumed) == msgspec.to_builtins(whole)
    assert (resumed.rows, resumed.torn, decided) == (20, int(source == "log.jsonl"), [3, 6, 9])
    assert Replay(candidate, LoggedDecisions(log), Query(), state).run().rows == 20  # there is nothing more to decide


def test_the_progress_of_another_replay_is_refused(router: Router, candidate: Router, url: str, tmp_path: Path) -> None:
    state = tmp_path / "replay.state"
    replay(router, url, resume=state)
    with pytest.raises(RequestError, match="is of another replay: its version of the route files is"):
        replay(candidate, url, resume=state)
    with pytest.raises(RequestError, match=f"its --since is None, expected {NOW}"):
        replay(router, url, Query(since=NOW), state)
    state.write_text("{}")
    with pytest.raises(RequestError, match="is no saved replay"):
        replay(router, url, resume=state)


def test_many_kinds_of_moves_take_little_memory(candidate: Router, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay_tally, "MAX_MOVES", 0)
    [move] = replay(candidate, url).moves
    assert (move.route_before, move.count, len(move.examples)) == ("(other)", 9, replay_tally.EXAMPLES)


def test_a_page_shows_texts_as_they_are(candidate: Router, router: Router, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    write_log(url, router, ["who won, <b>us</b> or them"], FULL)
    shown = page(replay(candidate, url))
    assert "who won, &lt;b&gt;us&lt;/b&gt; or them" in shown
    assert shown.count("<svg") == 2
    assert "http" not in shown


def test_the_command_prints_tables_json_and_a_page(semroute: Run, folder: Path, url: str, tmp_path: Path) -> None:
    done = semroute("replay", url, "--routes", folder, "--html", tmp_path / "replay.html")
    assert done.returncode == 0, done.stderr
    assert "exact: 10 (5 from features, 5 from text)\n" in done.stdout
    assert "not replayed: 5: neither text nor vector is kept\n" in done.stdout
    assert (tmp_path / "replay.html").read_text().startswith("<!doctype html>")
    shown = json.loads(semroute("replay", "--routes", folder, "--json", SEMROUTE_DATABASE_URL=url).stdout)
    assert (shown["rows"], shown["agreement"]["compared"]) == (20, 10)
    missing = semroute("replay", tmp_path / "none.jsonl", "--routes", folder)
    assert (missing.returncode, "no such file" in missing.stderr) == (1, True)


def test_an_empty_log_is_no_error(semroute: Run, folder: Path) -> None:
    done = semroute("replay", "memory:", "--routes", folder)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "0 logged requests of memory:")
