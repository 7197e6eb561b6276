from __future__ import annotations

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.execution.hedging import FEW, FLOOR_S, KEPT, SLACK, THINKING_S, UNPROVEN_S, Silences
from semroute.messages import ChatRequest, Params

MODEL = Model(id="m", provider="p", name="m")
REQUEST = ChatRequest(id="1", messages=())
PLAIN, DEFAULT = Params(), Policy()


def patience(
    silences: Silences | None = None,
    *,
    model: Model = MODEL,
    params: Params = PLAIN,
    policy: Policy = DEFAULT,
    whole: bool = False,
) -> float:
    silences = Silences() if silences is None else silences
    return silences.patience_s(model, replace(REQUEST, params=params), policy, whole=whole)


def seen(*silent_s: float, times: int = FEW, tokens: int = 0) -> Silences:
    silences = Silences()
    for _ in range(times):
        for each in silent_s:
            silences.answered(each, tokens)
    return silences


@pytest.mark.parametrize("whole", [False, True])
def test_eight_seconds_need_no_samples(whole: bool) -> None:
    assert patience(whole=whole) == 8.0


def test_a_fast_model_is_given_the_floor_all_the_same() -> None:
    assert patience(seen(0.2, 0.3)) == FLOOR_S


def test_a_model_that_thinks_for_long_is_given_half_as_long_again() -> None:
    assert patience(seen(20.0)) == 20 * SLACK
    assert patience(seen(20.0, times=1)) == 20 * SLACK


def test_single_slow_answers_among_many_fast_ones_change_nothing() -> None:
    silences = seen(0.5, times=KEPT - 2)
    silences.answered(60)
    silences.answered(60)
    assert patience(silences) == FLOOR_S


def test_what_was_long_ago_is_forgotten() -> None:
    silences = seen(60.0, times=KEPT)
    for _ in range(KEPT):
        silences.answered(0.5)
    assert patience(silences) == FLOOR_S


@pytest.mark.parametrize("params", [Params(effort="high"), Params(thinking_tokens=4000)])
def test_who_asks_a_model_to_think_lets_it(params: Params) -> None:
    assert patience(params=params) == patience(seen(0.5), params=params) == THINKING_S


def test_a_reasoning_model_may_think_until_it_is_known_not_to() -> None:
    thinker = replace(MODEL, features=("reasoning",))
    assert patience(model=thinker) == THINKING_S
    assert patience(model=thinker, params=Params(effort="minimal")) == FLOOR_S
    assert patience(seen(1.0), model=thinker) == FLOOR_S


def test_a_latency_that_is_written_counts_until_it_is_measured() -> None:
    slow = replace(MODEL, latency_ms=30_000)
    assert patience(model=slow) == 30 * SLACK
    assert patience(seen(1.0), model=slow) == FLOOR_S


def test_a_whole_answer_takes_as_long_as_its_text() -> None:
    long = Policy(expected_output_tokens=4000)
    assert patience(policy=long, whole=True) == 80
    assert patience(policy=long) == FLOOR_S
    assert patience(policy=long, params=Params(max_tokens=100), whole=True) == FLOOR_S
    measured = seen(40.0, tokens=2000)
    assert patience(measured, whole=True) == 40 * SLACK
    assert patience(measured, params=Params(max_tokens=1000), whole=True) == 20 * SLACK
    assert patience(measured, params=Params(max_tokens=9000), whole=True) == 40 * SLACK


def test_silence_earns_a_little_more_until_an_answer_comes() -> None:
    silences = Silences()
    given = []
    for _ in range(4):
        given.append(patience(silences))
        silences.unanswered(given[-1])
    assert given == [8, 12, UNPROVEN_S, UNPROVEN_S]
    silences.answered(1.0)
    assert patience(silences) == FLOOR_S
