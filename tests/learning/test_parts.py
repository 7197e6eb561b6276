"""Folders of Parquet files: what is read of them, and that their parts give the figures of the whole."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from semroute import Router
from semroute.cli.commands import group as cli
from semroute.config.schema.service import LogSettings
from semroute.errors import RequestError
from semroute.learning import drift_windows, logged_prompts, parquet_log, replay_tally
from semroute.learning.compare_windows import compare
from semroute.learning.drift_windows import TwoWindows
from semroute.learning.engines import LOCAL, Engine, TallyRows, read_log
from semroute.learning.logged_decisions import LoggedDecisions, open_log
from semroute.learning.logged_prompts import PromptTally, read_all
from semroute.learning.replay_log import Replay
from semroute.learning.suggestions import suggest
from semroute.learning.sweep_log import sweep
from semroute.learning.sweep_report import Floor
from semroute.stores.connect import open_to_read
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Query
from tests.learning.logs import PROMPTS, line, write, write_folder, write_log, write_parquet_folder
from tests.learning.test_drift import DAY_S, START
from tests.learning.test_drift import rows as drift_rows

ALL = Query()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(write_folder(tmp_path_factory.mktemp("routes")))


@pytest.fixture(scope="module")
def candidate(router: Router, tmp_path_factory: pytest.TempPathFactory) -> Router:
    return Router.load(write_folder(tmp_path_factory.mktemp("candidate"), sport="small"), previous=router)


def exported(tmp_path: Path, router: Router, keeps: Sequence[LogSettings]) -> list[dict[str, Any]]:
    """A log of a database, as it is exported."""
    url = f"sqlite:///{tmp_path}/log.db"
    for place, keep in enumerate(keeps):
        write_log(url, router, PROMPTS, keep, first=10 * place + 1)
    database = open_to_read(url)
    rows = list(SqlLog(database).export(ALL))
    database.close()
    return rows


def replayed(router: Router, log: Path, engine: Engine = LOCAL) -> dict[str, Any]:
    report = Replay(router, LoggedDecisions(log), ALL).run(engine=engine)
    return dict(msgspec.to_builtins(msgspec.structs.replace(report, log="")))


def suggested(router: Router, log: Path, engine: Engine = LOCAL) -> dict[str, Any]:
    begin = partial(PromptTally.begin, frozenset(router.config.routes), 0, logged_prompts.MOST_ROWS)
    found = read_log(engine, LoggedDecisions(log), TallyRows(begin, PromptTally.add, ALL), lambda done: None).prompts()
    readings = read_all(router, found.prompts, engine=engine)
    return {"read": found.counts, "suggested": suggest(router, found.prompts, readings)}


def swept(router: Router, log: Path, engine: Engine = LOCAL) -> dict[str, Any]:
    report = sweep(router, LoggedDecisions(log), Floor(value=0.97), engine=engine)
    return dict(msgspec.to_builtins(msgspec.structs.replace(report, log="")))


def drifted(log: Path, engine: Engine = LOCAL) -> dict[str, Any]:
    begin = partial(TwoWindows.between, START, START + 28 * DAY_S, START + 36 * DAY_S, 0)
    windows = read_log(engine, LoggedDecisions(log), TallyRows(begin, TwoWindows.add, ALL), lambda done: None)
    return dict(msgspec.to_builtins(compare(windows.reference, windows.window, 0.01)))


def test_a_folder_is_replayed_as_one_file_is(
    router: Router, candidate: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeps = (LogSettings(content="full"), LogSettings(features=True), LogSettings(), LogSettings(embedding=False))
    rows = exported(tmp_path, router, keeps)
    monkeypatch.setattr(replay_tally, "COMPARED", 4)
    one = replayed(candidate, write_parquet_folder(tmp_path / "one", rows, 1))
    assert (one["rows"], one["changed"], one["agreement"]["compared"]) == (20, 9, 4)
    assert replayed(candidate, write_parquet_folder(tmp_path / "many", rows, 5)) == one


def test_a_folder_is_swept_as_one_file_is(router: Router, candidate: Router, tmp_path: Path) -> None:
    rows = exported(tmp_path, router, (LogSettings(content="full"), LogSettings(features=True)))
    one = swept(candidate, write_parquet_folder(tmp_path / "one", rows, 1))
    assert one["used_rows"] == 10
    assert swept(candidate, write_parquet_folder(tmp_path / "many", rows, 5)) == one


def test_a_folder_gives_the_suggestions_of_one_file(
    router: Router, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logged_prompts, "MOST_ROWS", 15)
    texts = [f"{start}how do I water {plant}" for start in ("", "hey, ") for plant in "roses kale peas leeks".split()]
    rows = [line(n, text, route=None) for n, text in enumerate([*texts, *PROMPTS, *texts, "x"])]
    rows += [line(n, f"{PROMPTS[n % 5]} {n}", feedback={"label": "sport"}) for n in range(30, 50)]
    one = suggested(router, write(tmp_path / "log.jsonl", rows))
    assert (one["read"].rows, one["read"].sampled_from, one["read"].used) == (42, 42, 30)
    folder = write_parquet_folder(
        tmp_path / "many", [{**row, "feedback": row.get("feedback") or {}} for row in rows], 5
    )
    assert suggested(router, folder) == one


def test_a_folder_drifts_as_one_file_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift_windows, "MOST_ROWS", 150)
    rows = list(drift_rows(drift=True))
    one = drifted(write_parquet_folder(tmp_path / "one", rows, 1))
    assert one["reference"]["compared"] == one["window"]["compared"] == 150
    assert one["moved"]
    assert drifted(write_parquet_folder(tmp_path / "many", rows, 7)) == one


def test_large_files_have_several_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_log, "PART_ROWS", 4)
    rows = [{"id": f"r{n}", "decision": "{}", "at": float(n)} for n in range(11)]
    (tmp_path / "log").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log" / "a.parquet", row_group_size=3)
    pq.write_table(pa.Table.from_pylist(rows[:2]), tmp_path / "log" / "b.parquet")
    log = LoggedDecisions(tmp_path / "log")
    assert [[row.id for row in part] for part in log.parts()] == [
        [f"r{n}" for n in range(6)],
        [f"r{n}" for n in range(6, 11)],
        ["r0", "r1"],
    ]
    assert next(iter(log.parts()[1])).place.rsplit("/", 1)[1] == "a.parquet: row 7"
    assert (log.count(), log.last_at(), sum(1 for _ in log)) == (13, 10.0, 13)


def test_folders_of_other_tools_are_read(tmp_path: Path) -> None:
    row = {"id": "r1", "decision": "{}", "at": 1.0, "mood": {"of": "another tool"}}
    for name in ("team=a%20b/tier=simple", "team=c/tier=__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / "log" / name).mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "log" / name / "part-0.parquet")
    for name in ("_SUCCESS", "_temporary/part-1.parquet", ".hidden.parquet", "notes.txt"):
        (tmp_path / "log" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "log" / name).write_text("no Parquet")
    log = open_log(tmp_path / "log", "")
    assert [(row.team, row.tier) for row in log] == [("a b", "simple"), ("c", "")]
    assert log.torn.count == 0


def test_a_damaged_file_does_not_hide_the_others(tmp_path: Path) -> None:
    folder = write_parquet_folder(tmp_path / "log", [line(n, f"prompt {n}") for n in range(40)], 3)
    damaged = folder / "day=0" / "part-1.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-20])
    log = LoggedDecisions(folder)
    assert sum(1 for _ in log) == 26
    work = TallyRows(partial(PromptTally.begin, frozenset[str]()), PromptTally.add, ALL)
    tally = read_log(LOCAL, log, work, lambda done: None)
    assert (tally.rows, tally.torn.count, log.torn.count) == (26, 1, 1)
    assert f"{damaged}: cannot be read as Parquet" in log.torn.told[0]
    for file in folder.rglob("*.parquet"):
        file.write_bytes(b"torn")
    with pytest.raises(RequestError, match=r"part-0\.parquet: cannot be read as Parquet"):
        list(log)


def test_a_folder_without_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(RequestError, match=r"got a folder without files that end in \.parquet"):
        list(open_log(tmp_path, ""))


def test_a_stopped_replay_of_a_folder_goes_on(candidate: Router, tmp_path: Path, router: Router) -> None:
    class Stopped(Exception):
        pass

    rows = exported(tmp_path, router, (LogSettings(content="full"), LogSettings(features=True), LogSettings()))
    folder = write_parquet_folder(tmp_path / "log", rows, 5)
    state, whole = tmp_path / "state", replayed(candidate, folder)

    def stop(done: int, total: int) -> None:
        if done == 9:
            raise Stopped

    with pytest.raises(Stopped):
        Replay(candidate, LoggedDecisions(folder), ALL, state).run(stop)
    again = Replay(candidate, LoggedDecisions(folder), ALL, state)
    assert 6 <= again.report.rows <= 9
    assert msgspec.to_builtins(msgspec.structs.replace(again.run(), log="")) == whole
    assert Replay(candidate, LoggedDecisions(folder), ALL, state).run().rows == 15
    (folder / "day=0" / "part-0.parquet").rename(folder / "day=2" / "part-9.parquet")
    with pytest.raises(RequestError, match="is of another replay: "):
        Replay(candidate, LoggedDecisions(folder), ALL, state).run()


def test_the_commands_read_folders(tmp_path: Path, router: Router) -> None:
    folder = write_parquet_folder(tmp_path / "log", [line(n, f"prompt {n}") for n in range(8)], 3)
    done = CliRunner().invoke(cli, ["replay", str(folder), "--json", "--routes", router.config.folder])
    shown = json.loads(done.stdout)
    assert (shown["log"], shown["rows"], shown["exact"]) == (str(folder), 8, {"text": 8})
