"""Balance load among the deployments of one model. Pure: the source of chance is an argument."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from random import Random

from semroute.config.schema.models import Model
from semroute.decision import Signals

Cost = Callable[[Model], Decimal]


def balanced(deployments: Sequence[Model], how: str, signals: Signals, cost: Cost, random: Random) -> list[Model]:
    """Sort deployments: the one to call first, then the others from the fastest to the slowest."""
    if len(deployments) < 2:
        return list(deployments)
    first = _FIRST[how](deployments, signals, cost, random)
    rest = sorted((m for m in deployments if m is not first), key=lambda model: latency(model, signals))
    return [first, *rest]


def latency(model: Model, signals: Signals) -> float:
    """Return the measured latency, else the declared one, else 0, so that an unknown deployment is tried."""
    return signals.latency_ms.get(model.id, model.latency_ms or 0.0)


def p2c(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Draw two at random and take the better, by latency and calls in flight. Load spreads, and slow ones get less.

    Source: Mitzenmacher, "The power of two choices in randomized load balancing", 2001; the load is Finagle's,
    EWMA latency times the calls that would be in flight.
    """
    pair = random.sample(list(deployments), 2)
    # An unknown latency counts as the fastest known one. So the deployment is tried, but does not get all calls at
    # first.
    fastest = min((known for model in deployments if (known := latency(model, signals))), default=1.0)
    return min(pair, key=lambda m: (latency(m, signals) or fastest) * (signals.in_flight.get(m.id, 0) + 1))


def weighted(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Draw by weight."""
    return random.choices(deployments, [model.weight for model in deployments])[0]


def least_busy(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Take the one with the fewest calls in flight. Draw among equals."""
    fewest = min(signals.in_flight.get(model.id, 0) for model in deployments)
    return random.choice([model for model in deployments if signals.in_flight.get(model.id, 0) == fewest])


def lowest_latency(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Take the fastest."""
    return min(deployments, key=lambda model: latency(model, signals))


def cheapest(deployments: Sequence[Model], signals: Signals, cost: Cost, random: Random) -> Model:
    """Take the cheapest for this request."""
    return min(deployments, key=cost)


_FIRST: dict[str, Callable[[Sequence[Model], Signals, Cost, Random], Model]] = {
    "p2c": p2c,
    "weighted": weighted,
    "least_busy": least_busy,
    "lowest_latency": lowest_latency,
    "cheapest": cheapest,
}
