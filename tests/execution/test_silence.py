"""Models that say nothing: who is asked beside them, when, and what that counts for. No test waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import STALL_S, BreakerSettings, Retry, Timeouts
from semroute.errors import (
    PlanExhaustedError,
    ProviderConnectionError,
    ProviderError,
    ProviderTimeoutError,
    RateLimitedError,
)
from semroute.execution.clock import Clock
from semroute.execution.deployments import Deployments
from semroute.execution.executor import Execution
from semroute.execution.model_call import Work
from semroute.messages import ChatRequest, Params
from semroute.record import Attempt
from tests.execution.rig import rig
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT

REQUEST = ChatRequest(id="1", messages=(), stream=True)
DEFAULTS = Policy()


class Watched:
    """A clock that passes when the execution waits, and only then."""

    def __init__(self) -> None:
        self.now = 0.0
        self.early_s = 0.0
        """So much sooner a sleep ends."""

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds - self.early_s, 0.0002)

    def later(self, delay_s: float, callback: Callable[[], None]) -> asyncio.Task[None]:
        """Others get to run before time passes."""

        async def call() -> None:
            await settle()
            self.now += delay_s
            callback()

        return asyncio.create_task(call())

    async def wait(self, tasks: set[asyncio.Task[Any]], timeout_s: float | None) -> Any:
        await settle()
        if timeout_s is None or any(task.done() for task in tasks):
            return await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        self.now += timeout_s
        return set(), tasks

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.now, sleep=self.sleep, wait=self.wait, later=self.later, random=lambda: 0.5)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Providers:
    """Answers by the model's name; `called` says who was called when, and with which limits."""

    def __init__(self, watched: Watched) -> None:
        self.called: list[tuple[str, float]] = []
        self.timeouts: list[Timeouts] = []
        self._watched = watched

    async def __call__(self, work: Work, model: Model, timeouts: Timeouts, attempts: list[Attempt], /) -> str:
        self.called.append((model.id, self._watched.now))
        self.timeouts.append(timeouts)
        try:
            if model.id.startswith("silent"):
                await asyncio.Event().wait()
            if model.id.startswith("closes"):
                self._watched.now += float(model.id.partition("-")[2])
                raise ProviderConnectionError("closed")
            if model.id.startswith("limited"):
                limited = RateLimitedError("slow down")
                limited.retry_after_s = float(model.id.partition("-")[2])
                raise limited
            if model.id.startswith("late"):
                self._watched.now += timeouts.total_s or 120
                raise ProviderTimeoutError("late")
        except ProviderError as error:
            attempts.append(Attempt(model=model.id, status="failed", latency_ms=1, error_code=error.code))
            raise
        attempts.append(Attempt(model=model.id, status="ok", latency_ms=1))
        return model.id


def execution(
    watched: Watched,
    *plan: str,
    policy: Policy = DEFAULTS,
    request: ChatRequest = REQUEST,
    deployments: Deployments | None = None,
    room: Any = None,
) -> tuple[Execution[str], Providers]:
    models = tuple(Model(id=name, provider="p", name=name) for name in plan)
    work = Work(
        request=request,
        plan=models,
        providers={},
        policy=policy,
        deployments=deployments or Deployments(watched.clock),
        room=room,
    )
    providers = Providers(watched)
    return Execution(work, [], providers), providers


# --- when the next model is asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("policy", [Policy(), Policy(hedge_after_ms="p95")], ids=["defaults", "p95"])
async def test_the_next_model_is_asked_after_eight_seconds_of_silence(policy: Policy, stream: bool) -> None:
    watched = Watched()
    asked, providers = execution(
        watched, "silent", "silent-2", "ok", policy=policy, request=replace(REQUEST, stream=stream)
    )
    assert await asked.result() == "ok"
    assert providers.called == [("silent", 0), ("silent-2", 8), ("ok", 16)]


async def test_a_model_that_is_known_to_think_is_waited_for() -> None:
    watched = Watched()
    deployments = Deployments(watched.clock)
    asked, providers = execution(watched, "silent", "ok", deployments=deployments)
    silences = deployments.of(Model(id="silent", provider="p", name="silent")).silences[0]
    for _ in range(20):
        silences.answered(20)
    assert await asked.result() == "ok"
    assert providers.called == [("silent", 0), ("ok", 30)]
    assert providers.timeouts[0].first_token_s == 90


@pytest.mark.parametrize("hedge_after_ms", ["auto", "p95", 60_000])
async def test_the_next_model_has_its_share_of_the_deadline(hedge_after_ms: Any) -> None:
    watched = Watched()
    policy = Policy(deadline_s=9, hedge_after_ms=hedge_after_ms)
    asked, providers = execution(watched, "silent", "silent-2", "ok", policy=policy)
    assert await asked.result() == "ok"
    assert providers.called == [("silent", 0), ("silent-2", 3), ("ok", 6)]


async def test_the_share_holds_too_where_models_do_not_race() -> None:
    watched = Watched()
    policy = Policy(deadline_s=60, hedge_after_ms=None, timeouts=Timeouts(total_s=60, first_token_s=50))
    asked, providers = execution(watched, "late", "late-2", "ok", policy=policy)
    assert await asked.result() == "ok"
    assert providers.called == [("late", 0), ("late-2", 20), ("ok", 40)]
    assert [each.first_token_s for each in providers.timeouts] == [20, 20, 20]


