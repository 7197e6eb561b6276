"""Now and then put another model in front of a plan, because it may be better than is known (`policy.learn`).

This is Thompson sampling (Thompson 1933): each model's quality is drawn from what is believed of it, and the model that
is best by the drawn qualities comes first. A model that is known well and is worse is hardly ever drawn. One that is
hardly known is drawn often. `caution` narrows the draws, because most answers get no grade.

The `DRAWS` draws of a belief are fixed, and the request's id picks one. So the probability of each choice can be
counted, and a replay chooses the same.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from semroute.config.schema.policies import Learn
from semroute.decision import Belief
from semroute.routing.posterior import DRAWS, Doubles, draws, surely_below
from semroute.routing.pricing import Offer

Believed = tuple[tuple[str, Belief | float], ...]
"""The names of models, and what is believed of their quality, or the quality that counts if nothing is."""
SCALE = 1_000_000
"""Costs are compared by the logarithm of millionths of a USD."""


class Front(NamedTuple):
    """What comes first in a plan."""

    offers: list[Offer]
    propensity: float | None = None
    """The probability with which the first model was chosen. None: nothing was drawn."""
    instead_of: Offer | None = None
    """The best choice as far as is known, if another one is tried. None: it comes first itself."""


def explore(
    offers: Sequence[Offer],
    able: Sequence[Offer],
    learn: Learn,
    *,
    dial: float | None,
    room_usd: float | None,
    seed: str,
) -> Front:
    """Put the best of the offers that may come first in front, or another one to learn its quality.

    `offers`: the plan. `able`: those of its offers that may come first. `dial`: how `balanced` weighs quality against
    cost. None: `best`. `room_usd`: how much more the tried model may cost. None: none is tried. `seed`: the request's
    id.
    """
    known = _best_known(able, learn, dial)
    tried = [one for one in able if one is known or not _is_hopeless(one, learn)]
    if room_usd is None or len(tried) < 2:
        return Front(_first(known, offers))
    winners, times = _winners(tried, learn, dial)
    dear = {place for place, one in enumerate(tried) if float(one.cost_usd - known.cost_usd) > room_usd}
    drawn = winners[zlib.crc32(seed.encode()) % DRAWS]
    chosen = known if drawn in dear else tried[drawn]
    if chosen is known:
        place = tried.index(known)
        return Front(_first(known, offers), sum(times[other] for other in {place, *dear}) / DRAWS)
    propensity = times[drawn] / DRAWS
    why = f"tried to learn its quality, with probability {propensity:.3f}; {chosen.why}"
    after = [replace(chosen, why=why), *_first(known, [one for one in offers if one is not chosen])]
    return Front(after, propensity, known)


def _first(chosen: Offer, offers: Sequence[Offer]) -> list[Offer]:
    """Put one of the offers in front."""
    return [chosen, *(one for one in offers if one is not chosen)]


def _is_hopeless(offer: Offer, learn: Learn) -> bool:
    return learn.floor is not None and offer.belief is not None and surely_below(offer.belief, learn.floor)


def _surer(offer: Offer, times: float) -> Belief | float:
    """Return what is believed of an offer, as if it were so many times as sure."""
    belief = offer.belief
    return offer.quality if belief is None else Belief(good=belief.good * times, bad=belief.bad * times)


def _best_known(offers: Sequence[Offer], learn: Learn, dial: float | None) -> Offer:
    """Return the best offer by the qualities that are expected."""
    if dial is None:
        enough = max(one.quality for one in offers) - learn.equal_within
        return min((one for one in offers if one.quality >= enough), key=lambda one: (one.cost_usd, one.place))
    return offers[int(_worth(np.array([[one.quality for one in offers]]), offers, dial).argmax())]


def _winners(offers: Sequence[Offer], learn: Learn, dial: float | None) -> tuple[Sequence[int], Sequence[int]]:
    """Return the place of the best offer in each draw, and how many times each offer is the best."""
    believed = tuple([(one.model.group or one.model.id, _surer(one, learn.caution)) for one in offers])
    if dial is None:
        by_cost = sorted(range(len(offers)), key=lambda place: (offers[place].cost_usd, offers[place].place))
        return _cheapest_of_equals(believed, tuple(by_cost), learn.equal_within)
    return _counted(_worth(_drawn(believed), offers, dial).argmax(axis=1), len(offers))


@lru_cache(maxsize=4096)
def _cheapest_of_equals(believed: Believed, by_cost: Sequence[int], margin: float) -> tuple[list[int], list[int]]:
    """Return what `_winners` does for `best`. `by_cost`: the places of the offers, the cheapest first."""
    quality = _drawn(believed)
    enough = quality >= quality.max(axis=1, keepdims=True) - margin
    return _counted(np.array(by_cost)[enough[:, by_cost].argmax(axis=1)], len(by_cost))


@lru_cache(maxsize=4096)
def _drawn(believed: Believed) -> Doubles:
    """Return the drawn qualities: float64 (DRAWS, offers)."""
    columns = [draws(what, name) if isinstance(what, Belief) else np.full(DRAWS, what) for name, what in believed]
    return np.stack(columns, axis=1)


def _counted(winners: NDArray[np.intp], size: int) -> tuple[list[int], list[int]]:
    return winners.tolist(), np.bincount(winners, minlength=size).tolist()


def _worth(quality: Doubles, offers: Sequence[Offer], dial: float) -> Doubles:
    """Return what `balanced` weighs: quality against the logarithm of cost, each scaled from 0 to 1 in each row."""
    costs = np.log1p([[float(one.cost_usd) * SCALE for one in offers]])
    return dial * _scaled(quality) - (1 - dial) * _scaled(costs)


def _scaled(values: Doubles) -> Doubles:
    low, high = values.min(axis=1, keepdims=True), values.max(axis=1, keepdims=True)
    scaled: Doubles = (values - low) / np.where(high > low, high - low, 1.0)
    return scaled
