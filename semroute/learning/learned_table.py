"""What grades say of each model on each route, as a table for people and machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.config.schema.policies import Learn
from semroute.gateway.learned_quality import (
    beliefs,
    by_route,
    everywhere,
    model_of,
    models_on,
    policy_on,
    stated_quality,
)
from semroute.routing.posterior import Surplus, belief_of, interval
from semroute.stores.grades import DayOfGrades


class LearnedRow(Frozen, frozen=True, kw_only=True):
    """What grades say of one model on one route."""

    route: str
    """Empty: the default."""
    model: str
    stated: float | None
    """The quality that the route files state, or that of the model's tier. None: they no longer have the model."""
    quality: float
    """The quality that is expected after all grades. The interval from `low` to `high` holds it with 95%."""
    low: float
    high: float
    feedback: int
    """How many grades people gave. Old ones are counted in full here."""
    judge: int
    """How many grades a judge gave."""
    weight: float
    """How much the grades still count, in grades of today."""
    learns: bool
    """Whether decisions use this: the policy of the route has `learn`, and the route files have the model."""


def learned_table(config: Config, days: Sequence[DayOfGrades], today: int) -> list[LearnedRow]:
    """Return a row for each model that may serve a route, or was graded there. `today`: days since 1970."""
    grades, numbers = by_route(config, days), _numbers(config, days)
    shared: dict[Learn, dict[str, Surplus]] = {}
    rows = []
    for route in dict.fromkeys((*config.routes, "", *grades)):
        known, gone = policy_on(config, route).learn, route and route not in config.routes
        learn = known or Learn()
        graded = grades.get(route, {})
        if learn not in shared:
            shared[learn] = everywhere(config, learn, grades, today)
        believed = beliefs(config, route, learn, graded, shared[learn], today)
        for name in dict.fromkeys(() if gone else models_on(config, route)) | dict.fromkeys(sorted(graded)):
            model = config.models.get(name)
            stated = None if model is None else stated_quality(model, route)
            belief = believed.get(name) or belief_of(0.5, learn, graded.get(name, ()), today)
            low, high = interval(belief)
            rows.append(
                LearnedRow(
                    route=route,
                    model=name,
                    stated=stated,
                    quality=round(belief.mean, 4),
                    low=round(low, 4),
                    high=round(high, 4),
                    feedback=numbers["feedback", route, name],
                    judge=numbers["judge", route, name],
                    weight=round(belief.good + belief.bad - learn.prior_weight, 2),
                    learns=known is not None and model is not None and not gone,
                )
            )
    return rows


def _numbers(config: Config, days: Iterable[DayOfGrades]) -> Counter[tuple[str, str, str]]:
    numbers: Counter[tuple[str, str, str]] = Counter()
    for each in days:
        numbers[each.source, each.route, model_of(config, each.model)] += each.number
    return numbers