async def test_a_pause_that_a_provider_asked_for_is_no_silence() -> None:
    watched = Watched()
    paused = list[float]()

    async def sleep(seconds: float) -> None:
        paused.append(seconds)
        if len(paused) == 1:
            await asyncio.Event().wait()  # the pause, until the race is over
        await watched.sleep(seconds)

    deployments = Deployments(Clock(now=lambda: watched.now, sleep=sleep, wait=watched.wait, later=watched.later))
    asked, providers = execution(watched, "limited-3", "ok", deployments=deployments)
    assert await asked.result() == "ok"
    assert paused == [3, 3]
    assert providers.called == [("limited-3", 0), ("ok", 3 + 8)]


async def test_the_only_model_has_all_the_time_there_is() -> None:
    asked, providers = execution(Watched(), "ok")
    assert await asked.result() == "ok"
    assert providers.timeouts == [Timeouts()]


async def test_what_cannot_go_on_elsewhere_may_stall_for_longer() -> None:
    json = replace(REQUEST, params=Params(json_output=True))
    asked, providers = execution(Watched(), "ok", request=json)
    await asked.result()
    assert providers.timeouts[0].stall_s == STALL_S


# --- what it counts for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
async def test_who_was_silent_and_beaten_has_failed(provider: FaultServer, stream: bool) -> None:
    watched = Watched()
    async with rig(provider, Deployments(watched.clock)) as running:
        model = running.model("hang", breaker=BreakerSettings(failures=2))
        deployment = running.deployments.of(model)
        for _ in range(2):
            assert await running.ask(model, "ok", policy=Policy(), stream=stream) == TEXT
            assert sorted(running.account) == [("hang", "cancelled"), ("ok", "ok")]
        assert "circuit breaker is open" in str(deployment.broken(watched.now))
        assert [attempt.cost_usd > 0 for attempt in running.attempts if attempt.status == "ok"] == [True]


async def test_who_was_beaten_in_its_own_time_has_not(provider: FaultServer) -> None:
    async with rig(provider) as running:
        model = running.model("hang", breaker=BreakerSettings(failures=1))
        assert await running.ask(model, "ok", policy=Policy(hedge_after_ms=1)) == TEXT
        assert running.deployments.of(model).broken(running.deployments.clock.now()) is None


async def test_a_race_is_run_only_where_budgets_have_room() -> None:
    watched, asked_for = Watched(), list[tuple[str, list[str]]]()

    async def room(model: Model, beside: Sequence[Model]) -> str:
        asked_for.append((model.id, [other.id for other in beside]))
        return "the budget has no room for it" if model.id == "dear" else ""

    asked, providers = execution(watched, "silent", "dear", "ok", room=room)
    assert await asked.result() == "ok"
    assert [name for name, _ in providers.called] == ["silent", "ok"]
    assert asked_for == [("silent", []), ("dear", ["silent"]), ("ok", ["silent"])]


async def test_budgets_are_asked_before_each_call_also_of_the_same_model() -> None:
    asked_for, left = list[str](), 2

    async def room(model: Model, beside: Sequence[Model]) -> str:
        nonlocal left
        assert not beside
        asked_for.append(model.id)
        left -= 1
        return "" if left >= 0 else "the budget all has no room for it"

    asked, providers = execution(Watched(), "closes-0", "ok", room=room)
    with pytest.raises(PlanExhaustedError, match="closes-0: closed; ok: not called, the budget all has no room for it"):
        await asked.result()
    assert asked_for == ["closes-0", "closes-0", "closes-0", "ok"]
    assert [name for name, _ in providers.called] == ["closes-0"] * 2


# --- calls again ------------------------------------------------------------------------------------------------------


async def test_who_was_silent_and_then_closed_is_not_called_again() -> None:
    asked, providers = execution(Watched(), "closes-6", "ok")
    assert await asked.result() == "ok"
    assert [name for name, _ in providers.called] == ["closes-6", "ok"]


async def test_the_last_one_is_called_once_more() -> None:
    asked, providers = execution(Watched(), "closes-6")
    with pytest.raises(PlanExhaustedError):
        await asked.result()
    assert len(providers.called) == 2


async def test_who_fails_at_once_is_called_twice_more_after_pauses() -> None:
    asked, providers = execution(Watched(), "closes-0", "ok", policy=Policy(retry=Retry(base_s=0.4)))
    assert await asked.result() == "ok"
    assert [name for name, _ in providers.called] == ["closes-0", "closes-0", "closes-0", "ok"]
    assert [at for _, at in providers.called] == pytest.approx([0, 0.3, 0.9, 0.9])


@pytest.mark.parametrize("early_s", [0.0006, 0.004])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_pause_that_was_waited_out_is_honoured_though_the_sleep_ended_early(
    provider: FaultServer, stream: bool, early_s: float
) -> None:
    watched = Watched()
    watched.early_s = early_s
    async with rig(provider, Deployments(Clock(now=lambda: watched.now, sleep=watched.sleep))) as running:
        assert await running.ask("retry-after-1", "ok", policy=Policy(), stream=stream) == TEXT
        assert running.account == [("retry-after-1", "provider_rate_limited"), ("retry-after-1", "ok")]
    assert watched.now >= 1
