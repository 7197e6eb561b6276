"""Whatever the providers do: a whole answer or one clear error, in time, and a true account."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from semroute.config.schema.policies import Policy
from semroute.config.schema.resilience import StreamPolicy
from semroute.errors import NoModelError, PlanExhaustedError, ProviderError, SemrouteError
from semroute.record import served
from tests.execution.rig import HASTY, QUICK, Rig, rig
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import TEXT

FAULTS = """
    ok no-done split-bytes crlf-sse gzip brotli http10 multi-line no-usage
    flaky-1 flaky-2 limited-1 limited-9 retry-after-0
    status-400 status-401 status-404 status-408 status-429 status-500 status-503 status-529 html-200 error-200
    empty-choices empty-body malformed-json reset close cut-body cut-error-500 not-http bad-gzip redirect
    hang slow-1 slow-50 late-token-1 late-token-9 loris-30 loris-head-30
    cut-after-0 cut-after-1 cut-after-3 cut-after-6 reset-after-0 reset-after-3 reset-after-6
    stall-after-0 stall-after-4
    half-event malformed-chunk error-event error-first half-usage no-last-line-end-0 no-last-line-end-1
    context-length content-policy
""".split()
DEADLINE_S = 1.5
NEVER_S = 60.0
"""Nothing takes so long that ends, however busy the machine is."""

plans = st.lists(st.sampled_from(FAULTS), min_size=1, max_size=4, unique=True)
policies = st.builds(
    lambda on_break, hold, hedge: replace(
        QUICK,
        timeouts=HASTY,
        deadline_s=DEADLINE_S,
        stream=StreamPolicy(on_break=on_break, hold=hold),
        hedge_after_ms=hedge,
    ),
    st.sampled_from(["error", "continue"]),
    st.sampled_from([0, 3, 1000, "complete"]),
    st.sampled_from([None, None, 20, "p95"]),
)
_serial = iter(range(10**9))


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(plan=plans, policy=policies, stream=st.booleans())
def test_any_interleaving_of_faults_ends_well(
    server: FaultServer, plan: list[str], policy: Policy, stream: bool
) -> None:
    asyncio.run(_check(server, plan, policy, stream))


async def _check(server: FaultServer, plan: list[str], policy: Policy, stream: bool) -> None:
    names = [f"{scenario}@{next(_serial)}" for scenario in plan]
    async with asyncio.timeout(NEVER_S), rig(server) as execution:
        try:
            text = await execution.ask(*names, policy=policy, stream=stream)
            assert text == TEXT, (text, execution.account)
            if stream:
                given = served(tuple(execution.attempts))  # the last one may be of a model that was asked beside it
                assert execution.chunks[-1].usage is not None or (given is not None and given.usage.estimated)
        except SemrouteError as error:
            assert isinstance(error, ProviderError | PlanExhaustedError | NoModelError)
            assert TEXT.startswith(execution.text) or execution.text == ""
        assert not any(attempt.status == "running" for attempt in execution.attempts)
        _account_is_true(server, execution, names)
        for name in names:
            assert execution.deployments.of(execution.model(name)).in_flight == 0
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def _account_is_true(server: FaultServer, execution: Rig, names: list[str]) -> None:
    """Each call that the provider saw is in the account, and no other. One that was given up may not have got there."""
    told = Counter(attempt.model for attempt in execution.attempts)
    given_up = Counter(model for model, how in execution.account if how in ("cancelled", "provider_timeout"))
    for name in names:
        assert told[name] - given_up[name] <= server.counts[name] <= told[name], (name, execution.account)
