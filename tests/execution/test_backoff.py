from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.config.schema.resilience import Retry
from semroute.execution.backoff import pause

RETRY = Retry(base_s=0.5, cap_s=4, max_wait_s=5)


def wait(repeated: int = 0, asked_s: float | None = None, left_s: float = 60, others: bool = True) -> float | None:
    return pause(RETRY, repeated, asked_s=asked_s, left_s=left_s, others=others, random=lambda: 0.999)


def test_the_longest_pause_doubles_up_to_the_cap() -> None:
    waits = [wait(repeated) or 0 for repeated in range(6)]
    assert [round(each, 1) for each in waits] == [0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


def test_no_pause_is_next_to_nothing() -> None:
    waits = [pause(RETRY, n, asked_s=None, left_s=60, others=True, random=lambda: 0.0) for n in range(4)]
    assert waits == [0.25, 0.5, 1.0, 2.0]


def test_what_the_provider_asks_for_is_kept() -> None:
    assert wait(asked_s=3) == 3


@pytest.mark.parametrize("others", [True, False])
def test_a_provider_that_asks_for_too_long_is_left(others: bool) -> None:
    assert wait(asked_s=30, others=others) is None
    assert wait(asked_s=5, others=others) == (None if others else 5)


def test_no_pause_goes_past_the_deadline() -> None:
    assert wait(asked_s=30, left_s=20, others=False) is None
    assert wait(left_s=0.1) is None


@given(st.integers(0, 200), st.floats(0, 0.999), st.floats(0.01, 1000), st.booleans(), st.none() | st.floats(0, 100))
def test_a_pause_is_within_all_its_bounds(
    repeated: int, chance: float, left_s: float, others: bool, asked_s: float | None
) -> None:
    waited = pause(RETRY, repeated, asked_s=asked_s, left_s=left_s, others=others, random=lambda: chance)
    if waited is not None:
        assert (asked_s or 0) <= waited < left_s
        assert RETRY.base_s / 2 <= waited <= max(RETRY.cap_s, asked_s or 0)
