from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semroute.execution.token_bucket import Bucket


def test_it_fills_up_evenly() -> None:
    bucket = Bucket(60, 0)
    bucket.spend(60, 0)
    assert bucket.wait_s(1, 0) == 1
    assert bucket.wait_s(1, 1) == 0
    assert bucket.level(1000) == 60


def test_more_than_it_holds_needs_a_full_one() -> None:
    bucket = Bucket(60, 0)
    assert bucket.wait_s(1000, 0) == 0
    bucket.spend(1000, 0)
    assert bucket.wait_s(1, 0) == 941


def test_what_was_not_needed_comes_back() -> None:
    bucket = Bucket(60, 0)
    bucket.spend(60, 0)
    bucket.spend(-30, 0)
    assert bucket.level(0) == 30


def test_headers_are_believed() -> None:
    bucket = Bucket(60, 0)
    bucket.learn(limit=100, remaining=0, reset_s=10, now=0)
    assert bucket.wait_s(1, 0) == 0.1
    bucket.learn(limit=None, remaining=500, reset_s=None, now=0)
    assert bucket.level(0) == 100


@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=100))
def test_never_more_than_the_rate_allows(calls: list[tuple[float, int]]) -> None:
    bucket, now, spent = Bucket(60, 0), 0.0, 0
    for pause_s, amount in calls:
        now += pause_s
        if bucket.wait_s(amount, now) == 0:
            bucket.spend(amount, now)
            spent += amount
    assert spent <= 60 + now + 1e-6
