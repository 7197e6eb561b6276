"""The house rules, run as tests."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from semroute.stores.connect import open_state
from tests.conftest import ROOT


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
        ["importlinter.cli", "lint"],
    ],
    ids=" ".join,
)
def test_the_code_keeps_the_rules(command: list[str]) -> None:
    module = [sys.executable, "-m", *command]
    if command[0] == "importlinter.cli":
        module = [
            sys.executable,
            "-c",
            "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())",
        ]
    done = subprocess.run(module, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_files_are_short() -> None:
    long = {
        str(file.relative_to(ROOT)): lines
        for file in (ROOT / "semroute").rglob("*.py")
        if (lines := len(file.read_text("utf-8").splitlines())) > 400
    }
    assert not long


def test_no_two_modules_have_one_name() -> None:
    """Only the folders of the dialects have the same files, on purpose."""
    modules = [file for file in (ROOT / "semroute").rglob("*.py") if not file.stem.startswith("__")]
    counts = Counter(file.stem for file in modules if "dialects" not in file.parts)
    assert {name for name, count in counts.items() if count > 1} == set()


def test_the_containerfile_passes_its_linter() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "Containerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("ignore", [".gitignore", ".containerignore"])
def test_what_a_service_leaves_in_a_checkout_is_ignored(ignore: str, tmp_path: Path) -> None:
    async def serve() -> None:
        state = open_state("", f"sqlite:///{tmp_path / 'semroute.db'}")
        await state.start()
        await state.aclose()

    asyncio.run(serve())
    left = {path.name for path in tmp_path.iterdir()} | {".venv", ".venv-newest"}
    assert len(left) > 3
    patterns = [line.rstrip("/") for line in (ROOT / ignore).read_text("utf-8").splitlines()]
    assert not {name for name in left if not any(fnmatch(name, pattern) for pattern in patterns)}
