from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import BreakerSettings, OnError, RateLimits, Retry, StreamPolicy, Timeouts
from semroute.errors import (
    BadAnswerError,
    ContentPolicyError,
    ContextLengthError,
    NoModelError,
    PlanExhaustedError,
    ProviderModelError,
    ProviderRequestError,
    ProviderTimeoutError,
    RateLimitedError,
    StreamBrokenError,
)
from semroute.execution import model_call, streaming
from semroute.execution.clock import Clock
from semroute.execution.deployments import Deployments
from semroute.execution.executor import Execution, first_answer
from semroute.execution.model_call import Work
from semroute.execution.streaming import first_stream
from semroute.messages import Chunk, JsonSchema, Params, Usage, total
from semroute.record import Attempt
from tests.execution.rig import PATIENT, QUICK, Rig, rig
from tests.providers.fault_server import FaultServer
from tests.providers.harder import LONG
from tests.providers.scenarios import PROMPT_TOKENS, TEXT, WORDS

BREAKS = StreamPolicy(on_break="error")
SILENT = Timeouts(connect_s=1, first_token_s=1, stall_s=1, total_s=1)
"""So long a provider may be silent, where the test is about that."""


def policy(**changes: object) -> Policy:
    return replace(QUICK, **changes)


# --- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("scenario", ["flaky-2", "limited-2"])
async def test_the_same_model_is_asked_twice_again(execution: Rig, scenario: str, stream: bool) -> None:
    assert await execution.ask(scenario, stream=stream) == TEXT
    assert len(execution.attempts) == len(execution.server.requests) == 3


@pytest.mark.parametrize("scenario", ["status-500", "status-503", "status-429", "reset", "close"])
async def test_then_the_next_one(execution: Rig, scenario: str) -> None:
    assert await execution.ask(scenario, "ok") == TEXT
    assert [model for model, _ in execution.account] == [scenario] * 3 + ["ok"]
    assert execution.server.counts == {scenario: 3, "ok": 1}


