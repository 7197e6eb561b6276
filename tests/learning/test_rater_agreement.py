"""How far a judge agrees with people."""

from __future__ import annotations

import pytest

from semroute.learning.rater_agreement import Agreement, Raters


def agreement(both: int, judge: int, people: int, neither: int, unit: str = "") -> Agreement:
    raters = Raters()
    for count, ratings in (
        (both, (True, True)),
        (judge, (True, False)),
        (people, (False, True)),
        (neither, (False,) * 2),
    ):
        for _ in range(count):
            raters.add(*ratings, unit)
    return raters.agreement()


def test_kappa_of_a_known_table() -> None:
    """20, 5, 10 and 15 of 50: observed .7, by chance .5, so kappa is .4."""
    found = agreement(20, 5, 10, 15)
    assert found.n == 50
    assert (found.observed, found.kappa) == pytest.approx((0.7, 0.4))
    assert (found.both_good, found.judge_good, found.people_good, found.both_bad) == (20, 5, 10, 15)
    assert found.low == pytest.approx(0.13, abs=0.04) and found.high == pytest.approx(0.63, abs=0.04)


def test_more_answers_make_it_more_certain() -> None:
    few, many = agreement(20, 5, 10, 15), agreement(2000, 500, 1000, 1500)
    assert few.low is not None and few.high is not None and many.low is not None and many.high is not None
    assert few.low < many.low < 0.4 < many.high < few.high


def test_three_answers_that_agree_prove_little() -> None:
    found = agreement(2, 0, 0, 1)
    assert (found.kappa, found.high) == (1.0, 1.0)
    assert found.low is not None and found.low < 0.3


def test_agreement_by_chance_is_none() -> None:
    assert agreement(45, 45, 5, 5).kappa == pytest.approx(0.0)
    against = agreement(0, 10, 10, 0)
    assert against.kappa == pytest.approx(-1.0)


@pytest.mark.parametrize("table", [(0, 0, 0, 0), (7, 0, 0, 0), (0, 0, 0, 7)])
def test_where_both_know_one_class_only_it_is_not_defined(table: tuple[int, int, int, int]) -> None:
    found = agreement(*table)
    assert (found.kappa, found.low, found.high) == (None, None, None)
    assert found.observed == (1.0 if sum(table) else None)
