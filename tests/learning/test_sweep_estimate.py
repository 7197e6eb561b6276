"""The estimates of a sweep against simulated logs whose truth is known."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from semroute.learning import sweep_table
from semroute.learning.sweep_estimate import CHECKS, JUDGES, PAIRS, PEOPLE, Estimate, Estimator
from semroute.learning.sweep_report import Floor, SweepReport, report
from semroute.learning.sweep_table import UNKNOWN, Block, Plan, SweepTable
from semroute.learning.unit_bootstrap import expanded_tail
from tests.learning.sweep_tables import BLOCK, LARGE, PLAN, SMALL, VALUES, simulate

DRAWS = 300
ALL_SMALL = VALUES.index(1.0) + 1


def estimate(table: SweepTable, setting: int = ALL_SMALL) -> Estimate:
    return Estimator(table.sorted(), BLOCK, draws=DRAWS).estimate(setting)


@cache
def truth(value: float, spread: float = 0.0) -> float:
    """What a setting keeps in a log without end."""
    return simulate(999, units=40_000, spread=spread).retained(value)


@pytest.mark.parametrize(
    ("evidence", "estimators"),
    [
        ({"shadowed": 0.3, "graded": 0.3}, {PAIRS}),
        ({"explored": 0.3, "graded": 0.6}, {PEOPLE}),
        ({"explored": 0.3, "judged": 0.6}, {JUDGES}),
        ({"explored": 0.2, "shadowed": 0.1, "graded": 0.4, "judged": 0.3}, {PAIRS, PEOPLE, JUDGES}),
    ],
)
def test_intervals_hold_the_truth(evidence: dict[str, Any], estimators: set[str]) -> None:
    found = [estimate(simulate(seed, **evidence).table) for seed in range(60)]
    assert {used.estimator for used in found[0].used} == estimators
    errors = [one.retained.value - truth(1.0) for one in found]
    assert abs(np.mean(errors)) < 3 * np.std(errors) / math.sqrt(60), "the mean error is none"
    held = sum(one.retained.low <= truth(1.0) <= one.retained.high for one in found)
    assert held >= 52, "of 60 intervals of 95%, fewer than 52 hold the truth by chance in 3 of 1,000 cases"


def test_requests_of_one_unit_do_not_count_as_independent() -> None:
    by_unit, by_request = 0, 0
    for seed in range(40):
        table = simulate(seed, spread=0.4, shadowed=0.6, graded=0.5).table
        found = estimate(table).retained
        by_unit += found.low <= truth(1.0, 0.4) <= found.high
        table.rows["unit"] = table.rows["order"]
        found = estimate(table).retained
        by_request += found.low <= truth(1.0, 0.4) <= found.high
    assert by_unit >= 34
    assert by_request < by_unit


def test_the_mean_of_the_answers_that_a_model_gave_is_no_estimate() -> None:
    """The small model gets the easy requests. Its mean score would say that it keeps nearly everything."""
    log = simulate(3, units=2000, explored=0.2, graded=1.0)
    rows = log.table.rows
    naive = np.nanmean(rows["person"][rows["first"] == SMALL]) / np.nanmean(rows["person"])
    found = estimate(log.table).retained
    assert naive > truth(1.0) + 0.03
    assert found.low <= truth(1.0) <= found.high < naive


def test_scores_of_people_and_of_a_stricter_judge_are_not_mixed() -> None:
    """The judge gives .8 for what people find good. It looks at answers of the small model only."""
    log = simulate(5, units=3000, explored=0.3, graded=0.3, judged=0.5, loss=0.0)
    log.table.rows["judge"][log.table.rows["first"] == LARGE] = np.nan
    found = estimate(log.table)
    assert {used.estimator for used in found.used} == {PEOPLE}
    assert found.retained.low <= 1 <= found.retained.high


def test_a_log_without_evidence_is_not_extrapolated() -> None:
    found = estimate(simulate(1, graded=1.0).table)
    assert not found.known
    assert (found.used, found.uncovered) == ((), found.moved)
    assert found.retained.low < 0.55 and found.retained.high > 1.4
    assert sum(group[3] for group in found.uncovered_groups) == round(found.moved * len(simulate(1).table.rows))


def test_a_route_that_was_never_tried_widens_the_interval() -> None:
    log = simulate(2, units=600, shadowed=0.5, graded=0.5)
    whole = estimate(log.table)
    log.table.rows["pair_model"][log.table.rows["route"] == 1] = UNKNOWN
    part = estimate(log.table)
    assert whole.uncovered == 0 < part.uncovered < part.moved
    assert {group[0] for group in part.uncovered_groups} == {1}
    assert part.retained.low < whole.retained.low - part.uncovered / 2


def test_few_equal_comparisons_are_not_certain() -> None:
    log = simulate(4, units=40, shadowed=0.15, loss=0.0)
    log.table.rows["pair_difference"] = 0
    few = estimate(log.table).retained
    log = simulate(4, units=4000, shadowed=0.5, loss=0.0)
    log.table.rows["pair_difference"] = 0
    many = estimate(log.table).retained
    assert few.low < 0.97 < 0.99 < many.low <= 1 <= many.high


def test_a_failed_check_counts_only_where_nothing_else_does() -> None:
    block = Block("judge_threshold", 0, VALUES)
    table = simulate(6, units=300, shadowed=0.5).table
    table.plan = Plan((block,), PLAN.models, PLAN.routes)
    table.rows["pair_weak"][:, 0] = True
    weak = Estimator(table.sorted(), block, draws=DRAWS).estimate(ALL_SMALL)
    assert [used.estimator for used in weak.used] == [CHECKS]
    table.rows["pair_weak"][:, 0] = np.arange(len(table.rows)) % 2 == 0
    both = Estimator(table.sorted(), block, draws=DRAWS).estimate(ALL_SMALL)
    assert [used.estimator for used in both.used] == [PAIRS]


def test_parts_of_a_log_give_the_same_figures_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep_table, "MOST_ROWS", 400)
    rows = simulate(7, units=400, explored=0.2, graded=0.3).table.rows

    def merged(parts: list[sweep_table.Table]) -> SweepTable:
        table = SweepTable(PLAN)
        for part in parts:
            table.merge([SweepTable(PLAN, part)])
        return table

    one = merged([rows])
    several = merged(list(reversed(np.array_split(rows, 7))))
    assert one.halvings == several.halvings != [0, 0]
    assert len(one.rows) < len(rows)
    assert told(one) == told(several)
    units = set(one.rows["unit"].tolist())
    kept = rows[[unit in units for unit in rows["unit"].tolist()]]
    assert len(kept) <= len(rows) * 2 / 3, "whole units are left out"


def told(table: SweepTable, floor: Floor = Floor(value=0.97), seed: int = 0) -> SweepReport:  # noqa: B008 - immutable
    return report(table, floor, {BLOCK.dial: {"policy": 0.5}}, seed=seed, draws=DRAWS)


def test_the_setting_that_saves_most_above_the_floor_is_marked() -> None:
    log = simulate(8, units=3000, shadowed=0.4, graded=0.4)
    [curve] = told(log.table).curves
    assert curve.best == 0.6
    assert log.retained(0.6) > 0.97 > log.retained(0.7)
    points = {point.value: point for point in curve.points}
    assert points[1.0].verdict == "lost" and points[0.3].saving.value < 0
    assert curve.told.startswith("0.6 saves ") and "the floor is 97.0% of today's quality" in curve.told
    [curve] = told(log.table, Floor(value=0.6, absolute=True)).curves
    assert curve.best == 1.0
    [curve] = told(log.table, Floor(value=0.95, absolute=True)).curves
    assert curve.best is None


def test_the_same_seed_gives_the_same_report() -> None:
    table = simulate(8, shadowed=0.2, graded=0.2).table
    assert told(table) == told(table)
    assert told(table) != told(table, seed=1)


def test_the_report_says_how_many_more_comparisons_would_tell() -> None:
    few = simulate(9, units=120, shadowed=0.1, graded=0.4, loss=0.1)
    [curve] = told(few.table, Floor(value=0.9)).curves
    point = next(point for point in curve.points if point.value == 1.0)
    assert (point.verdict, curve.best) == ("not known", 0.7)
    assert point.more_labels is not None
    had = sum(used.rows for used in point.used)
    scale = math.ceil(2.5 * (had + point.more_labels) / had)  # the estimate of the few may be lucky
    more = simulate(9, units=120 * scale, shadowed=0.1, graded=0.4, loss=0.1)
    [curve] = told(more.table, Floor(value=0.9)).curves
    assert curve.best == 1.0


def test_without_evidence_nothing_is_marked() -> None:
    [curve] = told(simulate(1, units=500, graded=1.0).table).curves
    assert curve.best is None
    assert curve.told.startswith("the data cannot tell which setting keeps 97.0% of today's quality: for 0.55, about ")
    assert "requests of hard that move from large to small)" in curve.told


def test_an_absolute_floor_needs_grades() -> None:
    [curve] = told(simulate(1, shadowed=0.5).table, Floor(value=0.5, absolute=True)).curves
    assert curve.best is None
    assert curve.told.startswith("the data cannot tell: too few answers were graded by themselves")


def test_an_empty_table_has_no_curve() -> None:
    assert told(SweepTable(PLAN)).curves == ()


def test_few_units_make_the_tails_smaller() -> None:
    # t(.975) is 2.2622 with 9 degrees of freedom: the tail of 2.2622 * sqrt(10 / 9) is .00854
    assert expanded_tail(10) == pytest.approx(0.00854, rel=0.01)
    assert expanded_tail(100_000) == pytest.approx(0.025, rel=0.001)
