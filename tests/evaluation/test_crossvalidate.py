from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from semroute import Router
from semroute.errors import RequestError
from semroute.evaluation.crossvalidate import assign, cross_validate, leave_out

MODELS = "providers: {here: {dialect: echo}}\nmodels: {m: {provider: here, name: m}}\ndefault: {models: [m]}\n"
ROUTES = """
routes:
  - {name: weather, models: [m], utterances: [will it rain tomorrow, will it snow tomorrow, is rain expected tomorrow,
     will there be rain this evening, does it rain tomorrow]}
  - {name: cooking, models: [m], utterances: [how do I bake bread, how do I bake a bread roll, how is bread baked]}
  - {name: lonely, models: [m], utterances: [open the garage]}
"""


def load(folder: Path, routes: str = ROUTES) -> Router:
    (folder / "models.yaml").write_text(MODELS)
    (folder / "routes.yaml").write_text(routes)
    return Router.load(folder)


def test_every_utterance_is_held_out_once(tmp_path: Path) -> None:
    router = load(tmp_path)
    outcomes = cross_validate(router, 3)
    held_out = {u for name in ("weather", "cooking") for u in router.config.routes[name].utterances}
    assert Counter(outcome.text for outcome in outcomes) == dict.fromkeys(held_out, 1)
    assert all(outcome.best == outcome.expected for outcome in outcomes)


def test_an_utterance_is_not_judged_by_itself(tmp_path: Path) -> None:
    stray = "does it rain tomorrow evening"
    router = load(tmp_path, ROUTES.replace("how is bread baked", stray))
    (outcome,) = (outcome for outcome in cross_validate(router, 3) if outcome.text == stray)
    assert (outcome.expected, outcome.best) == ("cooking", "weather")
    config, held_out = router.config, assign(router, 3)
    for fold in range(3):
        kept = leave_out(config, held_out, fold).routes["cooking"].utterances
        assert (stray in kept) == (held_out["cooking"][2] != fold)


def test_what_all_but_repeats_an_utterance_is_held_out_with_it(tmp_path: Path) -> None:
    routes = ROUTES.replace("how is bread baked", "how is bread baked, how is bread baked please, How is bread baked.")
    held_out = assign(load(tmp_path, routes), 3)["cooking"]
    assert held_out[2] == held_out[3] == held_out[4]
    assert len(set(held_out)) == 3


def test_progress_counts_over_all_folds(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    cross_validate(load(tmp_path), 3, lambda done, total: seen.append((done, total)))
    assert seen == [(n, 8) for n in range(1, 9)]


def test_folds_are_even_the_same_each_time_and_leave_no_route_empty(tmp_path: Path) -> None:
    router = load(tmp_path)
    config, held_out = router.config, assign(router, 3)
    assert held_out == assign(router, 3)
    assert sorted(Counter(held_out["weather"]).values()) == [1, 2, 2]
    assert held_out["lonely"] == [-1]
    assert all(route.utterances for fold in range(3) for route in leave_out(config, held_out, fold).routes.values())


def test_nothing_to_hold_out_is_an_error(tmp_path: Path) -> None:
    router = load(tmp_path, "routes:\n  - {name: lonely, models: [m], utterances: [open the garage]}\n")
    with pytest.raises(RequestError, match="two utterances or more"):
        cross_validate(router, 5)
