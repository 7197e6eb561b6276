"""The prompts by which `bench/asks.py` judges."""

from __future__ import annotations

import pytest
import yaml

from bench.asks import HALVES, LONG_CHARS, ROOT, SHAPES, cases, fits, plain, read


def test_nothing_of_the_half_that_is_reported_is_in_the_half_that_settings_are_chosen_on() -> None:
    dev, held = (read(half) for half in HALVES)
    for key in ("asks", "materials", "distractors", "wrappers", "follow_ups", "changes", "several"):
        assert not _texts(dev[key]) & _texts(held[key]), key


def _texts(data: object) -> set[str]:
    """All sentences and programs in a part of the data."""
    if isinstance(data, str):
        return {data} if len(data) > 25 else set()
    parts = list(data.values()) if isinstance(data, dict) else data if isinstance(data, list) else []
    return set().union(*map(_texts, parts))


@pytest.mark.parametrize("half", HALVES)
def test_the_prompts_are_of_every_kind_and_always_the_same(half: str) -> None:
    data, made = read(half), list(cases(half))
    assert made == list(cases(half))
    assert len(data["asks"]) >= 12 and len(data["materials"]) >= 15
    assert {case.shape for case in made if case.group == "material"} == set(SHAPES)
    routes = {path.stem for path in (ROOT / "routes").glob("*.yaml")}
    assert {route for case in made for route in case.routes} <= routes
    assert all(len(case.messages[-1]["content"]) > LONG_CHARS for case in made if case.group == "long")
    assert all(any(fits(ask, one) for one in data["materials"].values()) for ask in data["asks"].values())


def test_no_prompt_is_an_utterance_of_a_route() -> None:
    files = [yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / "routes").glob("*.yaml")]
    utterances = {text for file in files for route in file.get("routes", ()) for text in route["utterances"]}
    for case in (case for half in HALVES for case in cases(half) if case.group in ("material", "alone")):
        assert case.messages[-1]["content"] not in utterances
    assert len(plain()) > 150
