"""`report` and `export` on a log of known records."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from semroute.stores.base import Feedback
from semroute.stores.log import SqlLog
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.test_log import record

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def url(tmp_path: Path) -> str:
    log = SqlLog(SqliteDatabase(tmp_path / "semroute.db"))
    migrate(log.database)
    records = [replace(record(number), at=time.time()) for number in range(1, 4)]
    log.write(records)
    log.feed_back(records[0].request_id, Feedback(score=0.5, label="coding"), time.time())
    log.database.close()
    return f"sqlite:///{tmp_path}/semroute.db"


def test_report_as_tables_json_and_a_page(semroute: Run, url: str, tmp_path: Path) -> None:
    tables = semroute("report", SEMROUTE_DATABASE_URL=url).stdout
    assert "billing" in tables
    assert "0.000072" in tables
    [row] = json.loads(semroute("report", "--json", "--by", "model", SEMROUTE_DATABASE_URL=url).stdout)["model"]
    assert (row["value"], row["requests"], row["cost_usd"], row["quality"]) == ("small", 3, 0.000072, 0.5)
    page = tmp_path / "report.html"
    assert semroute("report", "--html", page, SEMROUTE_DATABASE_URL=url).returncode == 0
    html = page.read_text()
    assert html.count("<svg") == 2
    assert "http" not in html  # it needs nothing else


def test_export_to_parquet_and_lines(semroute: Run, url: str, tmp_path: Path) -> None:
    semroute("export", tmp_path / "log.jsonl", SEMROUTE_DATABASE_URL=url)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["cost_usd"] for line in lines] == [0.000024] * 3
    assert lines[0]["scores"] == {"billing": 0.75, "coding": 0.25}
    printed = semroute("export", "-", SEMROUTE_DATABASE_URL=url).stdout
    assert printed == (tmp_path / "log.jsonl").read_text()
    semroute("export", tmp_path / "log.parquet", SEMROUTE_DATABASE_URL=url)
    table = pq.read_table(tmp_path / "log.parquet").to_pylist()
    assert [str(row["cost_usd"]) for row in table] == ["0.000024000000"] * 3
    assert (table[0]["embedding"], table[0]["score"], table[0]["label"]) == ([0.5, -0.25, 1], 0.5, "coding")
    assert json.loads(table[0]["decision"])["config_version"] == "v1"
