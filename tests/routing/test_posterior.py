from __future__ import annotations

import numpy as np
import pytest

from semroute.config.schema.policies import Learn
from semroute.decision import Belief
from semroute.routing.posterior import DRAWS, Grades, belief_of, draws, interval, surely_below

TODAY = 20_000
BELIEFS = [(7, 3), (0.3, 2.7), (0.5, 0.5), (1, 1), (50, 1), (700, 300), (2e6, 1e6)]


def test_without_grades_the_stated_quality_counts_with_its_weight() -> None:
    belief = belief_of(0.7, Learn(prior_weight=20), (), TODAY)
    assert (belief.good, belief.bad) == pytest.approx((14, 6)) and belief.mean == pytest.approx(0.7)


def test_grades_add_to_the_prior_with_fractions() -> None:
    belief = belief_of(0.5, Learn(prior_weight=10), [Grades(TODAY, 4, 2.5)], TODAY)
    assert (belief.good, belief.bad) == pytest.approx((7.5, 6.5))


def test_a_grade_loses_half_its_weight_with_each_half_life() -> None:
    learn = Learn(prior_weight=10, half_life_days=5)
    days = [Grades(TODAY - 10, 8, 8.0), Grades(TODAY - 5, 4, 0.0), Grades(TODAY, 1, 1.0)]
    belief = belief_of(0.5, learn, days, TODAY)
    assert (belief.good, belief.bad) == pytest.approx((5 + 2 + 1, 5 + 2))


def test_a_clock_that_is_behind_gives_no_grade_more_weight() -> None:
    ahead = belief_of(0.5, Learn(), [Grades(TODAY + 3, 1, 1.0)], TODAY)
    assert ahead == belief_of(0.5, Learn(), [Grades(TODAY, 1, 1.0)], TODAY)


@pytest.mark.parametrize("stated", [0.0, 1.0])
def test_grades_can_move_a_quality_that_is_stated_as_sure(stated: float) -> None:
    against = [Grades(TODAY, 10_000, 10_000 * (1 - stated))]
    assert belief_of(stated, Learn(), against, TODAY).mean == pytest.approx(1 - stated, abs=0.02)


@pytest.mark.parametrize(("good", "bad"), BELIEFS)
def test_draws_are_those_of_the_beta_distribution(good: float, bad: float) -> None:
    belief, random = Belief(good=good, bad=bad), np.random.default_rng(1).beta(good, bad, 200_000)
    found = draws(belief, "small")
    spread = random.std()
    assert found.shape == (DRAWS,) and found.min() >= 0 and found.max() <= 1
    assert found.mean() == pytest.approx(random.mean(), abs=0.02 * spread + 0.003)
    assert found.std() == pytest.approx(spread, rel=0.05)
    expected = np.quantile(random, [0.025, 0.975])
    assert interval(belief) == pytest.approx(tuple(expected), abs=0.05 * spread + 0.003)


def test_the_draws_of_two_models_do_not_depend_on_each_other() -> None:
    belief = Belief(good=7, bad=3)
    one, other = draws(belief, "small"), draws(belief, "large")
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.15
    assert sorted(one) == pytest.approx(sorted(other)) and list(one) != list(other)


def test_something_is_sure_from_95_percent_on() -> None:
    belief = Belief(good=30, bad=70)
    bound = float(np.quantile(np.random.default_rng(1).beta(30, 70, 400_000), 0.95))
    assert surely_below(belief, bound + 0.005) and not surely_below(belief, bound - 0.005)
