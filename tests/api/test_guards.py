from __future__ import annotations

from semroute.api.guards import REFUSED_EVERY_S, Refusals


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
