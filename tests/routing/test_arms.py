"""The arm of a unit: shares, and who moves when weights change."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from semroute.routing.arms import arm_of

UNITS = [f"user-{number}" for number in range(20_000)]


def arms(weights: dict[str, float], experiment: str = "trial") -> list[str]:
    return [arm_of(experiment, unit, weights) for unit in UNITS]


def test_each_arm_gets_its_share() -> None:
    got = Counter(arms({"a": 90, "b": 7, "c": 3}))
    assert got["a"] / len(UNITS) == pytest.approx(0.90, abs=0.01)
    assert got["b"] / len(UNITS) == pytest.approx(0.07, abs=0.01)
    assert got["c"] / len(UNITS) == pytest.approx(0.03, abs=0.01)


def test_only_proportions_count_and_an_arm_of_weight_0_gets_nobody() -> None:
    assert arms({"a": 1, "b": 3}) == arms({"b": 0.75, "a": 0.25, "c": 0})


def test_another_process_says_the_same() -> None:
    code = "from semroute.routing.arms import arm_of; print([arm_of('t', str(n), {'a': 1, 'b': 2}) for n in range(50)])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == str([arm_of("t", str(n), {"a": 1, "b": 2}) for n in range(50)])


def test_experiments_split_users_independently() -> None:
    both = Counter(zip(arms({"a": 1, "b": 1}, "one"), arms({"a": 1, "b": 1}, "two"), strict=True))
    assert all(n / len(UNITS) == pytest.approx(0.25, abs=0.015) for n in both.values())


@pytest.mark.parametrize(
    ("before", "after", "from_or_to"),
    [
        ({"a": 90, "b": 10}, {"a": 50, "b": 50}, "b"),
        ({"a": 99, "b": 1}, {"a": 100, "b": 0}, "b"),
        ({"a": 50, "b": 30, "c": 20}, {"a": 50, "b": 30, "c": 60}, "c"),
        ({"a": 50, "b": 30}, {"a": 50, "b": 30, "c": 20}, "c"),
        ({"a": 50, "b": 30, "c": 20}, {"a": 50, "c": 20}, "b"),
    ],
)
def test_a_changed_weight_moves_exactly_the_share_that_must_move(
    before: dict[str, float], after: dict[str, float], from_or_to: str
) -> None:
    moved = [pair for pair in zip(arms(before), arms(after), strict=True) if pair[0] != pair[1]]
    share = must_move(before, after)
    sys.stdout.write(f"{before} -> {after}: {len(moved) / len(UNITS):.2%} of the users moved, {share:.2%} must\n")
    assert len(moved) / len(UNITS) == pytest.approx(share, abs=0.01)
    assert all(from_or_to in pair for pair in moved)


def test_many_changed_weights_move_at_most_what_no_rule_without_memory_can_beat() -> None:
    before, after = {"a": 50.0, "b": 30.0, "c": 20.0}, {"a": 20.0, "b": 30.0, "c": 50.0}
    moved = sum(one != two for one, two in zip(arms(before), arms(after), strict=True)) / len(UNITS)
    must = must_move(before, after)
    sys.stdout.write(
        f"{before} -> {after}: {moved:.2%} of the users moved, {must:.2%} must, bound {2 * must / (1 + must):.2%}\n"
    )
    assert must <= moved <= 2 * must / (1 + must) + 0.01


def must_move(before: dict[str, float], after: dict[str, float]) -> float:
    shares = [{arm: weight / sum(weights.values()) for arm, weight in weights.items()} for weights in (before, after)]
    return sum(max(0.0, shares[1].get(arm, 0) - shares[0].get(arm, 0)) for arm in {**before, **after})
