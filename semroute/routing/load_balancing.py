"""Load balancing among the deployments of one model: who comes first. Pure; chance is handed in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random

from semroute.config.schema.models import Model
from semroute.decision import Signals

Cost = Callable[[Model], Decimal]


def balanced(deployments: Sequence[Model], how: str, signals: Signals, cost: Cost, random: Random) -> list[Model]:
    """All deployments, the one to be called first in front; the others follow from the fastest to the slowest."""
    if len(deployments) < 2:
        return list(deployments)
    first = _FIRST[how](deployments, signals, cost, random)
    rest = sorted((m for m in deployments if m is not first), key=lambda model: latency(model, signals))
    return [first, *rest]


def latency(model: Model, signals: Signals) -> float:
    """Measured, else declared, else 0: what is unknown gets a try."""
    return signals.latency_ms.get(model.id, model.latency_ms or 0.0)


def p2c(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """The better of two drawn at random, by latency and calls in flight: load spreads, and slow ones are spared.

    Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001; the load is Finagle's,
    EWMA latency times the calls that would be in flight.
    """
    pair = random.sample(list(deployments), 2)
    # What is unknown is taken for as fast as the fastest: it gets a try, and not all calls until the first has ended.
    fastest = min((known for model in deployments if (known := latency(model, signals))), default=1.0)
    return min(pair, key=lambda m: (latency(m, signals) or fastest) * (signals.in_flight.get(m.id, 0) + 1))


def weighted(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Drawn by weight."""
    return random.choices(deployments, [model.weight for model in deployments])[0]


def least_busy(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """The one with the fewest calls in flight, drawn where several are."""
    fewest = min(signals.in_flight.get(model.id, 0) for model in deployments)
    return random.choice([model for model in deployments if signals.in_flight.get(model.id, 0) == fewest])


def lowest_latency(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """The fastest."""
    return min(deployments, key=lambda model: latency(model, signals))


def cheapest(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """The cheapest for this request."""
    return min(deployments, key=cost)


_FIRST: dict[str, Callable[[Sequence[Model], Signals, Cost, Random], Model]] = {
    "p2c": p2c,
    "weighted": weighted,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
