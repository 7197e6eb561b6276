"""What is wrong with a judge or a shadow is told when the files are read."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from semroute.config.load import read_to_check
from semroute.config.schema.trial_settings import CandidateFolder, TrialScope
from tests.config.reading import ROUTE, Read, sound

MODELS = """
providers: {echo: {dialect: echo}}
models: {small: {provider: echo, name: x}}
default: {models: [small]}
"""


def told(read_files: Read, text: str) -> list[str]:
    _, problems = read_files(x=ROUTE + text)
    return [f"{p.severity}: {p.path}: {p.message}" for p in problems]


def test_a_judge_and_a_shadow_are_off_unless_written(read_files: Read) -> None:
    config = sound(read_files(x=ROUTE))
    assert (config.judge, config.shadow) == (None, None)


def test_what_is_not_written_has_a_default(read_files: Read) -> None:
    config = sound(read_files(x=f"{ROUTE}judge: {{model: large}}\nshadow: {{to: {{routes: ../next}}}}\n"))
    assert config.judge is not None and config.shadow is not None
    assert (config.judge.share, config.judge.pairwise, config.judge.budget_usd_per_day) == (0.05, None, Decimal(1))
    assert (config.shadow.to, config.shadow.only) == (CandidateFolder(routes="../next"), TrialScope())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("judge: {model: larg}", 'error: $.judge.model: got "larg", expected one of `models` (`large`, `small`)'),
        ("judge: {model: large, pairwise: smal}", 'error: $.judge.pairwise: got "smal", expected one of `models`'),
        ("judge: {model: large, pairwise: shadow}", "error: $.judge.pairwise: got shadow, but there is no shadow"),
        ("judge: {model: large, pairwise: large}", 'warning: $.judge.pairwise: got "large", which is the judge'),
        ("judge: {model: large, share: 5}", "error: $.judge.share: got 5, expected a number from 0 to 1"),
        ("judge: {model: large, share: 0}", "warning: $.judge.share: got 0, so there is no judge"),
        ("judge: {model: large, rubric: ''}", 'error: $.judge.rubric: got "", expected a string that is not empty'),
        ("judge: {model: large, budget_usd_per_day: -1}", "error: $.judge.budget_usd_per_day: got -1, expected"),
        ("judge: {model: large, budget_usd_per_day: 0}", "warning: $.judge.budget_usd_per_day: got 0, so there is no"),
        ("judge: {model: large, only: {routes: [bill]}}", 'error: $.judge.only.routes[0]: got "bill", expected one of'),
        ("judge: {model: large, only: {tiers: [cheap]}}", 'error: $.judge.only.tiers[0]: got "cheap", expected one of'),
        ("judge: {share: 0.1}", "error: $.judge: `model` is missing"),
        ("shadow: {to: larg}", 'error: $.shadow.to: got "larg", expected one of `models` (`large`, `small`)'),
        ("shadow: {to: {routes: ''}}", 'error: $.shadow.to.routes: got "", expected a string that is not empty'),
        ("shadow: {to: large, budget_usd_per_day: .nan}", "error: $.shadow.budget_usd_per_day: got .nan, expected"),
        ("shadow: {to: large, only: {routes: [bill]}}", 'error: $.shadow.only.routes[0]: got "bill", expected one of'),
        ("shadow: {share: 0.1}", "error: $.shadow: `to` is missing"),
    ],
)
def test_a_mistake_is_told_once_with_its_place(read_files: Read, text: str, problem: str) -> None:
    [found] = told(read_files, text)
    assert found.startswith(problem), found


def test_a_path_where_a_model_is_expected_is_told_how_to_write_a_folder(read_files: Read) -> None:
    assert told(read_files, "shadow: {to: ../next}")[0].endswith("write `to: {routes: FOLDER}`")


def test_a_judge_of_the_shadow_needs_a_shadow(read_files: Read) -> None:
    assert told(read_files, "judge: {model: small, pairwise: shadow}\nshadow: {to: large}\n") == []
    [broken] = told(read_files, "judge: {model: small, pairwise: shadow}\nshadow: [large]\n")
    assert broken.startswith("error: $.shadow: ")


def test_a_folder_of_a_shadow_that_cannot_be_used_is_a_warning(tmp_path: Path) -> None:
    served, candidate = tmp_path / "routes", tmp_path / "next"
    served.mkdir()
    (served / "a.yaml").write_text(f"{ROUTE}{MODELS}shadow: {{to: {{routes: ../next}}}}\n")

    def said() -> list[str]:
        checked = read_to_check(served, {})
        assert checked.config is not None, "the service starts all the same"
        return [str(problem) for problem in checked.problems if problem.code == "unusable-folder"]

    [missing] = said()
    assert '$.shadow.to.routes: got "../next", which cannot be used, so the shadow decides nothing' in missing
    assert "no such folder" in missing and "a.yaml:" in missing
    candidate.mkdir()
    (candidate / "b.yaml").write_text(f"{ROUTE}{MODELS}".replace("echo, n", "nobody, n"))
    [broken] = said()
    assert "b.yaml:" in broken
    (candidate / "b.yaml").write_text(f"{ROUTE}{MODELS}")
    assert said() == []
