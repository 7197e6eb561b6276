from __future__ import annotations

from pathlib import Path

import pytest

from semroute.config.load import load
from semroute.evaluation.folder_checks import MeaningFindings, check_meaning
from semroute.evaluation.route_borders import NEAREST, SHOWN

MODELS = """
providers: {here: {dialect: echo}}
models: {small: {provider: here, name: small-1}}
default: {models: [small]}
"""
ROUTES = """routes:
  - name: trains
    utterances:
      - when does the next train to leeds leave
      - is the train from york late
      - book a seat on the train to bristol
      - which platform does my train leave from
      - how much is a return ticket by rail
      - a refrigerator keeps milk cold
"""


def examined(folder: Path, more: str = "", routes: str = ROUTES) -> MeaningFindings:
    (folder / "models.yaml").write_text(MODELS)
    (folder / "routes.yaml").write_text(f"{routes}    models: [small]\n{more}")
    return check_meaning(load(folder, {}))


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> MeaningFindings:
    return examined(tmp_path_factory.mktemp("calibrated"))


def test_a_route_is_tried_on_what_is_nearest_and_not_its_own(calibrated: MeaningFindings) -> None:
    (border,) = calibrated.borders
    assert (border.route, border.tried, border.line) == ("trains", NEAREST, 2)
    assert border.taken < NEAREST / 2
    assert "open-border" not in {problem.code for problem in calibrated.problems}
    assert all(outsider.intent != "travel.train" for outsider in border.outsiders)


def test_the_utterance_that_stands_alone_is_named(calibrated: MeaningFindings) -> None:
    (border,) = calibrated.borders
    assert border.loneliest == "a refrigerator keeps milk cold"
    assert border.loneliest_line == 9


def test_a_route_that_takes_everything_is_told_with_the_nearest_of_each_kind(tmp_path: Path) -> None:
    found = examined(tmp_path, "    threshold: 0\n")
    (border,) = found.borders
    assert border.taken == border.tried == NEAREST
    assert len({outsider.intent for outsider in border.outsiders}) == len(border.outsiders) == SHOWN
    similarities = [outsider.similarity for outsider in border.outsiders]
    assert similarities == sorted(similarities, reverse=True)
    assert all(4 <= outsider.line <= 9 for outsider in border.outsiders)
    (told,) = (problem for problem in found.problems if problem.code == "open-border")
    assert (told.file, told.line, told.severity) == (str(tmp_path / "routes.yaml"), 2, "info")
    assert f'"{border.outsiders[0].text}" (near line {border.outsiders[0].line})' in told.message
    assert "`negatives`" in told.suggestion
    assert '"a refrigerator keeps milk cold" (line 9)' in told.suggestion


def test_negatives_close_the_border(tmp_path: Path) -> None:
    more = ROUTES.replace("a refrigerator keeps milk cold", "my train was cancelled")
    before = examined(tmp_path, routes=more)
    (border,) = before.borders
    assert border.outsiders
    told = "\n".join(f"  - {outsider.text}" for outsider in border.outsiders)
    (closed,) = examined(tmp_path, f"negatives:\n{told}\n", routes=more).borders
    named = {outsider.text for outsider in border.outsiders}
    assert not named & {outsider.text for outsider in closed.outsiders}
    assert closed.taken < border.taken
