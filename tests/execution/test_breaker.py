from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from semroute.config.schema.resilience import BreakerSettings
from semroute.execution.breaker import CALLERS, Breaker, CallerOutcomes

SETTINGS = BreakerSettings(failures=3, error_ratio=0.5, window_s=10, min_calls=10, probe_s=5)


def opened(now: float = 0) -> Breaker:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.fail(now)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker(SETTINGS)
    for result in (breaker.fail, breaker.fail, breaker.succeed, breaker.fail, breaker.fail):
        result(0)
    assert breaker.state(0) == "closed"
    breaker.fail(0)
    assert (breaker.state(0), breaker.opens_in_s(1)) == ("open", 4)


def test_a_share_of_failures_opens_it_once_there_are_enough_calls() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        breaker.succeed(0)
        breaker.fail(0)
    assert breaker.state(0) == "closed"
    breaker.succeed(0)
    breaker.fail(0)
    assert breaker.state(0) == "open"


def test_failures_that_have_left_the_window_do_not_count() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(4):
        breaker.succeed(0)
        breaker.fail(0)
    for _ in range(4):
        breaker.succeed(11)
        breaker.fail(11)
    assert breaker.state(11) == "closed"


def test_one_call_at_a_time_probes() -> None:
    breaker = opened()
    assert breaker.state(5) == "half_open"
    assert breaker.begin(5) is True
    assert breaker.state(5) == "open"
    breaker.fail(6, probe=True)
    assert breaker.opens_in_s(6) == 5


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.begin(5)
    breaker.succeed(6, probe=True)
    assert breaker.state(6) == "closed"
    assert breaker.begin(6) is False


def test_a_probe_that_hangs_does_not_keep_others_from_probing() -> None:
    breaker = opened()
    breaker.begin(5)
    assert breaker.state(10) == "half_open"


def test_a_probe_whose_caller_left_is_made_up_for_at_once() -> None:
    breaker = opened()
    breaker.begin(5)
    breaker.abandon(6, probe=True)
    assert breaker.state(6) == "half_open"


def test_calls_from_before_the_trouble_change_nothing() -> None:
    breaker = opened()
    breaker.succeed(1)
    breaker.fail(1)
    breaker.abandon(1)
    assert breaker.opens_in_s(1) == 4


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
def test_it_closes_within_one_probe_interval_of_recovery(calls: list[tuple[float, bool]]) -> None:
    breaker, now = Breaker(SETTINGS), 0.0
    for pause_s, fails in calls:
        now += pause_s
        if breaker.opens_in_s(now) == 0:
            probe = breaker.begin(now)
            (breaker.fail if fails else breaker.succeed)(now, probe=probe)
    now += SETTINGS.probe_s
    assert breaker.opens_in_s(now) == 0
    breaker.succeed(now, probe=breaker.begin(now))
    assert breaker.state(now) == "closed"


def test_what_only_one_caller_gets_does_not_count() -> None:
    breaker = Breaker(SETTINGS)
    breaker.succeed(0, caller="other")
    for _ in range(100):
        breaker.fail(1, caller="greedy")
    assert breaker.state(1) == "closed"


def test_the_failures_of_a_lone_caller_count() -> None:
    breaker = Breaker(SETTINGS)
    breaker.succeed(0, caller="long-gone")
    for _ in range(3):
        breaker.fail(11, caller="alone")
    assert breaker.state(11) == "open"


def test_what_all_callers_get_counts_almost_at_once() -> None:
    breaker = Breaker(SETTINGS)
    callers = ["a", "b", "c"]
    for caller in callers:
        breaker.succeed(0, caller=caller)
    for caller in (*callers, *callers):
        breaker.fail(1, caller=caller)
    assert breaker.state(1) == "open"


def test_callers_that_are_remembered_are_bounded() -> None:
    callers = CallerOutcomes(10)
    for number in range(10 * CALLERS):
        callers.note(str(number), 0, served=True)
    assert len(callers._last) == CALLERS


def test_another_callers_success_closes_what_one_caller_opened() -> None:
    breaker = Breaker(SETTINGS)
    for _ in range(3):
        breaker.fail(1, caller="greedy")
    breaker.succeed(2, caller="greedy")
    assert breaker.state(2) == "open"
    breaker.succeed(2, caller="other")
    assert breaker.state(2) == "closed"


def test_a_late_success_does_not_close_what_several_callers_opened() -> None:
    breaker = Breaker(SETTINGS)
    for caller in ("a", "b", "c"):
        breaker.fail(1, caller=caller)
    breaker.succeed(2, caller="d")
    assert breaker.state(2) == "open"
