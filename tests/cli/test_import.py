from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.config.test_import_semantic_router import NEW, OLD

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
    done = semroute("import", file, "--output", folder)
    assert (done.returncode, done.stdout.split(" to ")[0]) == (0, "wrote 1 route"), done.stdout
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


def test_a_file_called_models_stands_beside_the_models(semroute: Run, tmp_path: Path) -> None:
    (tmp_path / "models.JSON").write_text(json.dumps(OLD), "utf-8-sig")
    folder = tmp_path / "routes"
    done = semroute("import", tmp_path / "models.JSON", "--output", folder)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["models.yaml", "routes.yaml", "schema.json"]
    assert semroute("check", folder, "--no-embed").returncode == 0


def test_what_would_break_the_folder_is_not_written(semroute: Run, file: Path) -> None:
    folder = file.parent / "routes"
    assert semroute("init", folder).returncode == 0
    before = sorted(folder.iterdir())
    done = semroute("import", file, "--output", folder, "--model", "nope")
    assert done.returncode == 1
    assert f"{folder}/layer.yaml:" in done.stderr
    assert 'got "nope", expected one of `models` (`large`, `small`)' in done.stderr
    assert sorted(folder.iterdir()) == before
    done = semroute("import", file, "--output", "/dev/null/x")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["/dev/null/x: Not a directory"]


def test_names_and_texts_that_yaml_or_routes_cannot_hold(semroute: Run, tmp_path: Path) -> None:
    long = "x" * 300
    routes = [{"name": f"{long}{end}", "utterances": [f"\ud83d bad {end}"]} for end in "ab"]
    (tmp_path / "long.json").write_text(json.dumps({"routes": routes}))
    folder = tmp_path / "routes"
    done = semroute("import", tmp_path / "long.json", "--output", folder)
    assert done.returncode == 0, done.stderr
    shown = (folder / "long.yaml").read_text("utf-8")
    assert "\N{REPLACEMENT CHARACTER} bad a" in shown
    assert f'name: "{"x" * 128}"' in shown
    assert f'name: "{"x" * 126}-2"' in shown
    assert semroute("check", folder, "--no-embed").returncode == 0
