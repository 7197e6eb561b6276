"""The pace of trials while the process is busy."""

from __future__ import annotations

import pytest

from semroute.trials.pace import ONE_IN, PER_S, Pace


class Service:
    """Gets requests, and makes trials of one in ten of those that may be drawn."""

    def __init__(self) -> None:
        self.time = self.worked = 0.0
        self.share = 1.0
        self.pace = Pace(lambda: self.time, lambda: self.worked)

    def serve(self, requests: int, apart_s: float) -> tuple[int, int]:
        """Return how many requests may be drawn, and how many trials have begun."""
        drawn = begun = waiting = 0
        for number in range(requests):
            self.time += apart_s
            self.worked += apart_s * self.share
            may = self.pace.may_draw(waiting)
            drawn += may
            waiting += may and number % 10 == 0
            if waiting and self.pace.begins():
                waiting -= 1
                begun += 1
        return drawn, begun


def test_all_requests_may_be_drawn_while_there_is_time() -> None:
    service = Service()
    service.share = 0.4
    service.serve(2000, 0.001)
    assert service.serve(20_000, 0.0005) == (20_000, 2000)


def test_a_busy_process_makes_few_trials() -> None:
    service = Service()
    service.serve(2000, 0.001)  # the first second shows that it is busy
    assert service.serve(20_000, 0.0005)[1] == pytest.approx(10 * PER_S + 20_000 / ONE_IN, abs=3)


def test_it_stays_careful_for_a_while() -> None:
    service = Service()
    service.serve(4000, 0.001)
    service.share = 0.4
    assert service.serve(16_000, 0.0005)[1] < 30
    service.serve(4000, 0.001)
    assert service.serve(20_000, 0.0005) == (20_000, 2000)
