"""Drift over time: which windows moved, and what a log with too little says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from semroute.errors import RequestError
from semroute.learning.drift_over_time import SampledWindows
from semroute.learning.logged_decisions import LoggedDecision
from tests.learning.logs import line

DAY_S = 86_400.0
END = 100 * DAY_S


def rows(days: int, each: int, moved_from: int, empty: int | None = None) -> Iterator[LoggedDecision]:
    """Rows of the days before `END`. From one day on, a third goes to no route and is not in scope."""
    random = np.random.default_rng(5)
    for number in range(days * each):
        day = number // each
        if day == empty:
            continue
        new = day >= moved_from and random.random() < 0.4
        fields: dict[str, Any] = {
            "at": END - (days - day - number % each / each) * DAY_S,
            "decision": {"in_scope": float(random.beta(2, 8) if new else random.beta(8, 2))},
        }
        yield msgspec.convert(line(number, None, route=None if new else "billing", **fields), LoggedDecision)


def windows(**given: Any) -> SampledWindows:
    return SampledWindows(END, **{"window_s": DAY_S, "windows": 5, "reference_s": 5 * DAY_S, **given})


def test_windows_move_from_the_day_on_which_the_traffic_does() -> None:
    sampled = windows()
    sampled.add(rows(10, 200, moved_from=8))
    found = sampled.compare(0.01)
    assert found.reference.rows == 1000
    assert [one.window.rows for one in found.windows] == [200] * 5
    assert [one.drift is not None and one.drift.moved for one in found.windows] == [False, False, False, True, True]
    last = found.windows[-1].drift
    assert last is not None
    assert {change.what for change in last.changes if change.moved} >= {"share of the default", "in-scope score"}


def test_rows_outside_all_windows_do_not_count() -> None:
    sampled = windows(windows=2, reference_s=2 * DAY_S)
    assert (sampled.since, sampled.until) == (END - 4 * DAY_S, END)
    sampled.add(rows(10, 150, moved_from=99))
    found = sampled.compare(0.01)
    assert found.reference.rows == 300
    assert not any(one.drift is not None and one.drift.moved for one in found.windows)


def test_a_window_with_few_rows_is_not_compared() -> None:
    sampled = windows()
    sampled.add(rows(10, 150, moved_from=99, empty=7))
    done: list[tuple[int, int]] = []
    found = sampled.compare(0.01, lambda *told: done.append(told))
    assert [one.drift is None for one in found.windows] == [False, False, True, False, False]
    assert done == [(number, 5) for number in range(5)]


@pytest.mark.parametrize(("days", "each"), [(10, 15), (3, 150), (0, 0)])
def test_too_few_rows_are_told(days: int, each: int) -> None:
    sampled = windows()
    sampled.add(rows(days, each, moved_from=99))
    with pytest.raises(
        RequestError, match=r"the reference has \d+ requests .* expected at least 100 in both: .* fewer"
    ):
        sampled.compare(0.01)