@pytest.mark.parametrize("scenario", ["hang", "slow-1000", "loris-10", "loris-head-10"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_silent_provider_is_left_not_asked_again(execution: Rig, scenario: str, stream: bool) -> None:
    assert await execution.ask(scenario, "ok", stream=stream, policy=policy(timeouts=SILENT)) == TEXT
    assert execution.account == [(scenario, "provider_timeout"), ("ok", "ok")]


async def test_pauses_are_random_between_half_of_a_doubling_bound_and_all_of_it(provider: FaultServer) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    clock = Clock(sleep=sleep, random=lambda: 0.5)
    async with rig(provider, Deployments(clock)) as execution:
        await execution.ask("status-500", "ok", policy=policy(retry=Retry(base_s=0.5, cap_s=10)))
    assert pauses == [0.375, 0.75]


async def test_retry_after_is_kept_within_the_deadline(provider: FaultServer) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = Clock(now=lambda: now, sleep=sleep, random=lambda: 0.5)
    async with rig(provider, Deployments(clock)) as execution:
        assert await execution.ask("retry-after-3", "ok", policy=policy(deadline_s=60)) == TEXT
        assert (now, len(execution.attempts)) == (3, 2)
        # Too long, whether another model is there or not.
        assert await execution.ask("retry-after-30", "ok", policy=policy(deadline_s=60)) == TEXT
        assert execution.account[-1] == ("ok", "ok")
        assert now == 3
        error = await execution.error("retry-after-31", policy=policy(deadline_s=60))
        assert isinstance(error, PlanExhaustedError)
        assert (error.retry_after_s, error.retryable, now) == (31, True, 3)
        # Nor does the next request wait for what the last one was told.
        error = await execution.error("retry-after-31", policy=policy(deadline_s=60))
        assert isinstance(error, RateLimitedError)
        assert "its provider asked semroute to wait another 31.0 s" in str(error)
        assert (error.retry_after_s, now) == (31, 3)
        # A route that says so waits longer.
        patient = Retry(max_wait_s=40)
        assert await execution.ask("retry-after-32", policy=policy(deadline_s=60, retry=patient)) == TEXT
        assert now == 35
        # Past the deadline nobody waits.
        error = await execution.error("retry-after-33", policy=policy(deadline_s=10, retry=patient))
        assert isinstance(error, PlanExhaustedError)
        assert (error.last.retry_after_s, now) == (33, 35)


async def test_the_deadline_covers_all_calls(execution: Rig) -> None:
    slow = policy(deadline_s=0.5, timeouts=PATIENT)
    error = await execution.error("hang", "slow-1000", policy=slow)
    assert isinstance(error, PlanExhaustedError)
    assert isinstance(error.last, ProviderTimeoutError)
    assert sorted(execution.account) == [("hang", "provider_timeout"), ("slow-1000", "provider_timeout")]


async def test_the_budget_bounds_the_calls(execution: Rig) -> None:
    await execution.error("status-500", "status-503", policy=policy(retry=Retry(max_attempts=4, base_s=0.001)))
    assert len(execution.attempts) == 4


async def test_a_route_changes_what_a_fault_leads_to(execution: Rig) -> None:
    changed = policy(on_error={"server_error": OnError(retries=0), "refused_request": OnError(then="next")})
    assert await execution.ask("status-500", "status-400", "ok", policy=changed) == TEXT
    assert len(execution.attempts) == 3


# --- what falls back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["status-400", "status-422", "status-413"])
async def test_the_callers_fault_is_passed_on(execution: Rig, scenario: str) -> None:
    assert isinstance(await execution.error(scenario, "ok"), ProviderRequestError)
    assert len(execution.attempts) == 1


async def test_an_unknown_window_is_not_a_small_one(execution: Rig) -> None:
    assert await execution.ask("context-length", "ok") == TEXT
    small, large = execution.model("ok@small", context_tokens=1), execution.model("ok@large", context_tokens=2000)
    tight = execution.model("context-length", context_tokens=1000)
    assert await execution.ask(tight, small, "context-length@unknown", large) == TEXT
    assert [model for model, _ in execution.account] == ["context-length", "ok@large"]
    error = await execution.error(tight, small, "context-length@unknown")
    assert isinstance(error, ContextLengthError)
    assert [model for model, _ in execution.account] == ["context-length", "context-length@unknown"]


async def test_a_request_that_is_too_long_goes_to_a_larger_window_only(execution: Rig) -> None:
    tight = execution.model("context-length", context_tokens=1000)
    same = execution.model("ok@same", context_tokens=1000)
    large = execution.model("ok@large", context_tokens=2000)
    assert await execution.ask(tight, same, large) == TEXT
    assert [model for model, _ in execution.account] == ["context-length", "ok@large"]
    error = await execution.error(tight, same)
    assert isinstance(error, ContextLengthError)
    assert error.status == 400
    assert len(execution.attempts) == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_what_one_provider_refuses_is_put_to_another(execution: Rig, stream: bool) -> None:
    same, other = execution.model("ok@same"), execution.model("ok@other", provider="q")
    assert await execution.ask("status-422", same, other, stream=stream) == TEXT
    assert execution.account == [("status-422", "provider_refused_request"), ("ok@other", "ok")]
    assert isinstance(await execution.error("status-422", same, stream=stream), ProviderRequestError)
    assert len(execution.attempts) == 1


async def test_what_all_refuse_is_told_by_the_first_unless_another_says_more(execution: Rig) -> None:
    first, second = execution.model("status-400"), execution.model("status-422", provider="q")
    assert "Bad Request" in str(await execution.error(first, second))
    assert execution.account == [(id_, "provider_refused_request") for id_ in ("status-400", "status-422")]
    long = execution.model("context-length", provider="q")
    assert isinstance(await execution.error(first, long), ContextLengthError)
    down = execution.model("status-500", provider="q")
    assert isinstance(await execution.error(first, down), PlanExhaustedError)
    assert isinstance(await execution.error(down, first), ProviderRequestError)
    locked = execution.model("status-401", provider="q")
    assert isinstance(await execution.error(first, locked), ProviderRequestError)
    assert isinstance(await execution.error("status-404", locked), PlanExhaustedError)
    assert isinstance(await execution.error("status-404"), ProviderModelError)


async def test_a_model_that_is_unknown_does_not_hide_another_whose_breaker_is_open(execution: Rig) -> None:
    broken = execution.model("status-500", breaker=BreakerSettings(failures=1, probe_s=10))
    await execution.error(broken)
    error = await execution.error(broken, "status-404")
    assert isinstance(error, PlanExhaustedError)
    assert error.retry_after_s is not None
    assert 0 < error.retry_after_s <= 10


@pytest.mark.parametrize("said", [0, 1, 3])
async def test_a_refusal_inside_a_stream_is_not_asked_for_again(execution: Rig, said: int) -> None:
    scenario = f"refused-event-{said}"
    other = execution.model("ok", provider="q")
    assert await execution.ask(scenario, other, stream=True) == TEXT
    assert execution.account == [(scenario, "provider_refused_request"), ("ok", "ok")]
    alone = execution.model(f"{scenario}@alone", breaker=BreakerSettings(failures=1))
    for plan in ([alone], [alone, "ok@same"]):
        error = await execution.error(*plan, stream=True)
        assert isinstance(error, ProviderRequestError)
        assert execution.account == [(alone.id, "provider_refused_request")]
        assert execution.text == "".join(WORDS[: max(0, said - 1)])


async def test_a_pause_that_is_told_in_words_is_kept(provider: FaultServer) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    clock = Clock(now=lambda: now, sleep=sleep, random=lambda: 0.5)
    async with rig(provider, Deployments(clock)) as execution:
        assert await execution.ask("limited-in-words-3", "ok", policy=policy(deadline_s=60)) == TEXT
        assert (now, [model for model, _ in execution.account]) == (3, ["limited-in-words-3"] * 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refusal_by_policy_is_passed_on_or_falls_back_by_setting(execution: Rig, stream: bool) -> None:
    fall_back = policy(on_error={"content_policy": OnError(then="next")})
    assert isinstance(await execution.error("content-policy", "ok", stream=stream), ContentPolicyError)
    assert await execution.ask("content-policy", "ok", policy=fall_back, stream=stream) == TEXT
    assert await execution.ask("filtered", "ok", stream=stream) == ""
    assert await execution.ask("filtered", "ok", policy=fall_back, stream=stream) == TEXT
    assert execution.account == [("filtered", "provider_content_policy"), ("ok", "ok")]


# --- breakers ---------------------------------------------------------------------------------------------------------


async def test_a_breaker_opens_also_for_the_only_deployment_and_closes_after_a_probe(provider: FaultServer) -> None:
    now = 0.0
    async with rig(provider, Deployments(Clock(now=lambda: now))) as execution:
        model = execution.model("flaky-3", breaker=BreakerSettings(failures=3, probe_s=10))
        await execution.error(model)
        assert provider.counts["flaky-3"] == 3
        error = await execution.error(model)
        assert isinstance(error, NoModelError)
        assert error.retry_after_s == 10
        assert "circuit breaker is open" in str(error)
        assert provider.counts["flaky-3"] == 3
        assert execution.attempts == []
        signals = execution.deployments.signals({}, 10)
        assert list(signals.open_breakers) == ["flaky-3"]
        now = 10
        assert await execution.ask(model) == TEXT
        assert execution.deployments.signals({}, 10).open_breakers == {}


@pytest.mark.parametrize(
    "scenario", ["status-400", "status-402", "status-403", "status-404", "status-413", "status-422"]
)
async def test_what_the_provider_refuses_is_no_sign_that_it_is_down(execution: Rig, scenario: str) -> None:
    model = execution.model(scenario, breaker=BreakerSettings())
    for stream in (False, True) * 10:
        await execution.error(model, stream=stream)
    assert execution.deployments.of(model).breaker.state(0) == "closed"
    assert execution.deployments.of(model).in_flight == 0


async def test_a_refused_key_is(execution: Rig) -> None:
    model = execution.model("status-401", breaker=BreakerSettings(failures=2))
    for _ in range(2):
        await execution.error(model)
    assert execution.deployments.of(model).breaker.state(execution.deployments.clock.now()) == "open"


@pytest.mark.parametrize("stream", [False, True])
async def test_who_is_given_little_of_the_deadline_is_not_blamed_for_silence(execution: Rig, stream: bool) -> None:
    model = execution.model("hang", breaker=BreakerSettings(failures=1))
    work = execution.work([model], stream=stream)
    hurried = Timeouts(connect_s=20, first_token_s=0.05, stall_s=0.05, total_s=0.05, stream_s=0.05)
    call = streaming.OpenStream.open if stream else model_call.call_model
    with pytest.raises(ProviderTimeoutError):
        await call(work, model, hurried, [])
    assert execution.deployments.of(model).breaker.state(execution.deployments.clock.now()) == "closed"
    work = replace(work, policy=replace(work.policy, timeouts=hurried))
    with pytest.raises(ProviderTimeoutError):
        await call(work, model, hurried, [])
    assert execution.deployments.of(model).breaker.state(execution.deployments.clock.now()) == "open"


async def test_a_stream_does_not_begin_with_nothing_for_ever(execution: Rig) -> None:
    class Empty:
        async def stream(self, *_: object) -> AsyncIterator[Chunk]:
            while True:
                yield Chunk()

    model = execution.model("ok")
    work = replace(execution.work([model], stream=True), providers={"ok": Empty()})
    with pytest.raises(BadAnswerError, match="began with 10000 events without content"):
        await streaming.OpenStream.open(work, model, PATIENT, [])


async def test_a_defect_of_ours_holds_no_place(execution: Rig) -> None:
    class Defective:
        async def complete(self, *_: object) -> None:
            raise ZeroDivisionError

    model = execution.model("ok")
    work = replace(execution.work([model]), providers={"ok": Defective()})
    with pytest.raises(ZeroDivisionError):
        await model_call.call_model(work, model, PATIENT, [])
    assert execution.deployments.of(model).in_flight == 0


async def test_an_open_breaker_ends_the_retries(execution: Rig) -> None:
    model = execution.model("status-500", breaker=BreakerSettings(failures=2))
    assert await execution.ask(model, "ok") == TEXT
    assert execution.server.counts["status-500"] == 2


async def test_only_one_request_probes(provider: FaultServer) -> None:
    now = 0.0
    async with rig(provider, Deployments(Clock(now=lambda: now))) as execution:
        model = execution.model("slow-20", breaker=BreakerSettings(failures=1, probe_s=10))
        execution.deployments.of(model).breaker.fail(now)
        now = 11
        works = [execution.work([model, "ok"], policy(timeouts=PATIENT)) for _ in range(5)]
        await asyncio.gather(*(first_answer(work, []) for work in works))
        assert provider.counts == {"slow-20": 1, "ok": 4}


async def test_broken_streams_count(execution: Rig) -> None:
    model = execution.model("cut-after-3", breaker=BreakerSettings(failures=2))
    for _ in range(2):
        await execution.error(model, stream=True, policy=policy(stream=BREAKS))
    assert isinstance(await execution.error(model, stream=True), NoModelError)


# --- limits -----------------------------------------------------------------------------------------------------------


async def answering(execution: Rig, *models: Model | str) -> list[str]:
    """Which model each of four requests asked first."""
    asked = []
    for _ in range(4):
        await execution.ask(*models)
        asked.append(execution.account[0][0])
    return asked


async def test_a_used_up_model_is_passed_over_for_one_with_room(execution: Rig) -> None:
    model = execution.model("ok@limited", limits=RateLimits(rpm=2))
    assert await answering(execution, model, "ok@other") == ["ok@limited"] * 2 + ["ok@other"] * 2
    assert "2 requests a minute" in execution.deployments.signals({}, 1).exhausted["ok@limited"]


async def test_tokens_are_limited_too_and_corrected_by_what_was_used(execution: Rig) -> None:
    model = execution.model("ok@limited", limits=RateLimits(tpm=100))
    deployment = execution.deployments.of(model)
    await first_answer(execution.work([model], input_tokens=90), [])
    assert deployment.full(80, deployment.clock.now()) is None
    await first_answer(execution.work([model], input_tokens=80), [])
    assert "tokens a minute" in str(deployment.full(80, deployment.clock.now()))


async def test_a_configured_limit_holds_also_where_headers_tell_of_more(execution: Rig) -> None:
    model = execution.model("remaining-50", limits=RateLimits(rpm=2))
    assert await answering(execution, model, "ok") == ["remaining-50"] * 2 + ["ok"] * 2


async def test_limits_are_learned_from_headers(execution: Rig) -> None:
    assert await execution.ask("remaining-0", "ok") == TEXT
    assert await execution.ask("remaining-0", "ok") == TEXT
    assert execution.account == [("ok", "ok")]


async def test_a_request_waits_for_its_turn_where_there_is_no_other_model(provider: FaultServer) -> None:
    now = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    async with rig(provider, Deployments(Clock(now=lambda: now, sleep=sleep))) as execution:
        model = execution.model("ok", limits=RateLimits(rpm=6))
        for _ in range(8):
            assert await execution.ask(model, policy=policy(deadline_s=30)) == TEXT
        assert now == pytest.approx(20)
        error = await execution.error(model, policy=policy(deadline_s=5))
        assert isinstance(error, NoModelError)
        assert "6 requests a minute" in str(error)


async def test_the_queue_is_bounded(execution: Rig) -> None:
    model = execution.model("slow-20", limits=RateLimits(concurrency=1, queue=2))
    works = [execution.work([model], policy(timeouts=PATIENT)) for _ in range(5)]
    outcomes = await asyncio.gather(*(first_answer(work, []) for work in works), return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, NoModelError)]
    assert len(refused) == 2
    assert "2 requests are waiting" in str(refused[0])
    assert execution.server.counts["slow-20"] == 3


async def test_one_slow_model_does_not_starve_the_others(execution: Rig) -> None:
    slow = execution.model("hang", limits=RateLimits(concurrency=3, queue=0))
    patient = policy(timeouts=PATIENT, deadline_s=20)
    stuck = [asyncio.create_task(first_answer(execution.work([slow], patient), [])) for _ in range(3)]
    assert await asyncio.to_thread(execution.server.wait_for_requests, 3)
    assert await execution.ask(slow, "ok", policy=patient) == TEXT
    assert execution.account == [("ok", "ok")]
    for task in stuck:
        task.cancel()
    await asyncio.gather(*stuck, return_exceptions=True)
    assert execution.deployments.of(slow).in_flight == 0


async def test_a_freed_place_goes_to_who_waits(execution: Rig) -> None:
    model = execution.model("slow-5", limits=RateLimits(concurrency=2))
    works = [execution.work([model], policy(timeouts=PATIENT, deadline_s=20)) for _ in range(8)]
    await asyncio.gather(*(first_answer(work, []) for work in works))
    assert execution.server.counts["slow-5"] == 8


# --- hedging ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_the_next_model_races_one_that_is_slow(execution: Rig, stream: bool) -> None:
    hedged = policy(timeouts=PATIENT, hedge_after_ms=30, deadline_s=20)
    assert await execution.ask("hang", "ok", policy=hedged, stream=stream) == TEXT
    assert sorted(execution.account) == [("hang", "cancelled"), ("ok", "ok")]
    loser = next(attempt for attempt in execution.attempts if attempt.status == "cancelled")
    assert loser.usage.estimated
    assert loser.cost_usd > 0
    assert await asyncio.to_thread(execution.server.requests[0].disconnected.wait, 20)


async def test_a_fast_answer_is_not_hedged(execution: Rig) -> None:
    assert await execution.ask("ok", "ok@2", policy=policy(timeouts=PATIENT, hedge_after_ms=5000)) == TEXT
    assert execution.server.counts == {"ok": 1}


async def test_the_first_may_win_the_race_after_all(execution: Rig) -> None:
    hedged = policy(timeouts=PATIENT, hedge_after_ms=10, deadline_s=20)
    assert await execution.ask("slow-20", "hang", policy=hedged) == TEXT
    assert sorted(execution.account) == [("hang", "cancelled"), ("slow-20", "ok")]


async def test_a_race_that_all_lose_is_one_error(execution: Rig) -> None:
    hedged = policy(timeouts=SILENT, hedge_after_ms=10)
    error = await execution.error("hang", "status-401", "slow-1000", policy=hedged)
    assert isinstance(error, PlanExhaustedError)
    assert sorted(model for model, _ in execution.account) == ["hang", "slow-1000", "status-401"]


@pytest.mark.parametrize("stream", [False, True])
async def test_who_has_a_larger_window_may_still_win_the_race(execution: Rig, stream: bool) -> None:
    hedged = policy(timeouts=PATIENT, hedge_after_ms=10, deadline_s=20)
    small = execution.model("late-context-length-1", context_tokens=100)
    large = execution.model("slow-30", context_tokens=200)
    assert await execution.ask(small, large, policy=hedged, stream=stream) == TEXT
    assert [how for _, how in execution.account] == ["provider_context_length", "ok"]


async def test_a_winner_is_ended_where_the_caller_leaves_while_the_others_end(execution: Rig) -> None:
    leaving, ended = asyncio.Event(), list[str]()

    async def call(work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt]) -> str:
        try:
            await asyncio.sleep(20 if model.id == "slow" else 0)
        finally:
            if model.id == "slow":
                leaving.set()
                await asyncio.sleep(20)
        return model.id

    async def discard(result: str) -> None:
        ended.append(result)

    work = execution.work(["slow", "ok"], policy(timeouts=PATIENT, hedge_after_ms=1, deadline_s=20))
    asked = asyncio.create_task(Execution(work, [], call, discard).result())
    await leaving.wait()
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert (asked.cancelled(), ended) == (True, ["ok"])


async def test_hedging_after_the_95th_percentile_once_it_is_known(execution: Rig) -> None:
    hedged = policy(timeouts=PATIENT, hedge_after_ms="p95", deadline_s=20)
    model, deployment = execution.model("slow-30"), execution.deployments.of(execution.model("slow-30"))
    assert await execution.ask(model, "ok", policy=hedged) == TEXT
    assert execution.server.counts == {"slow-30": 1}
    for _ in range(60):
        deployment.begin(1).end("ok", latency_ms=10)
    assert deployment.p95_ms() == 10
    await execution.ask(model, "ok", policy=hedged)
    assert sorted(execution.account) == [("ok", "ok"), ("slow-30", "cancelled")]


# --- streams ----------------------------------------------------------------------------------------------------------


async def test_a_broken_stream_is_continued_in_one_piece(execution: Rig) -> None:
    assert await execution.ask("cut-after-4", "ok", stream=True) == TEXT
    assert execution.account == [("cut-after-4", "provider_stream_broken"), ("ok", "ok")]
    assert execution.usage is not None
    assert execution.usage.estimated
    assert execution.usage.input_tokens > PROMPT_TOKENS
    sent = execution.server.requests[1].body["messages"][-1]
    assert sent == {"role": "assistant", "content": "".join(WORDS[:3])}


async def test_a_model_without_prefill_is_asked_in_words(execution: Rig) -> None:
    model = execution.model("ok", features=())
    assert await execution.ask("cut-after-4", model, stream=True) == TEXT
    assert execution.server.requests[1].body["messages"][-1]["role"] == "user"


async def test_a_refused_prefill_is_asked_in_words(execution: Rig) -> None:
    await execution.ask("long-cut-40", "no-prefill", stream=True)
    assert [how for _, how in execution.account] == ["provider_stream_broken", "provider_unsupported", "ok"]


async def test_the_model_that_broke_is_asked_last(execution: Rig) -> None:
    error = await execution.error("cut-after-4", stream=True)
    assert "no model could continue" in str(error) or "ended before" in str(error)
    assert execution.text == "".join(WORDS[:3])


async def test_what_comes_with_the_finish_reason_is_in_the_continued_answer(execution: Rig) -> None:
    await execution.ask("long-cut-40", "ends-at-once", stream=True)
    assert execution.text == LONG
    finished = [chunk.finish_reason for chunk in execution.chunks if chunk.finish_reason]
    assert finished == ["stop"]


async def test_an_answer_that_broke_while_thinking_begins_anew(execution: Rig) -> None:
    assert await execution.ask("thinks-cut", "ok", stream=True) == TEXT
    assert execution.server.requests[1].body["messages"] == execution.server.requests[0].body["messages"]


async def test_the_budget_of_attempts_covers_continuations(execution: Rig) -> None:
    bounded = policy(retry=Retry(max_attempts=2, base_s=0.001), timeouts=PATIENT, deadline_s=20)
    error = await execution.error("cut-after-2", "cut-after-2@2", policy=bounded, stream=True)
    assert "all allowed attempts were made" in str(error)
    assert len(execution.attempts) == 2


async def test_a_model_that_breaks_again_is_not_asked_for_ever(execution: Rig) -> None:
    error = await execution.error("cut-after-2", stream=True)
    assert error.code == "provider_stream_broken"
    assert [model for model, _ in execution.account] == ["cut-after-2"] * 2


FORMS: dict[str, dict[str, Any]] = {
    "json": {"params": Params(json_output=True)},
    "schema": {"params": Params(json_schema=JsonSchema(document={}))},
    "several": {"params": Params(n=2)},
    "logprobs": {"params": Params(logprobs=True)},
    "strict": {"strict": True},
    "grammar": {"unread": ("guided_regex",)},
}


@pytest.mark.parametrize("form", FORMS)
async def test_what_two_models_cannot_complete_is_not_continued(execution: Rig, form: str) -> None:
    work = execution.work(["cut-after-4", "ok"], stream=True)
    work = replace(work, request=replace(work.request, **FORMS[form]))
    attempts: list[Attempt] = []
    opened = await first_stream(work, attempts)
    with pytest.raises(StreamBrokenError):
        _ = [chunk async for chunk in opened]
    await opened.aclose()
    assert [attempt.model for attempt in attempts] == ["cut-after-4"]


async def test_a_break_is_an_error_where_the_route_says_so(execution: Rig) -> None:
    error = await execution.error("cut-after-4", "ok", policy=policy(stream=BREAKS), stream=True)
    assert error.code == "provider_stream_broken"
    assert len(execution.attempts) == 1


def test_the_usage_of_both_parts_is_summed_in_all_its_kinds() -> None:
    parts = [
        Usage(input_tokens=10, cached_tokens=2, cache_write_tokens=3, output_tokens=4, reasoning_tokens=1),
        Usage(input_tokens=20, cached_tokens=4, cache_write_tokens=6, output_tokens=8, reasoning_tokens=2),
    ]
    assert total(parts) == Usage(
        input_tokens=30, cached_tokens=6, cache_write_tokens=9, output_tokens=12, reasoning_tokens=3
    )


async def test_a_broken_tool_call_is_not_continued(execution: Rig) -> None:
    error = await execution.error("tools-cut", "ok", stream=True)
    assert error.code == "provider_stream_broken"
    assert len(execution.attempts) == 1


@pytest.mark.parametrize("hold", [5, "complete"])
async def test_what_is_held_back_can_still_fall_back(execution: Rig, hold: int | str) -> None:
    held = policy(stream=StreamPolicy(hold=hold))  # type: ignore[arg-type]  # both kinds of it
    assert await execution.ask("cut-after-3", "ok", policy=held, stream=True) == TEXT
    assert execution.account[-1] == ("ok", "ok")
    broken = execution.attempts[0]
    assert broken.usage.estimated
    assert broken.usage.output_tokens > 0


async def test_usage_is_estimated_where_there_is_none(execution: Rig) -> None:
    await execution.ask("no-usage", stream=True)
    assert execution.attempts[0].usage.estimated
    await execution.error("cut-after-3", stream=True, policy=policy(stream=BREAKS))
    assert execution.attempts[0].usage.estimated
    assert execution.attempts[0].cost_usd > 0


async def test_what_was_counted_at_the_beginning_is_not_all_of_a_broken_answer(execution: Rig) -> None:
    await execution.error("counts-cut-1", stream=True, policy=policy(stream=BREAKS))
    broken = execution.attempts[0].usage
    assert (broken.input_tokens, broken.estimated) == (40, True)
    assert broken.output_tokens >= len(WORDS)


async def test_what_was_counted_to_the_last_word_is_all_of_a_broken_answer(execution: Rig) -> None:
    await execution.error(f"counts-cut-{len(WORDS)}", stream=True, policy=policy(stream=BREAKS))
    assert execution.attempts[0].usage == Usage(input_tokens=40, output_tokens=len(WORDS))


async def test_failed_attempts_that_gave_nothing_cost_nothing(execution: Rig) -> None:
    await execution.ask("status-500", "ok", policy=QUICK)
    assert [attempt.cost_usd for attempt in execution.attempts[:-1]] == [0, 0, 0]
    assert execution.attempts[-1].cost_usd > 0


async def test_a_caller_who_leaves_ends_the_call(execution: Rig) -> None:
    attempts: list[Attempt] = []
    work = execution.work(["hang"], policy(timeouts=PATIENT, deadline_s=20))
    call = asyncio.create_task(first_answer(work, attempts))
    assert await asyncio.to_thread(execution.server.wait_for_requests, 1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    assert await asyncio.to_thread(execution.server.requests[0].disconnected.wait, 20)
    assert [attempt.status for attempt in attempts] == ["cancelled"]
