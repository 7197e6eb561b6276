"""The alarm for drift, on made-up vectors and a clock that a test moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from semroute.errors import RequestError
from semroute.learning.drift_alarm import BLOCK, LEAST_REFERENCE, Alarm, DriftAlarm
from semroute.routing.scoring import Doubles, Floats

DIM = 24


class Stream:
    """Requests of ten topics."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.topics = self.random.normal(size=(11, DIM))
        self.now = 0.0

    def vectors(self, count: int, new: float = 0.0) -> Floats:
        topics = np.where(self.random.random(count) < new, 10, self.random.integers(10, size=count))
        made = self.topics[topics] + 0.7 * self.random.normal(size=(count, DIM))
        return np.asarray(made / np.linalg.norm(made, axis=1, keepdims=True), np.float32)

    def scores(self, count: int, mean: float = 0.9) -> Doubles:
        return self.random.beta(10 * mean, 10 * (1 - mean), size=count)

    def alarm(self) -> DriftAlarm:
        return DriftAlarm(self.vectors(5000), self.scores(5000), lambda: self.now)

    def send(self, alarm: DriftAlarm, count: int, new: float = 0.0, mean: float = 0.9) -> list[Alarm]:
        rang = []
        for vector, score in zip(self.vectors(count, new), self.scores(count, mean), strict=True):
            self.now += 1
            if (one := alarm.observe(vector, float(score))) is not None:
                rang.append(one)
        return rang


@pytest.mark.parametrize("seed", range(3))
def test_it_is_silent_without_drift_and_rings_with_a_new_topic(seed: int) -> None:
    stream = Stream(seed)
    alarm = stream.alarm()
    assert stream.send(alarm, 20_000) == []
    began = stream.now
    rang = stream.send(alarm, 2000, new=0.1)
    assert rang
    assert rang[0].what == "prompts"
    assert rang[0].at - began <= 2000
    assert abs(rang[0].since - began) <= 5 * BLOCK
    assert rang[0].requests <= rang[0].at - rang[0].since + BLOCK


def test_scores_that_fall_ring_and_scores_that_rise_do_not() -> None:
    stream = Stream(7)
    alarm = stream.alarm()
    assert stream.send(alarm, 5000, mean=0.95) == []
    rang = stream.send(alarm, 2000, mean=0.8)
    assert {one.what for one in rang} == {"in_scope"}


def test_it_begins_anew_after_an_alarm() -> None:
    stream = Stream(8)
    alarm = stream.alarm()
    rang = stream.send(alarm, 20 * BLOCK, new=0.5)
    assert len(rang) > 1
    assert all(later.since >= earlier.at for earlier, later in pairwise(rang))


def test_too_few_reference_requests_are_refused() -> None:
    stream = Stream(9)
    count = LEAST_REFERENCE - 5
    with pytest.raises(
        RequestError, match=f"got {count} reference requests, expected at least {LEAST_REFERENCE}: 5 more"
    ):
        DriftAlarm(stream.vectors(count), stream.scores(count), lambda: 0.0)
