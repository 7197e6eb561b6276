from __future__ import annotations

import asyncio

import pytest

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import BreakerSettings, RateLimits
from semroute.errors import StoreError
from semroute.execution.breaker import DEFERRALS
from semroute.execution.breaker_sync import BreakerSync
from semroute.execution.deployments import Deployment, Deployments
from semroute.stores.memory import MemoryState
from tests.execution.rig import rig
from tests.execution.test_deployments import Hands
from tests.providers.fault_server import FaultServer

MODEL = Model(
    id="m", provider="p", name="m", breaker=BreakerSettings(failures=2, probe_s=10), limits=RateLimits(rpm=60)
)


class Process:
    """One of several with the same state."""

    def __init__(self, state: MemoryState, hands: Hands, model: Model = MODEL) -> None:
        self.deployments = Deployments(hands.clock)
        self.exchange = BreakerSync(state, self.deployments, lambda: [model], wall=lambda: hands.now)
        self.deployment: Deployment = self.deployments.of(model)
        self._hands = hands

    @property
    def state(self) -> str:
        return self.deployment.breaker.state(self._hands.now)

    def call(self, result: str, latency_ms: float | None = None) -> None:
        self.deployment.begin(1).end(result, latency_ms=latency_ms)  # type: ignore[arg-type]  # a test's own words


class Fleet:
    def __init__(self, size: int = 3) -> None:
        self.hands = Hands()
        self.state = MemoryState(lambda: self.hands.now)
        self.processes = [Process(self.state, self.hands) for _ in range(size)]

    async def exchange(self) -> None:
        """All of them, twice: what one tells the others hear."""
        for _ in range(2):
            self.hands.now += 0.5
            for process in self.processes:
                await process.exchange.once()

    @property
    def states(self) -> set[str]:
        return {process.state for process in self.processes}


async def test_a_breaker_that_opens_is_open_everywhere() -> None:
    fleet = Fleet()
    one, other, _ = fleet.processes
    for _ in range(2):
        one.call("fault")
    await fleet.exchange()
    assert fleet.states == {"open"}
    assert other.deployment.breaker.opens_in_s(fleet.hands.now) == 9
    late = Process(fleet.state, fleet.hands)
    await late.exchange.once()
    assert late.state == "open"


async def test_one_process_probes_and_all_know_what_came_of_it() -> None:
    fleet = Fleet()
    one, other, third = fleet.processes
    for _ in range(2):
        one.call("fault")
    await fleet.exchange()
    fleet.hands.now += 10
    assert fleet.states == {"half_open"}
    cleared = await asyncio.gather(*(each.deployment.cleared() for each in (other, one, third)))
    assert cleared == [True, False, False]
    permit = other.deployment.begin(1)
    assert fleet.states == {"open"}
    assert one.deployment.breaker.opens_in_s(fleet.hands.now) == 10 / DEFERRALS
    permit.end("ok")
    await fleet.exchange()
    assert fleet.states == {"closed"}
    assert await one.deployment.cleared()


async def test_a_probe_that_told_nothing_is_free_for_another_process() -> None:
    fleet = Fleet()
    one, other, _ = fleet.processes
    for _ in range(2):
        one.call("fault")
    await fleet.exchange()
    fleet.hands.now += 10
    assert await one.deployment.cleared()
    permit = one.deployment.begin(1)
    assert not await other.deployment.cleared()
    permit.end("neither")
    await asyncio.sleep(0)
    fleet.hands.now += 1
    assert await other.deployment.cleared()


async def test_what_the_state_forgot_is_told_again() -> None:
    fleet = Fleet(1)
    [one] = fleet.processes
    for _ in range(2):
        one.call("fault")
    await fleet.exchange()
    fleet.state = MemoryState(lambda: fleet.hands.now)
    one.exchange._state = fleet.state
    await fleet.exchange()
    late = Process(fleet.state, fleet.hands)
    await late.exchange.once()
    assert late.state == "open"


async def test_latency_is_one_average() -> None:
    fleet = Fleet()
    one, other, third = fleet.processes
    one.call("ok", 100)
    await fleet.exchange()
    assert third.deployment.latency_ms == 100
    other.call("ok", 200)
    await fleet.exchange()
    assert {process.deployment.latency_ms for process in fleet.processes} == {120}


async def test_what_others_spend_is_taken_out_of_the_limits_here() -> None:
    fleet = Fleet(2)
    one, other = fleet.processes
    await fleet.exchange()
    for _ in range(30):
        one.call("ok")
    assert other.deployment.full(1, fleet.hands.now) is None
    await fleet.exchange()
    for _ in range(30):
        assert other.deployment.full(1, fleet.hands.now) is None
        other.call("ok")
    assert "60 requests a minute" in (other.deployment.full(1, fleet.hands.now) or "")


class Away(MemoryState):
    """A state that cannot be reached."""

    async def get_many(self, keys: object) -> dict[str, bytes]:
        raise StoreError("away")

    async def put_new(self, key: str, value: bytes, ttl_s: float) -> bool:
        raise StoreError("away")


async def test_without_the_state_each_process_goes_on_alone() -> None:
    hands = Hands()
    process = Process(Away(), hands)
    for _ in range(2):
        process.call("fault")
    await process.exchange.once()
    hands.now += 10
    assert await process.deployment.cleared()


@pytest.mark.parametrize("others", [[], ["ok"]])
async def test_a_model_that_another_process_probes_is_left_for_the_next(faults: FaultServer, others: list[str]) -> None:
    hands = Hands()
    state = MemoryState(lambda: hands.now)
    async with rig(faults, Deployments(hands.clock)) as execution:
        shaky = execution.model("status-500", breaker=BreakerSettings(failures=1, probe_s=10))
        process = BreakerSync(state, execution.deployments, lambda: [shaky], wall=lambda: hands.now)
        execution.deployments.of(shaky).begin(1).end("fault")
        await process.once()
        hands.now += 10
        elsewhere = Process(state, hands, shaky)
        await elsewhere.exchange.once()
        assert await elsewhere.deployment.cleared()
        if others:
            assert await execution.ask(shaky, *others)
            assert execution.account == [("ok", "ok")]
        else:
            error = await execution.error(shaky)
            assert error.code == "no_model_available"
            assert "the next probe is in 1.0 s" in str(error)
            assert execution.account == []


async def test_what_others_spend_of_a_providers_account_is_taken_out_here() -> None:
    fleet = Fleet(0)
    models = [Model(id=name, provider="p", name=name, account=RateLimits(rpm=60, tpm=600)) for name in ("a", "b")]
    fleet.processes = [Process(fleet.state, fleet.hands, one) for one in models]
    await fleet.exchange()
    first, second = fleet.processes
    for _ in range(60):
        first.deployment.begin(1).end("ok", tokens=11)
    assert second.deployment.full(1, fleet.hands.now) is None
    await fleet.exchange()
    assert "the limit of its provider p, 60 requests a minute" in str(second.deployment.full(1, fleet.hands.now))
