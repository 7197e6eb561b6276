"""`semroute prices` against real files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
MODELS = """\
providers:
  openai: {base_url: https://api.openai.com/v1, api_key: "${NO_SUCH_KEY:-}"}
models:
  a: {provider: openai, name: gpt-9, input_price: 3, output_price: 8}   # of May
default: {models: [a]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "routes").mkdir()
    (tmp_path / "routes" / "models.yaml").write_bytes(MODELS.encode("utf-8-sig"))
    price = {"litellm_provider": "openai", "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06}
    (tmp_path / "list.json").write_text(json.dumps({"gpt-9": price}))
    return tmp_path / "routes"


def test_prices_are_shown(semroute: Run, folder: Path) -> None:
    done = semroute("prices", "--routes", folder)
    assert done.returncode == 0 and "3.00" in done.stdout and "8.00" in done.stdout
    shown = json.loads(semroute("prices", "--routes", folder, "--json").stdout)
    assert (shown["a"]["input_price"], shown["a"]["cached_input_price"]) == (3, None)


def test_nothing_is_written_without_a_yes(semroute: Run, folder: Path) -> None:
    for options in ([], ["--dry-run"], ["--dry-run", "--yes"], ["--json"]):
        done = semroute("prices", "--routes", folder, "--update", folder.parent / "list.json", *options)
        assert done.returncode == 0, done.stderr
        assert (folder / "models.yaml").read_bytes() == MODELS.encode("utf-8-sig")
    assert json.loads(done.stdout)["written"] == []
    done = semroute("prices", "--routes", folder, "--update", folder.parent / "list.json")
    assert "1 price differs" in done.stdout and "-33%" in done.stdout and "models.yaml:4" in done.stdout
    assert "`--yes` writes without a question" in done.stdout


def test_with_yes_the_file_is_written_and_nothing_else_changes(semroute: Run, folder: Path) -> None:
    (folder / "models.yaml").chmod(0o640)
    done = semroute("prices", "--routes", folder, "--update", folder.parent / "list.json", "--yes", "--json")
    assert json.loads(done.stdout)["written"] == [str(folder / "models.yaml")]
    new = MODELS.replace("input_price: 3", "input_price: 2.00")
    assert (folder / "models.yaml").read_bytes() == new.encode("utf-8-sig")
    assert (folder / "models.yaml").stat().st_mode & 0o777 == 0o640
    assert [file.name for file in folder.iterdir()] == ["models.yaml"]
    again = semroute("prices", "--routes", folder, "--update", folder.parent / "list.json")
    assert "0 prices differ" in again.stdout and "1 model as listed" in again.stdout


def test_a_link_stays_a_link(semroute: Run, folder: Path) -> None:
    elsewhere = folder.parent / "shared.yaml"
    (folder / "models.yaml").rename(elsewhere)
    (folder / "models.yaml").symlink_to(elsewhere)
    semroute("prices", "--routes", folder, "--update", folder.parent / "list.json", "--yes")
    assert (folder / "models.yaml").is_symlink() and "input_price: 2.00" in elsewhere.read_text("utf-8-sig")


def test_a_file_that_is_no_list_is_refused(semroute: Run, folder: Path) -> None:
    done = semroute("prices", "--routes", folder, "--update", folder / "models.yaml", "--yes")
    assert done.returncode == 1 and "expected a JSON object" in done.stderr.replace("\n", " ")
