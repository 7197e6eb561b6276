"""Every package that is imported is declared where it is needed."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
OURS = {"semroute", "tests", "bench", "examples"}
LATER = {"compression"}
"""What only later Pythons have in their standard library."""
SERVICE = [extra for extra in EXTRAS if extra not in ("test", "clients", "bench")]

SCRIPTS = ROOT / "tests/clients/scripts"
"""These run in environments of their own."""


def imported(folder: str) -> dict[str, Path]:
    """The packages that files import, each with one of them."""
    found: dict[str, Path] = {}
    for file in sorted((ROOT / folder).rglob("*.py")):
        if file.is_relative_to(SCRIPTS):
            continue
        for name in _names(ast.parse(file.read_text("utf-8"))):
            found.setdefault(name, file.relative_to(ROOT))
    return {name: file for name, file in found.items() if name not in sys.stdlib_module_names | OURS | LATER}


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def declared(*extras: str) -> set[str]:
    """The distributions that come with the dependencies and these extras."""
    names: set[str] = set()
    for text in [*PROJECT["dependencies"], *(line for extra in extras for line in EXTRAS[extra])]:
        requirement = Requirement(text)
        if requirement.name == PROJECT["name"]:
            names |= declared(*requirement.extras)
        else:
            names.add(canonicalize_name(requirement.name))
    return names


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("semroute", SERVICE), ("examples", []), ("tests", ["test", "clients"]), ("bench", ["test", "bench"])],
    ids=["semroute", "examples", "tests", "bench"],
)
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    by_package = packages_distributions()
    known = declared(*extras)
    missing = {
        package: str(file)
        for package, file in imported(folder).items()
        # A package that is not installed is looked up by its own name, which most distributions share.
        if not known & {canonicalize_name(name) for name in by_package.get(package, [package])}
    }
    assert not missing, f"pyproject.toml does not declare what {folder} imports: {missing}"


def test_why_no_library_is_used_can_be_measured_again() -> None:
    """Where a module says what a library costs, it names the comparison; of `links` the library was taken."""
    texts = [file.read_text("utf-8") for file in (ROOT / "semroute").rglob("*.py")]
    named = {name for text in texts for name in re.findall(r"`bench/libraries\.py (\w+)`", text)}
    compared = re.findall(r'^    "(\w+)": Case\(', (ROOT / "bench/libraries.py").read_text("utf-8"), re.MULTILINE)
    assert named == set(compared) - {"links"}
