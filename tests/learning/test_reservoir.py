"""A sample that does not depend on the order of the rows, or on how a log is divided."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import msgspec
import pytest

from semroute.learning.reservoir import Reservoir


def sample(numbers: Sequence[int], most: int = 20, seed: int = 0) -> Reservoir[int]:
    made = Reservoir[int](most=most, seed=seed)
    for number in numbers:
        made.offer(f"id{number}", partial(int, number))
    return made


@pytest.mark.parametrize("cut", [0, 1, 37, 299, 300])
def test_samples_of_parts_give_the_sample_of_the_whole(cut: int) -> None:
    whole, first = sample(range(300)), sample(range(cut))
    first.merge(sample(range(cut, 300)))
    assert (first.kept, first.seen) == (whole.kept, 300)
    assert len(whole.kept) == 20
    assert whole.kept == sorted(whole.kept)
    assert sorted(sample(range(299, -1, -1)).kept) == whole.kept


def test_another_seed_draws_others_and_each_item_has_the_same_chance() -> None:
    assert sample(range(300)).kept != sample(range(300), seed=1).kept
    drawn = [number for seed in range(400) for number in sample(range(50), most=10, seed=seed).kept]
    assert len(drawn) == 4000
    for number in range(50):  # 80 are expected, and 8 are one standard deviation
        assert 45 < drawn.count(number) < 115


def test_of_rows_with_one_id_the_first_ones_are_drawn() -> None:
    made, later = Reservoir[int](most=3), Reservoir[int](most=3)
    for number in range(10):
        (made if number < 2 else later).offer("same", partial(int, number))
    made.merge(later)
    assert made.kept == [0, 1, 2]


def test_items_are_only_made_if_they_may_be_drawn() -> None:
    made = list[int]()
    reservoir = Reservoir[None](most=10)
    for number in range(10_000):
        reservoir.offer(str(number), partial(made.append, number))
    assert len(made) < 300
    assert len(reservoir.drawn) <= 20


def test_a_sample_can_be_saved() -> None:
    made = sample(range(100))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(made), type=Reservoir[int]) == made
