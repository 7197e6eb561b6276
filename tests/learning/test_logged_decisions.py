"""One reader for all forms of a log: rows of older versions, torn rows, texts that are not texts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from semroute.cli import export
from semroute.errors import RequestError, SettingsError
from semroute.learning import logged_decisions
from semroute.learning.logged_decisions import LoggedDecision, LoggedDecisions, open_log
from semroute.stores.connect import open_database
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback, Query
from tests.stores.conftest import NOW
from tests.stores.test_decision_log import record


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres").new_database())
    return f"sqlite:///{tmp_path}/semroute.db"


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqlLog]:
    with closing(open_database(f"sqlite:///{tmp_path}/log.db")) as database:
        yield SqlLog(database)


def written(log: SqlLog, count: int = 5) -> list[str]:
    records = [replace(record(number), content="full", prompt=f"prompt {number}") for number in range(1, count + 1)]
    log.write(records)
    log.feed_back(records[0].request_id, Feedback(score=0.25, label="coding"), time.time())
    return [one.request_id for one in records]


def exported(log: SqlLog, folder: Path, ending: str) -> Path:
    file = folder / f"log{ending}"
    if ending == ".parquet":
        export.write_parquet(file, log.export(Query()))
    else:
        with file.open("wb") as out:
            export.write_lines(out, log.export(Query()))
    return file


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_a_file_holds_what_the_database_holds(log: SqlLog, tmp_path: Path, ending: str) -> None:
    ids = written(log)
    reader = LoggedDecisions(exported(log, tmp_path, ending))
    rows = list(reader)
    assert [row.id for row in rows] == ids
    assert reader.count() == len(ids)
    assert (rows[0].label, rows[0].score, rows[1].label, rows[1].score) == ("coding", 0.25, None, None)
    first = rows[0]
    assert (first.route, first.decision.model, first.model, first.decision.plan) == (
        "billing",
        "small",
        "small",
        ("small", "large"),
    )
    assert (first.decision.margin, first.decision.config_version, first.text) == (0.4, "v1", "prompt 1")
    assert first.cost_usd == first.attempts[0].cost_usd == Decimal("0.000024")
    assert first.scores == {"billing": 0.75, "coding": 0.25}
    assert first.vector is not None
    assert first.vector.tolist() == pytest.approx([0.43643578, -0.21821789, 0.87287156])
    assert reader.torn.count == 0
    assert [row.id for row in reader.read(after=rows[2].place)] == ids[3:]
    assert [row.id for row in reader.read(Query(since=NOW + 1, until=NOW + 3))] == ids[1:3]


def test_the_database_itself_is_read(url: str) -> None:
    with closing(open_database(url)) as database:
        ids = written(SqlLog(database), 1203)
    reader = open_log(None, url)
    assert reader.count() == 1203
    assert [row.id for row in reader.read(after=ids[600])] == ids[601:]


def test_the_last_moment_is_that_of_the_last_row(url: str, tmp_path: Path) -> None:
    with closing(open_database(url)) as database:
        logged = LoggedDecisions(url)
        assert logged.last_at() is None
        log = SqlLog(database)
        written(log)
        rows = list(logged)
        assert (
            logged.last_at()
            == max(row.at for row in rows)
            == LoggedDecisions(exported(log, tmp_path, ".jsonl")).last_at()
        )


def test_torn_rows_are_told_and_the_others_read(log: SqlLog, tmp_path: Path) -> None:
    file = exported(log, tmp_path, ".jsonl") if written(log, 3) else tmp_path
    first, second, third = file.read_bytes().splitlines()
    lines = [b"\xef\xbb\xbf" + first, b"", second[:200], b"\xff", b'{"text": "hi", "route": null}', b"[1]", third]
    file.write_bytes(b"\n".join(lines) + b"\n" + third[:-1])
    reader = LoggedDecisions(file)
    assert [row.place for row in reader] == [f"{file}:1", f"{file}:7"]
    assert reader.torn.count == 5
    numbers = [told.removeprefix(f"{file}:").partition(":")[0] for told in reader.torn.told]
    assert numbers == ["3", "4", "5", "6", "8"]
    assert "`id`" in reader.torn.told[2]
    assert len(list(reader)) == 2
    assert reader.torn.count == 5


def test_a_line_without_end_does_not_fill_the_memory(
    log: SqlLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(log, 1)
    file = exported(log, tmp_path, ".jsonl")
    line = file.read_bytes()
    monkeypatch.setattr(logged_decisions, "MAX_LINE_BYTES", len(line) + 10)
    file.write_bytes(b"x" * 3 * len(line) + b"\n" + line)
    reader = LoggedDecisions(file)
    assert [row.place for row in reader] == [f"{file}:2"]
    assert "without a line end" in reader.torn.told[0]


@pytest.mark.parametrize("damage", ["UPDATE blocks SET data = ?", "DELETE FROM blocks WHERE data <> ?"])
def test_damaged_blocks_cost_their_own_rows_only(log: SqlLog, damage: str) -> None:
    written(log, 2)
    with log.database.transaction() as session:
        session.run(damage, (b"\x01no block",))
    log.write([record(9)])
    torn: list[str] = []
    assert len(list(log.export(Query(), on_torn=torn.append))) == 1
    assert [told.partition(":")[0] for told in torn] == [f"record {record(n).request_id}" for n in (1, 2)]


def test_rows_of_older_versions_have_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "old.jsonl"
    old = {
        "id": "a",
        "decision": {"route": "billing", "reason": "semantic", "unknown": 1},
        "attempts": [{"model": "m"}],
    }
    file.write_text(json.dumps(old) + "\n")
    [row] = LoggedDecisions(file)
    assert (row.route, row.decision.margin, row.vector, row.text, row.scores) == ("billing", None, None, None, {})
    assert row.attempts[0].model == "m"


@pytest.mark.parametrize(
    ("kept", "text", "redacted"),
    [
        (None, None, False),
        ("5" * 64, None, False),
        ("mail [EMAIL_1]", "mail [EMAIL_1]", True),
        ("see [1]", "see [1]", False),
    ],
)
def test_a_hash_is_no_text(kept: str | None, text: str | None, redacted: bool) -> None:
    row = LoggedDecision(id="a", decision=logged_decisions.DecisionThen(), prompt=kept)
    assert (row.text, row.redacted) == (text, redacted)


@pytest.mark.parametrize(
    ("make", "error", "told"),
    [
        (lambda folder: folder / "none.jsonl", RequestError, "none.jsonl: no such file, expected"),
        (lambda folder: folder / "log.csv", RequestError, "got an unknown ending, expected .jsonl or .parquet"),
        (lambda folder: folder / "log.parquet", RequestError, "cannot be read as Parquet"),
        (lambda folder: f"sqlite:///{folder}/no.db", RequestError, "no.db: there is no such database"),
        (lambda folder: "mysql://user:secret@host/x", SettingsError, "expected sqlite:///"),
    ],
)
def test_what_is_no_log_is_told(
    tmp_path: Path, make: Callable[[Path], Path | str], error: type[Exception], told: str
) -> None:
    for name in ("log.csv", "log.parquet"):
        (tmp_path / name).write_text("x")
    with pytest.raises(error, match=told):
        list(open_log(make(tmp_path), ""))


def test_another_log_cannot_be_gone_on_with(log: SqlLog, tmp_path: Path) -> None:
    written(log)
    with pytest.raises(RequestError, match="got no row at x, which was read last: it is another log"):
        list(LoggedDecisions(exported(log, tmp_path, ".jsonl")).read(after="x"))


def test_a_damaged_part_of_parquet_costs_its_own_rows_only(log: SqlLog, tmp_path: Path) -> None:
    ids = written(log, 1203)
    file = exported(log, tmp_path, ".parquet")
    data = bytearray(file.read_bytes())
    [first, *_] = [column for column in _columns(file) if column.path_in_schema == "decision"]
    data[first.data_page_offset : first.data_page_offset + 40] = b"\xff" * 40
    file.write_bytes(data)
    reader = LoggedDecisions(file)
    assert [row.id for row in reader] == ids[1000:]
    assert (reader.torn.count, len(reader.torn.told)) == (1000, 10)


def _columns(file: Path) -> list[Any]:
    group = pq.ParquetFile(file).metadata.row_group(0)
    return [group.column(place) for place in range(group.num_columns)]
