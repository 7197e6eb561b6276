"""`report` and `export` on a log of known records; `keys`."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from semroute.access.api_keys import KeyStore
from semroute.caller import Caller
from semroute.stores.decision_log import SqlLog
from semroute.stores.interfaces import Feedback
from semroute.stores.migrations import migrate
from semroute.stores.sqlite import SqliteDatabase
from tests.stores.test_decision_log import record

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


def test_a_key_is_told_by_its_name(semroute: Run, url: str) -> None:
    database = SqliteDatabase(Path(url.removeprefix("sqlite:///")))
    _, caller = KeyStore(database).create(Caller(name="the [/] app"))
    SqlLog(database).write([replace(record(9), at=time.time(), caller=caller)])
    database.close()
    rows = json.loads(semroute("report", "--json", "--by", "key", SEMROUTE_DATABASE_URL=url).stdout)["key"]
    assert {(row["value"], row["name"]) for row in rows} > {(caller.id, "the [/] app")}
    assert "the [/] app " in semroute("report", "--by", "key", SEMROUTE_DATABASE_URL=url).stdout


def test_who_only_reads_makes_no_database(semroute: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    told = {
        ("report",): f"no requests in {url} in the last 30 days\n",
        ("report", "--json", "--by", "day"): '{\n  "day": []\n}\n',
        ("keys", "list"): f"no keys in {url} yet\n",
        ("keys", "list", "--json"): "[]\n",
    }
    for command, expected in told.items():
        assert semroute(*command, SEMROUTE_DATABASE_URL=url).stdout == expected
    assert semroute("keys", "revoke", "x", SEMROUTE_DATABASE_URL=url).returncode == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--usd-per-day", "NaN", "got 'NaN', expected a number from 0 to 9,000,000"),
        ("--usd-per-day", "Infinity", "got 'Infinity', expected a number"),
        ("--usd-per-day", "1e400", "got '1e400', expected a number"),
        ("--usd-per-month", "-0.01", "got '-0.01', expected a number"),
        ("--usd-per-month", "much", "got 'much', expected a number"),
        ("--rpm", "0", "0 is not in the range"),
        ("--tpm", "1" + "0" * 30, "is not in the range"),
        ("--concurrency", "-1", "-1 is not in the range"),
        ("--metadata", "=x", "expected NAME=VALUE"),
        ("--expires", "2020-01-01", "--expires: got 2020-01-01 00:00, expected a time in the future"),
    ],
)
def test_a_key_that_cannot_work_is_not_made(semroute: Run, tmp_path: Path, option: str, value: str, told: str) -> None:
    url = f"sqlite:///{tmp_path}/keys.db"
    done = semroute("keys", "create", option, value, SEMROUTE_DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_key_tells_what_it_is_good_for(semroute: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/keys.db"
    options = (
        "--route",
        "coding",
        "--route",
        "codding",
        "--model",
        "gpt-nine",
        "--expires",
        "2999-12-31",
        "--rpm",
        "5",
    )
    made = semroute("keys", "create", *options, SEMROUTE_DATABASE_URL=url)
    assert made.returncode == 0
    assert [line.partition(" has ")[2] for line in made.stderr.splitlines()] == [
        "no route 'codding'",
        "no model 'gpt-nine'",
    ]
    listed = " ".join(semroute("keys", "list", SEMROUTE_DATABASE_URL=url).stdout.split())
    assert "5 a minute, only routes coding codding, only models gpt-nine" in listed
    assert "good until 2999-12-31 00:00" in listed


def test_keys_are_kept_somewhere(semroute: Run) -> None:
    done = semroute("keys", "create", SEMROUTE_DATABASE_URL="memory:")
    assert (done.returncode, done.stdout) == (2, "")
    assert "SEMROUTE_DATABASE_URL: got memory:, but keys in memory end with the command" in done.stderr


def test_names_are_shown_as_they_are(semroute: Run, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/keys.db"
    for name in ("foo [/] bar", "[red]x[/red]"):
        assert semroute("keys", "create", "--name", name, SEMROUTE_DATABASE_URL=url).returncode == 0
        assert name in semroute("keys", "list", SEMROUTE_DATABASE_URL=url).stdout


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


def test_what_grades_say_as_a_table_and_as_json(semroute: Run, url: str, tmp_path: Path) -> None:
    (tmp_path / "routes").mkdir()
    routes = tmp_path / "routes" / "routes.yaml"
    routes.write_text(
        "providers: {p: {dialect: echo}}\ndefault: {models: [large]}\n"
        "models: {large: {provider: p, name: large, quality: 0.9}}\n"
        "policy: {select: best, learn: {prior_weight: 9}}\n"
    )
    table = semroute("learned", "--routes", routes.parent, SEMROUTE_DATABASE_URL=url).stdout
    assert [line.split() for line in table.splitlines()[1:]] == [
        ["billing", "small", "gone", "0.500", *table.splitlines()[1].split()[4:7], "1", "0", "1.0", "no"]
    ]
    rows = json.loads(semroute("learned", "--routes", routes.parent, "--json", SEMROUTE_DATABASE_URL=url).stdout)[
        "rows"
    ]
    assert [(row["route"], row["model"], row["stated"], row["feedback"], row["learns"]) for row in rows] == [
        ("", "large", 0.9, 0, True),
        ("billing", "small", None, 1, False),
    ]
    assert rows[0]["low"] < rows[0]["quality"] == 0.9 < rows[0]["high"]
    empty = semroute("learned", "--routes", routes.parent, SEMROUTE_DATABASE_URL=f"sqlite:///{tmp_path}/none.db")
    assert empty.stdout == f"no graded answers in sqlite:///{tmp_path}/none.db\n" and empty.returncode == 0
