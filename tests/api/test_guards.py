from __future__ import annotations

import pytest

from semroute.api.guards import REFUSED_EVERY_S, Refusals, token_of


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_refused_admin_calls_are_told_of_once_a_minute() -> None:
    clock = Clock()
    refusals = Refusals(clock)
    assert refusals.another() == ""
    assert [refusals.another() for _ in range(1000)] == [None] * 1000
    clock.now += REFUSED_EVERY_S
    assert refusals.another() == "and 1000 more before it"
    clock.now += REFUSED_EVERY_S
    assert refusals.another() == ""


@pytest.mark.parametrize(
    ("headers", "token"),
    [
        ({}, ""),
        ({"authorization": "Bearer a"}, "a"),
        ({"authorization": "bearer  a "}, "a"),
        ({"authorization": "Bearer a", "x-api-key": "b"}, "a"),
        ({"authorization": "Bearer ", "x-api-key": "b"}, ""),
        ({"authorization": "Basic a", "x-api-key": "b"}, "b"),
        ({"authorization": "", "x-goog-api-key": "b"}, "b"),
        ({"authorization": "Basic a"}, ""),
        ({"authorization": "bearer\ta"}, ""),
        ({"x-api-key": "a"}, "a"),
    ],
)
def test_a_bearer_token_counts_before_the_headers_of_some_vendors(headers: dict[str, str], token: str) -> None:
    assert token_of(headers) == token
