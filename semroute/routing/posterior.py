"""What grades say about a model's quality on a route: a Beta distribution, its quantiles, and draws from it.

The stated quality is the prior. It counts as `prior_weight` grades. Each grade from 0 to 1 then adds its score to the
good and the rest to the bad, and old grades lose weight by their age:

    good = prior_weight * quality       + sum of 0.5 ^ (age / half_life) * score
    bad  = prior_weight * (1 - quality) + sum of 0.5 ^ (age / half_life) * (1 - score)

What a model's grades on other routes say moves the prior: by `SHARED` of how much they are better than stated there.

Draws are quantiles at fixed places, in an order that belongs to the model's name. So the same belief always gives the
same draws, on every machine and with every version of the libraries, and a replay decides the same.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semroute.config.schema.policies import Learn
from semroute.decision import Belief

Doubles = NDArray[np.float64]

DRAWS = 512
"""How many draws stand for a belief. A probability that is computed from them is a multiple of 1/512."""
SURE = 0.95
"""The probability from which on something counts as sure."""
SHARED = 0.5
"""Routes differ, so half of what is learned on the others counts."""
_SURELY_GOOD = 0.99
"""The highest stated quality that a prior takes, and 1 minus the lowest. Otherwise no grade could move it."""
_POINTS = 1025
_WIDTH = 10.0
"""How far the grid reaches from the mean, in standard deviations."""


class Grades(NamedTuple):
    """The grades of one day, for one model on one route."""

    day: int
    """Days since 1970, UTC: when the answers were given."""
    number: int
    score: float
    """The sum of the scores, each from 0 to 1."""


class Surplus(NamedTuple):
    """How much better a model's grades are than its stated quality."""

    number: float
    """How many grades there are. Old ones count less."""
    score: float
    """The sum of their scores, less what was stated for each."""


def surplus_of(quality: float, learn: Learn, grades: Iterable[Grades], today: int) -> Surplus:
    """Return the surplus of a model with this stated quality on one route."""
    kept = [(0.5 ** (max(0, today - each.day) / learn.half_life_days), each) for each in grades]
    number = sum(weight * each.number for weight, each in kept)
    return Surplus(number, sum(weight * each.score for weight, each in kept) - number * quality)


def shift_of(everywhere: Surplus, here: Surplus, learn: Learn) -> float:
    """Return by how much the prior of a model moves on a route: what it learns from the other routes."""
    return SHARED * (everywhere.score - here.score) / (everywhere.number - here.number + learn.prior_weight)


def belief_of(quality: float, learn: Learn, grades: Iterable[Grades], today: int) -> Belief:
    """Return what is believed of a model with this stated quality after some grades. `today`: days since 1970."""
    stated = min(_SURELY_GOOD, max(1 - _SURELY_GOOD, quality))
    good, bad = learn.prior_weight * stated, learn.prior_weight * (1 - stated)
    for day, number, score in grades:
        kept = 0.5 ** (max(0, today - day) / learn.half_life_days)
        good += kept * score
        bad += kept * max(0.0, number - score)
    return Belief(good=good, bad=bad)


def interval(belief: Belief, share: float = SURE) -> tuple[float, float]:
    """Return the interval that the quality lies in with this probability, the same on both sides."""
    tail = (1 - share) / 2
    low, high = _quantiles(belief, np.array([tail, 1 - tail]))
    return float(low), float(high)


def surely_below(belief: Belief, bound: float) -> bool:
    """Return whether the quality is below a bound with a probability of at least `SURE`."""
    return float(_quantiles(belief, np.array([SURE]))[0]) < bound


@lru_cache(maxsize=4096)
def draws(belief: Belief, name: str) -> Doubles:
    """Return the draws of a model with this name: float64 (DRAWS,)."""
    return _quantiles(belief, _places(name))


@lru_cache(maxsize=4096)
def _places(name: str) -> Doubles:
    """Return the places of a model's draws, from 0 to 1, evenly spread, in the order that belongs to its name."""
    order = list(range(DRAWS))
    random.Random(name).shuffle(order)
    places: Doubles = (np.array(order) + 0.5) / DRAWS
    return places


def _quantiles(belief: Belief, shares: Doubles) -> Doubles:
    """Return the quantiles at some shares from 0 to 1.

    The density is added up on a grid of the angle whose squared sine is the quality. On that scale the spread hardly
    depends on the quality, so the grid covers only what matters: about the mean, ten standard deviations on both sides.
    """
    angles, cumulative = _grid(belief)
    quantiles: Doubles = np.sin(np.interp(shares, cumulative, angles)) ** 2
    return quantiles


@lru_cache(maxsize=4096)
def _grid(belief: Belief) -> tuple[Doubles, Doubles]:
    """Return the edges of a grid of angles, and the probability up to each of them."""
    middle, width = math.asin(math.sqrt(belief.mean)), _WIDTH / (2 * math.sqrt(belief.good + belief.bad))
    edges = np.linspace(max(0.0, middle - width), min(math.pi / 2, middle + width), _POINTS)
    centres = (edges[1:] + edges[:-1]) / 2
    logs = (2 * belief.good - 1) * np.log(np.sin(centres)) + (2 * belief.bad - 1) * np.log(np.cos(centres))
    cumulative = np.concatenate(([0.0], np.cumsum(np.exp(logs - logs.max()))))
    return edges, cumulative / cumulative[-1]
