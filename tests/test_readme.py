"""What the README shows is what happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import click
import msgspec
from click.testing import CliRunner

from semroute.cli.commands import group
from semroute.config.load import load
from semroute.config.presets import PRESETS
from semroute.config.schema.policies import Difficulty
from semroute.execution import faults
from semroute.messages import ChatRequest, Message, Text
from semroute.router import Router
from semroute.routing.difficulty import WEIGHTS
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


def test_the_strategies_that_are_shown_are_valid_and_apply(tmp_path: Path) -> None:
    shown = re.search(r"<!-- strategies -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert shown
    (tmp_path / "all.yaml").write_text(shown[1])
    router = Router.load(tmp_path, environ={"OPENAI_API_KEY": "sk-key"})
    assert router.route("please send ORDER-123456 back").rule == "refunds"
    metadata = {"retrieval_score": 0.9}
    grounded = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text="hello"),)),), metadata=metadata)
    assert (router.route(grounded).rule, router.route(grounded).plan) == ("grounded", ("small",))
    narrowed = router.route(msgspec.structs.replace(grounded, metadata={}, headers={"x-region": "eu"}))
    assert (narrowed.narrowed_by, "large" in narrowed.rejected) == (("eu",), True)


def test_the_provider_on_bedrock_that_is_shown_can_be_called(tmp_path: Path) -> None:
    shown = re.search(r"<!-- bedrock -->\n```yaml\n(.*?)```", README, re.DOTALL)
    assert shown
    (tmp_path / "all.yaml").write_text(shown[1])
    provider = load(tmp_path, environ={}).providers["aws"]
    assert (provider.unavailable, provider.api_key) == ("", None)
    assert provider.base_url == "https://bedrock-runtime.eu-central-1.amazonaws.com"


def test_the_table_of_complexity_is_the_one_in_use() -> None:
    table = re.search(r"<!-- complexity -->\n(.*?)<!-- /complexity -->", README, re.DOTALL)
    assert table
    rows = re.findall(r"\| `(\w+)` \| ([\d.]+) \|", table[1])
    assert {name: float(weight) for name, weight in rows} == WEIGHTS
    assert (
        f"From {Difficulty().moderate_from:g} it wants the tier `moderate`, from {Difficulty().complex_from:g}"
        in README
    )


def test_the_worked_example_is_what_the_tool_computes(tmp_path: Path) -> None:
    shown = re.search(r"--routes bench/support_routes\n(.*?)```", README, re.DOTALL)
    assert shown
    log = tmp_path / "day.jsonl"
    subprocess.run([sys.executable, "bench/support_day.py", log], cwd=ROOT, check=True)
    command = [sys.executable, "-m", "semroute", "savings", str(log), "--routes", "bench/support_routes"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == shown[1]


def test_the_route_that_is_shown_fits_the_starter_folder_and_the_shipped_one(tmp_path: Path) -> None:
    shown = re.search(r"   ```yaml\n(   # yaml-language-server.*?)   ```", README, re.DOTALL)
    assert shown
    starter, shipped = tmp_path / "starter", tmp_path / "shipped"
    written = CliRunner().invoke(group, ["init", str(starter)])
    assert written.exit_code == 0, written.output
    shutil.copytree(ROOT / "routes", shipped)
    own_ids = {"small": "gpt-luna", "large": "gpt-sol"}
    for folder, ids in ((starter, {}), (shipped, own_ids)):
        text = textwrap.dedent(shown[1])
        for id_, other in ids.items():
            text = text.replace(id_, other)
        (folder / "shipping.yaml").write_text(text)
        checked = CliRunner().invoke(group, ["check", str(folder), "--no-embed"])
        assert checked.exit_code == 0, checked.output
