"""Find everyday prompts of the background that a route takes although they may belong to no route.

A route that takes many of them is too wide. The nearest of them would help as negatives. Utterances like the one that
resembles the rest of its route least would help as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from semroute.bases import Frozen
from semroute.config.config import Config, WrittenAt
from semroute.config.error_wording import quote
from semroute.config.problems import problem_at
from semroute.errors import Problem
from semroute.evaluation.held_out_scores import Floats, cross_fitted
from semroute.router import Router
from semroute.semantic.background import SAME, Background, compare
from semroute.semantic.embedder import Features

Flags = NDArray[np.bool_]

NEAREST = 100
"""How many background prompts are tried for each route: those nearest to its utterances. They are the border of the
route."""
TAKEN = 0.4
"""A route that takes a larger share of its border is reported. The widest of the shipped routes take .35."""
SHOWN = 3
"""How many of the prompts are shown."""


class Outsider(Frozen, frozen=True, kw_only=True):
    """A background prompt that a route takes."""

    text: str
    intent: str
    """The kind of prompt, such as `travel.weather`."""
    similarity: float
    """Cosine with the nearest utterance of the route."""
    confidence: float
    utterance: str
    """That utterance."""
    file: str
    line: int
    """Where the utterance is written."""


class Border(Frozen, frozen=True, kw_only=True):
    """How many prompts at its border a route takes."""

    route: str
    file: str
    line: int
    tried: int
    """How many background prompts were tried: the nearest ones, without those that the route is itself about."""
    taken: int
    """How many of them the route takes."""
    outsiders: tuple[Outsider, ...]
    """The nearest of the prompts that it takes."""
    loneliest: str
    """The utterance that is least like the rest of the route. More utterances of its kind would help most."""
    loneliest_line: int


def borders(router: Router, background: Background) -> list[Border]:
    """Try the background prompts at the border of each route, without those that the route is about."""
    routes = router.config.routes.values()
    owners = np.repeat(np.arange(len(routes)), [len(route.utterances) for route in routes]).astype(np.int64)
    _, own = compare(background, router.vectors, owners)
    likeness = cross_fitted(router.vectors, owners)[np.arange(len(owners)), owners]
    return [
        _border(router, background, number, own[background.intents, number], likeness[owners == number])
        for number in range(len(routes))
    ]


def _border(router: Router, background: Background, number: int, own: Flags, likeness: Floats) -> Border:
    """`own`: (texts,), whether a prompt is what the route is about. `likeness`: (utterances of the route,), how much
    each resembles the others.
    """
    config, name = router.config, tuple(router.config.routes)[number]
    first = sum(len(route.utterances) for route in [*config.routes.values()][:number])
    compared = background.vectors @ router.vectors[first : first + len(likeness)].T
    near = compared.max(axis=1)
    own = own | (near >= SAME)
    order = np.argsort(-np.where(own, -2, near), kind="stable")[:NEAREST]
    tried = order[~own[order]]
    texts = [background.texts[row] for row in tried]
    matches = router.match_features(Features(background.vectors[tried], router.embedder.tokens(texts)))
    taken = []
    for row, text, match in zip(tried, texts, matches, strict=True):
        if router.choose_semantic(match).route == name:
            place = int(compared[row].argmax())
            where = _written(config, f"routes.{name}.utterances[{place}]")
            taken.append(
                Outsider(
                    text=text,
                    intent=background.names[background.intents[row]],
                    similarity=round(float(near[row]), 2),
                    confidence=match.candidates[0].confidence,
                    utterance=config.routes[name].utterances[place],
                    file=where.file,
                    line=where.line,
                )
            )
    lonely = int(likeness.argmin())
    here = _written(config, f"routes.{name}")
    return Border(
        route=name,
        file=here.file,
        line=here.line,
        tried=len(tried),
        taken=len(taken),
        outsiders=tuple(_of_each_kind(taken)),
        loneliest=config.routes[name].utterances[lonely],
        loneliest_line=_written(config, f"routes.{name}.utterances[{lonely}]").line,
    )


def _of_each_kind(taken: list[Outsider]) -> list[Outsider]:
    """Return the nearest prompt of each kind, because a second one of a kind shows little more."""
    first = {outsider.intent: outsider for outsider in reversed(taken)}
    return [outsider for outsider in taken if first[outsider.intent] is outsider][:SHOWN]


def report(config: Config, found: list[Border]) -> list[Problem]:
    """Return a hint for each route that takes too much of its border."""
    return [_problem(config, border) for border in found if border.taken > TAKEN * max(border.tried, 1)]


def _problem(config: Config, border: Border) -> Problem:
    examples = ", ".join(f"{quote(one.text)} (near line {one.line})" for one in border.outsiders)
    message = (
        f"`{border.route}` takes prompts that are not about it: {border.taken} of the {border.tried} nearest everyday "
        f"prompts, such as {examples}"
    )
    advice = (
        "add those that it should not take to `negatives`, and add utterances like "
        f"{quote(border.loneliest)} (line {border.loneliest_line}), which resembles the others least"
    )
    return problem_at(_written(config, f"routes.{border.route}"), message, "info", "open-border", advice)


def _written(config: Config, key: str) -> WrittenAt:
    return config.sources.get(key) or WrittenAt(file="routes", line=0)
