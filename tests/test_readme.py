"""What the README shows is what happens."""

from __future__ import annotations

import re
import subprocess
import sys

import click

from semroute.cli.main import group
from semroute.config.presets import PRESETS
from semroute.execution import faults
from semroute.settings import Settings, variable
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def test_the_ten_lines_print_what_is_shown() -> None:
    match = re.search(r"```python\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", README, re.DOTALL)
    assert match
    done = subprocess.run([sys.executable, "-c", match[1]], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == match[2]


def test_every_command_is_in_the_reference() -> None:
    context = click.Context(group)
    assert all(f"| `semroute {name}" in README for name in group.list_commands(context))


def test_every_setting_is_in_the_reference() -> None:
    assert all(f"`{variable(name)}`" in README for name in Settings.__struct_fields__)


def test_every_preset_is_named() -> None:
    assert all(f"`{name}`" in README for name in PRESETS)


def test_ci_runs_the_commands_that_are_shown() -> None:
    shown = re.findall(r"```sh\n(python3 -m venv .*|pip install .*)\n```", README)
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert len(shown) == 2
    assert all(command in script for command in shown)


def test_the_table_of_faults_is_the_one_in_use() -> None:
    assert f"<!-- faults -->\n{faults.markdown()}<!-- /faults -->" in README
