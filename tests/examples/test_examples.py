"""Each example runs as its README says, prints what its README shows, and has route files without a fault."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from examples.ab_test.__main__ import ARMS, arm_of, lay_out
from semroute.cli.commands import group
from tests.conftest import ROOT

SHOWN = re.compile(r"```sh\n(python .*)\n```\n\nIt prints:\n\n```text\n(.*?)```", re.DOTALL)
FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/__main__.py"))
NAMES = [folder.name for folder in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_an_example_prints_what_its_readme_shows(folder: Path) -> None:
    shown = SHOWN.search((folder / "README.md").read_text("utf-8"))
    assert shown
    _, *arguments = shlex.split(shown[1])
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == shown[2]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "ab_test"])
def test_the_route_files_of_an_example_are_clean(name: str) -> None:
    checked = CliRunner().invoke(group, ["check", "--strict", str(ROOT / "examples" / name)])
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize("arm", ARMS)
def test_both_arms_are_clean(arm: str, tmp_path: Path) -> None:
    checked = CliRunner().invoke(group, ["check", "--strict", str(lay_out(arm, tmp_path))])
    assert checked.exit_code == 0, checked.output


def test_a_user_stays_in_one_arm_and_the_arms_are_of_like_size() -> None:
    users = [f"user-{number}" for number in range(2000)]
    arms = [arm_of(user) for user in users]
    assert arms == [arm_of(user) for user in users]
    assert 900 < arms.count("a") < 1100


def test_the_table_lists_every_example_and_its_command() -> None:
    table = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert len(NAMES) >= 6
    assert set(re.findall(r"`python -m examples\.(\w+)`", table)) == set(NAMES)
    assert set(re.findall(r"\]\((\w+)/README\.md\)", table)) == set(NAMES)


def test_the_wheel_leaves_the_examples_out_and_the_source_archive_takes_them() -> None:
    targets = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]
    assert targets["wheel"]["packages"] == ["semroute"]
    assert not any("examples" in source for source in targets["wheel"]["force-include"])
    assert {"examples", "tests"} <= set(targets["sdist"]["include"])
