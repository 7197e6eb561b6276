from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from semroute.config.schema.models import Model
from semroute.decision import Signals
from semroute.routing.load_balancing import balanced
from tests.routing.build import model

A = model("m", weight=1, input_price=2)
B = model("m@b", group="m", weight=3, input_price=1, latency_ms=100)
C = model("m@c", group="m", weight=6, input_price=3, latency_ms=50)
ALL = [A, B, C]


def firsts(how: str, signals: Signals = Signals(), draws: int = 600) -> Counter[str]:
    random = Random(7)
    return Counter(balanced(ALL, how, signals, lambda m: m.input_price, random)[0].id for _ in range(draws))


@pytest.mark.parametrize("how", ["p2c", "weighted", "least_busy", "lowest_latency", "cheapest"])
def test_every_deployment_stays_and_is_there_once(how: str) -> None:
    ordered = balanced(ALL, how, Signals(), lambda m: m.input_price, Random(1))
    assert sorted(m.id for m in ordered) == ["m", "m@b", "m@c"]


def test_one_deployment_needs_no_choice() -> None:
    def never(_: Model) -> object:
        raise AssertionError

    assert balanced([A], "p2c", Signals(), never, Random(1)) == [A]  # type: ignore[arg-type]  # not called


def test_weighted_draws_by_weight() -> None:
    drawn = firsts("weighted")
    assert drawn["m@c"] > drawn["m@b"] > drawn["m"] > 0


def test_p2c_spares_the_slow_one_and_spreads_over_the_others() -> None:
    drawn = firsts("p2c", Signals(latency_ms={"m": 5000, "m@b": 100, "m@c": 90}))
    assert drawn["m"] == 0
    assert drawn["m@b"] > 100


def test_p2c_sees_the_calls_in_flight() -> None:
    drawn = firsts("p2c", Signals(latency_ms={"m": 100, "m@b": 100, "m@c": 100}, in_flight={"m@b": 9, "m@c": 9}))
    assert drawn["m"] > 300


@pytest.mark.parametrize("known", [{}, {"m@b": 100, "m@c": 100}])
def test_p2c_sees_the_calls_in_flight_where_the_latency_is_unknown(known: dict[str, float]) -> None:
    idle = [model(name) for name in ("m", "m@b", "m@c")]
    busy = Signals(latency_ms=known, in_flight={"m": 50})
    random = Random(7)
    drawn = Counter(balanced(idle, "p2c", busy, lambda m: m.input_price, random)[0].id for _ in range(300))
    assert drawn["m"] == 0
    assert min(drawn["m@b"], drawn["m@c"]) > 100


def test_least_busy_draws_among_the_idle() -> None:
    drawn = firsts("least_busy", Signals(in_flight={"m": 2}))
    assert drawn["m"] == 0
    assert min(drawn["m@b"], drawn["m@c"]) > 100


def test_lowest_latency_measured_before_declared() -> None:
    assert set(firsts("lowest_latency", Signals(latency_ms={"m": 70, "m@c": 90}))) == {"m"}


def test_cheapest() -> None:
    assert set(firsts("cheapest")) == {"m@b"}


def test_the_others_follow_from_fast_to_slow() -> None:
    ordered = balanced(ALL, "cheapest", Signals(latency_ms={"m": 10}), lambda m: m.input_price, Random(1))
    assert [m.id for m in ordered] == ["m@b", "m", "m@c"]
