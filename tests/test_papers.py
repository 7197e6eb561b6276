"""What stands beside the code: links, tasks, hooks, the workflow and the changelog."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import semroute
from tests.conftest import ROOT

PAPERS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")]
PAPERS += sorted((ROOT / "examples").rglob("*.md"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text("utf-8")
SECTIONS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Those of Keep a Changelog."""


def read_yaml(name: str) -> dict[Any, Any]:
    found: dict[Any, Any] = yaml.safe_load((ROOT / name).read_text("utf-8"))
    return found


@pytest.mark.parametrize("paper", PAPERS, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_a_link_leads_to_a_file_that_is_there(paper: Path) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)[^)]*\)", paper.read_text("utf-8"))
    assert [link for link in links if not (paper.parent / link).exists()] == []


PAGES = sorted((ROOT / "docs/pages").rglob("*.md")) + sorted((ROOT / "semroute").rglob("*.md"))


@pytest.mark.parametrize("paper", PAPERS + PAGES, ids=lambda paper: str(paper.relative_to(ROOT)))
def test_a_file_of_the_code_that_is_named_is_there(paper: Path) -> None:
    named = re.findall(r"`((?:semroute|tests|bench|deploy|locks)/[\w./-]+)`", paper.read_text("utf-8"))
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_architecture_lists_the_layers_that_the_import_rules_have() -> None:
    page = (ROOT / "docs/pages/architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page[page.index("## Layers") :], flags=re.MULTILINE)
    rules = configparser.ConfigParser()
    rules.read(ROOT / ".importlinter")
    layers = rules["importlinter:contract:floors"]["layers"]
    assert re.findall(r"\w+", " ".join(rows)) == re.findall(r"\w+", layers)


def test_contributing_tells_of_the_tasks_that_there_are() -> None:
    tasks = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["poe"]["tasks"]
    told = set(re.findall(r"^\| `poe (\w+)`", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE))
    assert told == set(tasks) == {"check", "test", "docs", "lock"}


def test_tasks_use_the_environment_that_is_active() -> None:
    """By itself, poe prefers a folder `.venv`."""
    poe = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["poe"]
    assert poe["executor"] == {"type": "simple"}
    assert "the environment that is active" in (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_hooks_use_the_tools_that_are_installed() -> None:
    (repository,) = read_yaml(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    assert {hook["language"] for hook in repository["hooks"]} == {"system"}
    tools = {hook["entry"].split()[0] for hook in repository["hooks"]}
    assert tools == {"ruff", "mypy", "lint-imports"}


def test_the_workflow_runs_what_everybody_runs_and_may_change_nothing() -> None:
    workflow = read_yaml(".github/workflows/ci.yml")
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    assert [step["run"] for step in steps if step.get("run") == ".ci/run"] == [".ci/run"]
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action in used)


def test_the_changelog_has_releases_by_date_and_the_sections_of_its_format() -> None:
    releases = re.findall(r"^## \[(\S+)\](?: - (\d{4}-\d{2}-\d{2}))?$", CHANGELOG, re.MULTILINE)
    assert len(releases) == CHANGELOG.count("\n## ")
    assert releases[0] == ("Unreleased", "")
    assert releases[1][0] == semroute.__version__
    assert all(date for _, date in releases[1:])
    assert set(re.findall(r"^### (.+)$", CHANGELOG, re.MULTILINE)) <= SECTIONS


def test_the_first_release_tells_of_no_fault_that_no_release_had() -> None:
    first = CHANGELOG.rpartition("\n## [0.1.0]")[2]
    assert len(first.splitlines()) <= 150
    assert re.findall(r"^### (.+)$", first, re.MULTILINE) == ["Added", "Security"]
