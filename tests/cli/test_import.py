from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.test_semantic_router import NEW, OLD

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "layer.json").write_text(json.dumps(OLD))
    return tmp_path / "layer.json"


def test_without_a_folder_it_is_printed(semroute: Run, file: Path) -> None:
    done = semroute("import", file, "--model", "m1", "--model", "m2")
    assert done.returncode == 0, done.stderr
    assert 'models: ["m1", "m2"]' in done.stdout
    assert [path.name for path in file.parent.iterdir()] == ["layer.json"]


def test_a_new_folder_can_be_used_at_once(semroute: Run, file: Path) -> None:
    folder = file.parent / "routes"
    assert semroute("import", file, "--output", folder).returncode == 0
    assert semroute("check", folder, "--no-embed").returncode == 0
    assert semroute("import", file, "--output", folder).returncode == 2
    assert semroute("import", file, "--output", folder, "--force").returncode == 0
    decision = json.loads(semroute("route", "they will save the country", "--routes", folder, "--json").stdout)
    assert decision["candidates"][0]["route"] == "politics"


def test_a_folder_that_is_there_gets_a_file_more(semroute: Run, file: Path, tmp_path: Path) -> None:
    folder = file.parent / "routes"
    assert semroute("init", folder).returncode == 0
    other = tmp_path / "new.json"
    other.write_text(json.dumps(NEW))
    assert semroute("import", other, "--output", folder).returncode == 0
    assert 'models: ["large"]' in (folder / "new.yaml").read_text("utf-8")
    assert semroute("check", folder, "--no-embed").returncode == 0


def test_what_is_wrong_is_told(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    done = semroute("import", tmp_path / "x.json")
    assert done.returncode == 1
    assert "cannot be read" in done.stderr
