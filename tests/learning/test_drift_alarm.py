"""The alarm for drift, on made-up vectors."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from semroute.errors import RequestError
from semroute.learning.drift_alarm import BLOCK, LEAST_REFERENCE, Alarm, DriftAlarm, DriftProgress, DriftReference
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
        return DriftAlarm(self.reference())

    def reference(self) -> DriftReference:
        return DriftReference.of(self.vectors(5000), self.scores(5000))

    def send(self, alarm: DriftAlarm, count: int, new: float = 0.0, mean: float = 0.9) -> list[Alarm]:
        rang: list[Alarm] = []
        for vector, score in zip(self.vectors(count, new), self.scores(count, mean), strict=True):
            self.now += 1
            rang += alarm.observe(vector, float(score), self.now)
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


def test_it_goes_on_in_another_process_as_if_nothing_had_happened() -> None:
    stream = Stream(6)
    reference = stream.reference()
    whole, first = DriftAlarm(reference), DriftAlarm(reference)
    vectors, scores = stream.vectors(2150, new=0.3), stream.scores(2150)
    rang = [one for at, vector in enumerate(vectors) for one in whole.observe(vector, scores[at], at)]
    again = [one for at in range(1075) for one in first.observe(vectors[at], scores[at], at)]
    packed = msgspec.msgpack.encode(first.progress)
    second = DriftAlarm(DriftReference.unpack(reference.pack()), msgspec.msgpack.decode(packed, type=DriftProgress))
    again += [one for at in range(1075, 2150) for one in second.observe(vectors[at], scores[at], at)]
    assert rang == again != []
    assert whole.progress.count == second.progress.count == 150


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
        DriftReference.of(stream.vectors(count), stream.scores(count))
