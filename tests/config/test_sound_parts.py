"""What further checks see of a folder in which something is wrong."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from semroute.config.config import Config, WrittenAt
from semroute.config.load import CheckedFolder, read_to_check
from semroute.config.problems import nameless

MODELS = """
providers: {here: {dialect: echo}, there: {dialect: echo}}
models: {small: {provider: here, name: s, input_price: 0}, large: {provider: there, name: l, input_price: 0}}
default: {models: [small]}
"""
BILLING = """
routes:
  - name: billing
    utterances:
      - where is my refund
      - I was charged twice
      - send me the invoice
      - cancel my plan
      - my card was declined
    models: [small]
"""
WEATHER = """
  - name: weather
    utterances:
      - will it rain
      - is it cold outside
      - how hot will it be
      - is a storm coming
      - do I need a coat
    models: [large]
"""

Check = Callable[..., CheckedFolder]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def write(routes: str = BILLING + WEATHER, models: str = MODELS, **more: str) -> CheckedFolder:
        for name, text in {"models": models, "routes": routes, **more}.items():
            (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
        return read_to_check(tmp_path, {}, today=datetime.date(2026, 11, 30))

    return write


def _texts(config: Config | None) -> dict[str, tuple[str, ...]]:
    assert config is not None
    return {route.name: route.utterances for route in config.routes.values()}


def _line(source: WrittenAt) -> str:
    return Path(source.file).read_text("utf-8").splitlines()[source.line - 1]


def _assert_places(config: Config) -> None:
    """Each text is found where its source says."""
    for route in config.routes.values():
        for index, text in enumerate(route.utterances):
            assert text in _line(config.sources[f"routes.{route.name}.utterances[{index}]"])
        assert f"routes.{route.name}.utterances[{len(route.utterances)}]" not in config.sources
    keys = nameless(config.sources, "negatives")
    assert len(keys) == len(config.negatives)
    assert all(text in _line(config.sources[key]) for key, text in zip(keys, config.negatives, strict=True))


def test_a_folder_without_errors_is_seen_whole(check: Check) -> None:
    problems, config, sound = check()
    assert not problems
    assert config is not None
    assert sound is config


@pytest.mark.parametrize(
    ("right", "wrong", "lost"),
    [
        ("- I was charged twice", "- why: this", {"I was charged twice"}),
        ("- I was charged twice", "- 5", {"I was charged twice"}),
        ("- I was charged twice", '- " "', {"I was charged twice"}),
        ("- I was charged twice", "- [one, two]", {"I was charged twice"}),
        ("- I was charged twice", "- !secret twice", {"I was charged twice"}),
        ("- is it cold outside", "- where IS  my refund", {"is it cold outside"}),
        ("models: [large]", "models: [largest]", set()),
        ("models: [large]", "models: large", set()),
        ("models: [large]", "", set()),
        ("models: [large]", "models: [large]\n    threshold: 7", set()),
        ("models: [large]", "models: [large]\n    thresold: 0.7", set()),
        ("models: [large]", "models: [large]\n    policy: {select: nicest}", set()),
        ("- name: weather", "- name: the weather", set()),
    ],
)
def test_what_an_error_names_is_left_out_and_no_more(check: Check, right: str, wrong: str, lost: set[str]) -> None:
    whole = _texts(check().config)
    problems, config, sound = check((BILLING + WEATHER).replace(right, wrong))
    assert config is None
    assert any(problem.severity == "error" for problem in problems)
    assert sound is not None
    left = [text for texts in _texts(sound).values() for text in texts]
    assert left == [text for texts in whole.values() for text in texts if text not in lost]
    _assert_places(sound)


def test_a_route_that_cannot_be_read_hides_no_other(check: Check) -> None:
    problems, _, sound = check(BILLING + "  - just text\n  - name: empty\n    models: [small]\n" + WEATHER.lstrip("\n"))
    assert {problem.line for problem in problems if problem.severity == "error"} == {11, 12}
    assert list(_texts(sound)) == ["billing", "weather"]


def test_a_file_that_is_not_yaml_hides_no_other_file(check: Check) -> None:
    assert list(_texts(check(BILLING, more="routes:\n  - name: [").sound)) == ["billing"]


def test_negatives_keep_their_places(check: Check) -> None:
    sound = check(negatives="negatives:\n- tell me a joke\n- 5\n- ' '\n- sing a song\n").sound
    assert sound is not None
    assert sound.negatives == ("tell me a joke", "sing a song")
    _assert_places(sound)


def test_models_are_left_out_with_their_provider(check: Check) -> None:
    models = MODELS.replace("there: {dialect: echo}", "there: {dialect: openai, base_url: ftp://x}")
    sound = check(models=models + "baseline: large\n").sound
    assert sound is not None
    assert list(sound.models) == ["small"]
    assert check(models=MODELS.replace("dialect: echo", "dialect: ecko")).sound is not None


def test_no_default_hides_no_route(check: Check) -> None:
    problems, config, sound = check(models="\n".join(MODELS.splitlines()[:-1]))
    assert config is None
    assert ["no `default`" in problem.message for problem in problems] == [True]
    assert list(_texts(sound)) == ["billing", "weather"]


@pytest.mark.parametrize("wrong", ["embedder: {modle: x}", "embedder: 5", "embedder: {threads: many}"])
def test_without_a_known_embedder_nothing_is_compared(check: Check, wrong: str) -> None:
    assert check(models=MODELS + wrong + "\n").sound is None


def test_without_a_route_nothing_is_compared(check: Check) -> None:
    assert check("routes:\n  - just text\n").sound is None
