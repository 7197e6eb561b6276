"""The clients that people use see the same through semroute as at a provider, or better, which their pages say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.clients import installed
from tests.clients.compared import problems
from tests.clients.differences import KNOWN, Place
from tests.clients.theatre import PROVIDERS, SCRIPTS, Theatre, drive, open_theatre
from tests.conftest import ROOT

pytestmark = pytest.mark.clients
FEW = ("direct", "anthropic")
"""The runs in which every client plays the 429 and the unknown model."""
DOCS = ROOT / "docs" / "pages" / "clients"


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with open_theatre(tmp_path_factory.mktemp("theatre")) as opened:
        yield opened


@pytest.mark.parametrize("client", installed.CLIENTS)
def test_a_client_sees_the_same_through_semroute_or_better(theatre: Theatre, client: str) -> None:
    missing = [name for name in installed.needed(client) if not installed.ready(name)]
    if missing:
        pytest.skip(f"{client} is not installed, for want of {missing}: python -m tests.clients.installed")
    seen, printed = drive(theatre, client)
    assert {run for _, run, _ in seen} == {"direct", *PROVIDERS}, printed[-4000:]
    failing = {(wire, run, "break") for wire, run, _ in seen}
    failing |= {(wire, run, scene) for wire, _, _ in seen for run in FEW for scene in ("limited", "unknown")}
    assert failing <= seen.keys(), f"not played: {failing - seen.keys()}"
    found = {Place(client, *place): wrong for place, wrong in problems(seen).items()}
    unexpected = {place: wrong for place, wrong in found.items() if not any(map(place.within, KNOWN))}
    assert not unexpected, "\n".join(f"{place}: {wrong}" for place, wrong in unexpected.items())
    gone = [place for place in KNOWN if place.client == client and not any(other.within(place) for other in found)]
    assert not gone, "these differences are no more; tell the docs"


@pytest.mark.parametrize("client", installed.CLIENTS)
def test_the_page_of_a_client_shows_what_the_tests_set(client: str) -> None:
    """Its settings stand in the script that drives it, and what differs stands in the page."""
    page = (DOCS / f"{client}.md").read_text("utf-8")
    script = _squeezed(next(SCRIPTS.glob(f"with_{client}.*")).read_text("utf-8"))
    shown = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)
    assert shown
    for settings in shown:
        for part in settings.split("\n\n"):
            assert _squeezed(part) in script, part
    for place, sentence in KNOWN.items():
        assert place.client != client or _squeezed(sentence) in _squeezed(page), sentence


def _squeezed(text: str) -> str:
    return " ".join(text.split())


def test_the_packages_of_node_are_locked_and_say_no_place() -> None:
    lock = json.loads((installed.LOCKED / "package-lock.json").read_text("utf-8"))
    asked = json.loads((installed.LOCKED / "package.json").read_text("utf-8"))["dependencies"]
    assert all(re.fullmatch(r"[0-9.]+", version) for version in asked.values())
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert {name: packages[f"node_modules/{name}"]["version"] for name in asked} == asked
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if not package.keys() & {"integrity", "inBundle"}] == []
