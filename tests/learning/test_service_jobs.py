"""Work on the log for the page: what each kind returns, and what uploaded route files may not do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from semroute import Router
from semroute.config.folder import read_files
from semroute.config.schema.service import LogSettings
from semroute.errors import ConfigError, RequestError
from semroute.learning.service_jobs import MAX_FILES, WORKS, Order, _Lines, run
from semroute.semantic.array_cache import default_folder
from tests.learning.logs import FOLDER, PROMPTS, write_folder, write_log
from tests.learning.test_suggest import GARDEN

NOW = 1_796_000_000.0
DAY_S = 86_400
FULL = LogSettings(content="full")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("jobs") / "routes")


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    """A log of 32 days. In the last two, a third of the requests asks about the garden."""
    url, router = f"sqlite:///{folder.parent}/log.db", Router.load(folder)
    prompts = [GARDEN[n // 3 % 12] if n >= 300 and n % 3 == 0 else f"{PROMPTS[n % 5]} {n % 25}" for n in range(620)]
    times = [NOW - (30 - n / 10 if n < 280 else 2 - (n - 280) / 170) * DAY_S for n in range(620)]
    write_log(url, router, prompts, FULL, times=times)
    return url


def order(work: str, folder: Path, url: str, **body: Any) -> Order:
    packed = msgspec.Raw(msgspec.msgpack.encode(msgspec.convert(body, WORKS[work].body)))
    return Order(work=work, body=packed, database_url=url, files=read_files(folder), now=NOW)


def done(work: str, folder: Path, url: str, **body: Any) -> Any:
    """The result as the caller gets it, and what was told meanwhile."""
    lines = io.BytesIO()
    _Lines(lines).write({"result": run(order(work, folder, url, **body), lambda *_: None)})
    return json.loads(lines.getvalue())["result"]


def candidate(more: str = "") -> dict[str, str]:
    return {"all.yaml": FOLDER.replace("SPORT", "small") + more}


def test_a_replay_without_files_changes_nothing(folder: Path, url: str) -> None:
    found = done("replay", folder, url, days=2.05)
    assert (found["report"]["rows"], found["report"]["changed"], found["replayed"]) == (340, 0, 340)
    assert found["report"]["log"] == "the log of this service"
    assert found["exactness"][0] == "exact: 340 (340 from text)"


def test_a_replay_decides_by_the_files_of_the_caller(folder: Path, url: str) -> None:
    told: list[str] = []
    asked = order("replay", folder, url, days=40, files=candidate())
    report = run(asked, lambda doing, *_: told.append(doing))["report"]
    assert report.rows == 620
    assert report.by_model["large"].left == report.by_model["small"].came > 0
    assert {(move.model_before, move.model_after) for move in report.moves} == {("large", "small")}
    assert list(dict.fromkeys(told))[-1] == "deciding requests"


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "got 0 files"),
        ({f"{n}.yaml": "" for n in range(MAX_FILES + 1)}, f"got {MAX_FILES + 1} files"),
        ({"../all.yaml": FOLDER}, "got the name"),
        ({"/etc/all.yaml": FOLDER}, "got the name"),
        ({"a\\b.yaml": FOLDER}, "got the name"),
        ({".hidden.yaml": FOLDER}, "got the name"),
        ({"all.yaml\0": FOLDER}, "got the name"),
        ({"difficulty.npz": "x"}, "got the name"),
        (candidate("embedder: {model: BAAI/bge-small-en-v1.5}\n"), "their `embedder.model` is"),
        (candidate("embedder: {query_prefix: 'q: '}\n"), "their `embedder.query_prefix` is"),
    ],
)
def test_files_that_may_not_be_used_are_refused(folder: Path, url: str, files: Mapping[str, str], told: str) -> None:
    with pytest.raises(RequestError, match=r"^files: ") as refused:
        run(order("replay", folder, url, files=files), lambda *_: None)
    assert told in str(refused.value)


def test_files_of_the_caller_read_no_variables(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "sk-0123456789")
    files = {"all.yaml": FOLDER.replace("SPORT", "small").replace("name: s,", 'name: "${A_SECRET}",')}
    with pytest.raises(ConfigError, match=r"all\.yaml:4 .*`A_SECRET` is not set"):
        run(order("replay", folder, url, files=files), lambda *_: None)


def test_files_of_the_caller_leave_nothing_on_the_disk(folder: Path, url: str) -> None:
    run(order("replay", folder, url, days=1), lambda *_: None)
    before = sorted(default_folder().iterdir())
    run(order("replay", folder, url, days=1, files=candidate("negatives: [this is new]\n")), lambda *_: None)
    assert sorted(default_folder().iterdir()) == before


def test_threads_of_the_embedder_may_differ(folder: Path, url: str) -> None:
    found = done("replay", folder, url, days=1, files=candidate("embedder: {threads: 1, cached_prompts: 10}\n"))
    assert found["report"]["changed_models"] > 0


def test_each_suggestion_is_a_route_file_of_its_own(folder: Path, url: str) -> None:
    found = done("suggest", folder, url, days=40)
    assert found["read"]["rows"] == 620
    assert found["file"].startswith("# Suggestions of `semroute suggest` from the log of this service.")
    assert found["suggestions"]
    for one in found["suggestions"]:
        assert one["title"]
        assert "# Suggestions" not in one["file"]
        assert one["file"].strip() in found["file"]


def test_too_few_prompts_are_told(folder: Path, url: str) -> None:
    with pytest.raises(RequestError, match="the log of this service: got 0 different prompts in 0 rows"):
        run(order("suggest", folder, url, days=0.0001), lambda *_: None)


def test_drift_is_told_by_window(folder: Path, url: str) -> None:
    found = done("drift", folder, url, windows=3, reference_days=28)
    assert [one["drift"] is not None for one in found["windows"]] == [False, True, True]
    assert found["windows"][-1]["drift"]["moved"]
    assert found["reference"]["rows"] >= 100


def test_an_empty_log_has_no_drift(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="the log of this service has no rows yet"):
        run(order("drift", folder, f"sqlite:///{tmp_path}/none.db"), lambda *_: None)
    assert not (tmp_path / "none.db").exists()


def test_the_process_writes_only_lines_of_json(folder: Path, tmp_path: Path) -> None:
    asked = msgspec.msgpack.encode(order("suggest", folder, f"sqlite:///{tmp_path}/none.db"))
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "semroute.learning.service_jobs"], input=asked, capture_output=True, check=True
    )
    *progress, last = [json.loads(line) for line in ended.stdout.splitlines()]
    assert all(list(line) == ["progress"] for line in progress)
    assert "expected at least 20" in last["error"]
    assert not last["store"]


def test_progress_is_told_at_most_ten_times_a_second() -> None:
    stream, times = io.BytesIO(), iter([0.0, 0.05, 0.09, 0.12, 0.13])
    lines = _Lines(stream, lambda: next(times))
    for number in range(4):
        lines.progress("reading", number, None)
    lines.progress("matching", 0, 9)
    told = [json.loads(line)["progress"] for line in stream.getvalue().splitlines()]
    assert [(one["doing"], one["done"]) for one in told] == [("reading", 0), ("reading", 3), ("matching", 0)]
