"""The alarm for quality, on made-up scores."""

from __future__ import annotations

import numpy as np
import pytest

from semroute.learning.quality_alarm import Change, QualityAlarm

REFERENCE, DROP = 300, 0.05


class Scores:
    """Scores of 0 and 1 that come in groups."""

    def __init__(self, seed: int, mean: float) -> None:
        self._random = np.random.default_rng(seed)
        self.alarm = QualityAlarm(REFERENCE, DROP)
        self.now = 0.0
        self.send(REFERENCE, mean, group=REFERENCE)

    def send(self, count: int, mean: float, group: int) -> list[tuple[Change, float]]:
        """Send scores. Returns what changed, and after how many scores."""
        changes: list[tuple[Change, float]] = []
        for start in range(0, count, group):
            self.now += group
            good = float((self._random.random(group) < mean).sum())
            if (change := self.alarm.add(group, good, self.now)) is not None:
                changes.append((change, start + group))
        return changes


@pytest.mark.parametrize("mean", [0.5, 0.8, 0.97])
@pytest.mark.parametrize("group", [1, 50])
def test_it_is_silent_as_long_as_the_mean_stays(mean: float, group: int) -> None:
    for seed in range(5):
        assert Scores(seed, mean).send(4000, mean, group) == []


@pytest.mark.parametrize(("before", "after"), [(0.97, 0.75), (0.8, 0.55), (0.5, 0.2)])
@pytest.mark.parametrize("group", [1, 50])
def test_a_fall_raises_it_and_a_rise_ends_it(before: float, after: float, group: int) -> None:
    scores = Scores(1, before)
    scores.send(500, before, group)
    began = scores.now
    changes = scores.send(2000, after, group)
    assert [change for change, _ in changes] == ["fell"]
    assert changes[0][1] <= 600
    assert scores.alarm.progress.raised
    [(change, count)] = scores.send(2000, before, group)
    assert (change, scores.alarm.progress.raised) == ("recovered", False)
    assert count <= 600
    assert began < scores.alarm.progress.since <= scores.now


def test_it_says_since_when_and_how_many_scores() -> None:
    scores = Scores(2, 0.9)
    scores.send(500, 0.9, 1)
    began = scores.now
    while scores.alarm.add(1, 0.0, scores.now) is None:
        scores.now += 1
    now = scores.alarm.progress
    assert began <= now.since <= began + 10
    assert 0 < now.scores <= scores.now - began + 1
    assert now.sum == 0


def test_a_replaced_score_counts_as_the_difference() -> None:
    one, other = Scores(3, 0.8).alarm, Scores(3, 0.8).alarm
    for _ in range(10):
        one.add(1, 1.0, 1.0)
        one.add(0, -1.0, 1.0)
        other.add(1, 0.0, 1.0)
    assert one.progress.evidence == pytest.approx(other.progress.evidence)
    assert one.progress.evidence[-1] > 100
    for _ in range(1000):  # one caller changes their mind again and again
        one.add(0, 1.0, 1.0)
        one.add(0, -1.0, 1.0)
    assert not one.progress.raised


def test_a_reference_that_is_as_low_as_can_be_raises_nothing() -> None:
    alarm = QualityAlarm(REFERENCE, DROP)
    assert alarm.add(REFERENCE, 5.0, 0.0) is None
    assert alarm.floor is None
    assert alarm.add(10_000, 0.0, 1.0) is None


def test_a_perfect_reference_does_not_ring_at_the_first_bad_score() -> None:
    alarm = QualityAlarm(REFERENCE, DROP)
    alarm.add(REFERENCE, float(REFERENCE), 0.0)
    assert alarm.add(1, 0.0, 1.0) is None
    assert alarm.add(5000, 4900.0, 2.0) is None


def test_no_group_is_too_large() -> None:
    alarm = QualityAlarm(REFERENCE, DROP)
    alarm.add(10**7, 0.9e7, 0.0)
    assert alarm.add(10**9, 0.1e9, 1.0) == "fell"
    assert alarm.add(10**9, 0.9e9, 2.0) == "recovered"
