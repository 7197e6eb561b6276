"""Holds that are topped up before a dearer call, on every back end."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from semroute.access.accounts import Accounts, Hold
from semroute.access.meters import Meter
from semroute.caller import Caller
from semroute.config.schema.policies import Policy
from semroute.record import Record
from semroute.stores.interfaces import SharedState
from semroute.stores.resilient_state import ResilientState
from tests.access.test_meters import budget
from tests.access.test_reservations import CONFIG as AMOUNTS
from tests.access.test_reservations import ONE, ask, decision
from tests.stores.conftest import Clock

REQUESTS, FIT = 20, 5
LIMIT = REQUESTS + 3 * FIT
"""Each of the requests holds one, and so many of them find room for three more."""


@pytest.mark.parametrize("resilient", [False, True])
async def test_requests_that_race_for_the_rest_of_a_budget_get_exactly_that(
    state: SharedState, clock: Clock, resilient: bool
) -> None:
    used = ResilientState(state, clock) if resilient else state
    if isinstance(used, ResilientState):
        await used.start()
    accounts = Accounts(used, clock)
    config, asked = replace(AMOUNTS, budgets=(budget(LIMIT),)), ask(Policy())
    opened = [accounts.open(config, Caller(), f"r{number}", None) for number in range(REQUESTS)]
    holds = [hold for hold in opened if hold is not None]
    await asyncio.gather(*[accounts.admit(config, Caller(), asked, decision(), hold) for hold in holds])

    async def top_up(hold: Hold) -> Meter | None:
        return await accounts.top_up(config, hold, asked, decision(), "large")

    refused = await asyncio.gather(*map(top_up, holds))
    assert refused.count(None) == FIT
    (counter,) = {meter.counter for hold in holds for meter in hold.meters}
    assert await state.levels([counter]) == {counter: LIMIT * ONE}
    if isinstance(used, ResilientState):  # its holds are made again, also what is on top
        await state.release(used._owner)
        assert await state.levels([counter]) == {counter: 0}
        await used.look()
        assert await state.levels([counter]) == {counter: LIMIT * ONE}
    record = Record(request_id="1", decision=decision(), attempts=(), outcome="cancelled", overhead_ms=0)
    await asyncio.gather(*[accounts.settle(hold, record) for hold in holds])
    assert await state.levels([counter]) == {counter: 0}
