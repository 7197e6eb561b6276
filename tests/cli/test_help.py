"""What the commands say of themselves, how soon, and how a shell completes them."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from semroute.cli import commands, experiment_commands, key_commands, learning_commands, trial_commands
from semroute.cli.commands import group
from semroute.evaluation.gain_training import MIN_LABELS
from tests.conftest import ROOT

HEAVY = {"numpy", "faiss", "fastembed", "litestar", "httpx", "aiohttp", "rich", "yaml", "jsonschema", "onnxruntime"}


def declared(of: click.Group = group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command with the words that call it."""
    for name, command in of.commands.items():
        if isinstance(command, click.Group):
            yield from declared(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(declared())


@pytest.mark.parametrize(
    "words", [(), ("eval",), ("serve",), ("route",), ("keys", "create"), ("report",)], ids=" ".join
)
def test_help_imports_no_large_library(words: tuple[str, ...]) -> None:
    script = f"""
import sys
from semroute.cli import main
sys.argv = ["semroute", *{words!r}, "--help"]
try:
    main()
finally:
    print("imported:", *sorted({HEAVY!r} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: semroute")
    assert done.stdout.endswith("imported:\n")


def test_a_start_imports_no_library_that_the_first_answer_does_not_need() -> None:
    script = """
import sys
import semroute.cli.serve
from semroute.api.app import create_app
from semroute.settings import Settings
create_app(Settings())
print(*sorted({"fastembed", "huggingface_hub", "pydantic", "botocore", "redis", "psycopg"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_takes_what_it_declares(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    called = []

    def note(module: str, given: dict[str, object], function: str = "command") -> None:
        inspect.signature(getattr(import_module(f"semroute.cli.{module}"), function)).bind(**given)
        called.append(module)

    for declaring in (commands, experiment_commands, key_commands, learning_commands, trial_commands):
        monkeypatch.setattr(declaring, "run", note)
    callback = COMMANDS[words].callback
    assert callback is not None
    callback(**{parameter.name: None for parameter in COMMANDS[words].params if parameter.name})
    assert called


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_is_told_in_one_sentence_and_its_options_too(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    first, _, _ = (command.help or "").partition("\n")
    assert first.endswith(".")
    assert command.get_short_help_str(60) == first.removesuffix(".") or command.get_short_help_str(60) == first
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or parameter.help, parameter.name


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_an_example_stays_on_its_line_and_a_time_is_shown_as_one(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    epilog = (command.epilog or "").strip()
    told = command.get_help(click.Context(command, terminal_width=80))
    assert all(line in told.splitlines() for line in (f"  {line}" for line in epilog.splitlines()[1:]))
    assert len(f"  {epilog}") < 80 or "\n" in epilog
    assert "%Y" not in told


def test_help_shows_examples_that_parse() -> None:
    """Each example in a help names a command that exists, with options that it takes."""
    shown = {
        line.strip().removeprefix("Example:").split("semroute ", 1)[1].split("  ")[0]
        for _, command in declared()
        for line in (command.epilog or "").splitlines()
        if "semroute " in line
    }
    assert {example.split()[0] for example in shown} >= {"serve", "route", "check", "eval", "tune", "keys", "export"}
    for example in shown:
        words = example.split(" && ")[0].split()
        command: click.Command = group
        while isinstance(command, click.Group):
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known, example


def test_the_least_number_of_labels_is_that_of_train() -> None:
    assert commands.MIN_LABELS == MIN_LABELS


def complete(*words: str, **environ: str) -> set[str]:
    """What bash offers for the last word, with the script that `semroute` gives it."""
    listed = " ".join(f"'{word}'" for word in words)
    script = f"""
eval "$(_SEMROUTE_COMPLETE=bash_source semroute)"
COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}
_semroute_completion "${{COMP_WORDS[0]}}" "${{COMP_WORDS[-1]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path, **environ}, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_bash_completes_commands_options_and_names() -> None:
    assert complete("semroute", "ev") == {"eval"}
    assert complete("semroute", "keys", "r") == {"revoke", "rotate"}
    assert complete("semroute", "route", "--exp") == {"--explain"}
    routes = str(ROOT / "routes")
    assert complete("semroute", "keys", "create", "--route", "cod", SEMROUTE_ROUTES=routes) == {"coding"}
    assert "gpt-luna" in complete("semroute", "route", "--routes", routes, "--model", "gpt-l")
    assert complete("semroute", "route", "--routes", "/nowhere", "--model", "gpt-l") == set()


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_a_script_and_names(shell: str) -> None:
    def ask(instruction: str, **environ: str) -> str:
        environ |= {"_SEMROUTE_COMPLETE": f"{shell}_{instruction}", "COMP_CWORD": "1" if shell == "zsh" else "ev"}
        return subprocess.run(
            [Path(sys.executable).with_name("semroute")],
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
        ).stdout

    assert "_SEMROUTE_COMPLETE" in ask("source")
    assert "eval" in ask("complete", COMP_WORDS="semroute ev")
