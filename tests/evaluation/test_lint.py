"""Lint over small made-up vectors: each kind of finding, and silence where nothing is wrong."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from semroute.config.config import Config, WrittenAt
from semroute.config.schema.models import Model
from semroute.config.schema.routes import Default, Route
from semroute.errors import Problem
from semroute.evaluation.held_out_scores import Floats
from semroute.evaluation.lint import Corpus, lint

DIM = 16


def direction(**weights: float) -> Floats:
    """A unit vector from weights by axis: `direction(a0=1, a5=.3)`."""
    vector = np.zeros(DIM, dtype=np.float32)
    for axis, weight in weights.items():
        vector[int(axis[1:])] = weight
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def corpus(routes: dict[str, list[Floats]], descriptions: dict[str, Floats] | None = None) -> Corpus:
    model = Model(id="m", provider="p", name="m", input_price=Decimal(0))
    config = Config(
        providers={},
        models={"m": model},
        default=Default(models=("m",)),
        routes={
            name: Route(name=name, utterances=tuple(f"{name} {i}" for i in range(len(vectors))), models=("m",))
            for name, vectors in routes.items()
        },
        sources={
            f"routes.{name}.utterances[{i}]": WrittenAt(
                file=f"{name}.yaml", line=10 + i, path=f"$.routes[0].utterances[{i}]"
            )
            for name, vectors in routes.items()
            for i in range(len(vectors))
        }
        | {
            f"routes.{name}{part}": WrittenAt(file=f"{name}.yaml", line=2)
            for name in routes
            for part in ("", ".utterances", ".description")
        },
    )
    described = descriptions or {}
    return Corpus(
        config=config,
        vectors=np.stack([vector for vectors in routes.values() for vector in vectors]),
        descriptions=np.stack([described.get(name, np.zeros(DIM, dtype=np.float32)) for name in routes]),
    )


def varied(axis: int, spread: int) -> list[Floats]:
    """Five utterances around one axis, each with something of its own."""
    return [direction(**{f"a{axis}": 1.0, f"a{spread + i}": 1.0}) for i in range(5)]


GOOD = {"a": varied(0, 3), "b": varied(1, 8)}


def codes(problems: list[Problem]) -> list[str]:
    return [problem.code for problem in problems]


def test_good_routes_are_quiet() -> None:
    assert lint(corpus(GOOD, {"a": direction(a0=1), "b": direction(a1=1)})) == []


def test_no_routes_are_quiet() -> None:
    empty = Config(providers={}, models={}, default=Default(models=("m",)), routes={})
    nothing = np.empty((0, DIM), dtype=np.float32)
    assert lint(Corpus(config=empty, vectors=nothing, descriptions=nothing)) == []


def test_two_routes_that_collide_are_one_finding_with_both_places() -> None:
    shared = [direction(a13=1, a0=0.4), direction(a14=1, a0=0.6)]
    theirs = [direction(a13=1, a1=0.3), direction(a14=1, a1=0.6)]
    (found,) = lint(corpus({"a": [*GOOD["a"], *shared], "b": [*GOOD["b"], *theirs]}))
    assert (found.code, found.severity) == ("collision", "warning")
    assert (found.file, found.line, found.path) == ("b.yaml", 15, "$.routes[0].utterances[5]")
    assert '"b 5" of `b` collides with "a 5" of `a` at a.yaml:15 (similarity 0.8' in found.message
    assert "and 1 more pair of" not in found.message
    assert found.suggestion in str(found)


def test_more_collisions_of_the_same_routes_are_counted() -> None:
    twin = [direction(a13=1), direction(a14=1), direction(a15=1)]
    (found, *rest) = [
        p for p in lint(corpus({"a": [*GOOD["a"], *twin], "b": [*GOOD["b"], *twin]})) if p.code == "collision"
    ]
    assert rest == []
    assert "and 2 more pairs of these routes" in found.message


def test_a_near_duplicate_is_reported_at_the_later_one() -> None:
    (found,) = lint(corpus({**GOOD, "a": [*GOOD["a"], direction(a0=1, a3=1.1)]}))
    assert (found.code, found.severity, found.line) == ("near-duplicate", "info", 15)
    assert '"a 5" nearly repeats "a 0" at a.yaml:10' in found.message


def test_an_utterance_in_the_wrong_route_is_told_where_it_belongs() -> None:
    stray = direction(a1=1, a8=0.4, a9=0.4, a13=0.6)
    (found,) = lint(corpus({**GOOD, "a": [*GOOD["a"], stray]}))
    assert (found.code, found.file, found.line) == ("misplaced", "a.yaml", 15)
    assert "looks more like `b` than like the rest of `a`" in found.message
    assert "move it to `b`" in found.suggestion
    told = {found.file for found in lint(corpus({**GOOD, "c": [stray]}))}
    assert told == {"b.yaml"}  # the only one of `c` has no rest to be unlike


def test_utterances_all_alike_are_reported_once() -> None:
    alike = [direction(a2=1, **{f"a{3 + i}": 0.45}) for i in range(5)]
    (found,) = lint(corpus({**GOOD, "c": alike}))
    assert (found.code, found.line) == ("uniform", 2)
    assert "the 5 utterances of `c` are all alike (mean similarity 0.8" in found.message


def test_a_route_that_loses_all_its_utterances_is_reported() -> None:
    lost = [direction(a0=0.5, a13=1), direction(a0=0.5, a14=1), direction(a0=0.5, a15=1)]
    found = lint(corpus({**GOOD, "c": lost}))
    assert codes(found) == ["unreachable"]
    assert "most often like `a`" in found[0].message


def test_a_description_of_another_route_is_reported() -> None:
    (found,) = lint(corpus(GOOD, {"a": direction(a1=1)}))
    assert (found.code, found.file) == ("description", "a.yaml")
    assert "fits the utterances of `b` better" in found.message


@pytest.mark.parametrize("gap", [0.0, 0.05])
def test_a_description_between_two_routes_is_let_pass(gap: float) -> None:
    assert lint(corpus(GOOD, {"a": direction(a0=1, a1=1 + gap)})) == []
