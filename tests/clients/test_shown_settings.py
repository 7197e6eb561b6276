"""The settings of frameworks that the docs show give an answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.clients import needed
from tests.conftest import ROOT
from tests.docs.shown import HOST, Block, programs, run
from tests.service import Service

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def echo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with Service(ROOT / "routes", tmp_path_factory.mktemp("echo") / "log", "--echo") as running:
        yield running


@pytest.mark.parametrize("block", [block for block in programs() if block.mark], ids=str)
def test_a_framework_gets_an_answer_with_the_settings_that_are_shown(block: Block, echo: Service) -> None:
    needed.module(block.mark.removeprefix("client: "))
    text = block.text.replace(f"http://{HOST}", echo.url)
    assert "[echo of" in run([sys.executable, "-"], ROOT, f"{text}\nprint(answer)\n")
