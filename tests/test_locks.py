"""What the locks hold is what pyproject.toml asks for, and nothing of the machine that made them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
CONTAINER = ["postgres", "redis", "bedrock", "otel", "redact"]
LOCKS = {"base": [], "container": CONTAINER, "test": ["test"], "docs": ["docs"], "clients": ["test", "clients"]}
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


FOREIGN = ROOT / "tests" / "clients" / "locked"
"""The locks of other people's clients, each with what it was made from."""
GROUPS = sorted(file.stem for file in FOREIGN.glob("*.in"))


def text_of(lock: str) -> str:
    folder = FOREIGN if lock in GROUPS else ROOT / "locks"
    return (folder / f"{lock}.txt").read_text("utf-8")


def pins(lock: str) -> dict[str, set[str]]:
    """The versions of each package; several where they depend on the Python or the system."""
    versions: dict[str, set[str]] = {}
    for name, version in PIN.findall(text_of(lock)):
        versions.setdefault(name, set()).add(version)
    return versions


def asked_for(extras: list[str]) -> Iterator[Requirement]:
    """The direct dependencies, with those of extras, and of the extras that these name."""
    yield from map(Requirement, PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["build"])
    for extra in extras:
        for requirement in map(Requirement, EXTRAS[extra]):
            if requirement.name == PROJECT["project"]["name"]:
                yield from asked_for(sorted(requirement.extras))
            else:
                yield requirement


def wanted(lock: str) -> Iterator[Requirement]:
    if lock in LOCKS:
        return asked_for(LOCKS[lock])
    lines = (FOREIGN / f"{lock}.in").read_text("utf-8").splitlines()
    return (Requirement(line) for line in lines if not line.startswith("#"))


@pytest.mark.parametrize("lock", [*LOCKS, *GROUPS])
def test_a_lock_holds_what_is_asked_for(lock: str) -> None:
    locked = pins(lock)
    for requirement in wanted(lock):
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"locks/{lock}.txt lacks {requirement.name}: run locks/renew"
        wrong = [version for version in versions if version not in requirement.specifier]
        assert not wrong, f"locks/{lock}.txt: got {requirement.name} {wrong}, expected {requirement}: run locks/renew"


@pytest.mark.parametrize("lock", [*LOCKS, *GROUPS])
def test_a_lock_has_hashes_and_no_places(lock: str) -> None:
    """No index, address or folder: whoever installs from it says where from."""
    entry = r"[a-z0-9-]+==[^\s;/]+( ; [^/]+)?( \\\n    --hash=sha256:[0-9a-f]{64})+\n"
    assert re.fullmatch(rf"(#.*\n)+({entry})+", text_of(lock))


@pytest.mark.parametrize("lock", ["base", "container"])
def test_what_is_tested_is_what_is_installed(lock: str) -> None:
    tested = pins("test")
    assert {name: versions for name, versions in pins(lock).items() if tested.get(name) != versions} == {}
