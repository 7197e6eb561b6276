"""Budgets under fallback, escalation, hedging and continued streams: only what is called is reserved, and in time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from semroute import Router
from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.errors import BudgetError, PlanExhaustedError
from semroute.gateway.acting import Call
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest, Message, Params, Text
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.stores.interfaces import State, Verdict, Want, to_pico
from semroute.stores.memory import MemoryState
from tests.gateway.test_leaving import leave_at_any_await
from tests.providers.fault_server import FaultServer
from tests.providers.scenarios import PROMPT_TOKENS, TEXT, WORDS

ROUTES = """
providers: {{faults: {{dialect: openai, base_url: "{url}", api_key: sk-faults-0123456789}}}}
models:
  cheap: {{provider: faults, name: ok, input_price: 1, output_price: 1, cached_input_price: 1}}
  middle: {{provider: faults, name: ok@middle, input_price: 4, output_price: 4, cached_input_price: 4}}
  dear: {{provider: faults, name: ok@dear, input_price: 20, output_price: 20, cached_input_price: 20}}
  down: {{provider: faults, name: status-401, input_price: 1, output_price: 1}}
  silent: {{provider: faults, name: hang, input_price: 1, output_price: 1}}
  broken: {{provider: faults, name: cut-after-3, input_price: 1, output_price: 1, cached_input_price: 1}}
default: {{models: [cheap]}}
"""
CASCADE = "policy: {cascade: {checks: {min_chars: 1000}}}\n"
HEDGE = "policy: {hedge_after_ms: 1}\n"
ONE = to_pico(Decimal(100 + 8 + 4)) // 10**6
"""The most that an answer of the cheap model costs: the tokens of its output, of the prompt, and of the message."""
SPENT = to_pico(Decimal(PROMPT_TOKENS + len(WORDS))) // 10**6
PROMPT = "I want my money back, right now!"


class Counted:
    """A state that notes what is reserved."""

    def __init__(self) -> None:
        self._state = MemoryState()
        self.reserved: list[list[int]] = []

    async def reserve(self, hold: str, wants: Sequence[Want], lease_s: float) -> Verdict:
        self.reserved.append([want.amount for want in wants])
        return await self._state.reserve(hold, wants, lease_s)

    async def left(self) -> dict[str, int]:
        """What each counter has, spent and held."""
        return {name: self._state._level(name, 0.0) for name in self._state._counters}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


class Rig:
    def __init__(self, folder: Path, url: str, more: str = "") -> None:
        (folder / "routes.yaml").write_text(ROUTES.format(url=url) + more)
        self.transport, self.records, self.state = Transport(), list[Record](), Counted()
        serving = InService(Serving.open(Router.load(folder), self.transport))
        accounts = Accounts(cast(State, self.state))
        self.gateway = Gateway(serving, self.records.append, accounts=accounts)

    async def open(self, *models: str, ones: float, stream: bool = False) -> Call:
        """A call for a list of models, with a key that may spend as much as so many answers of the cheap model cost."""
        message = Message(role="user", parts=(Text(text=PROMPT),))
        params = Params(max_tokens=100)
        request = ChatRequest(
            id=f"r{len(self.records)}", messages=(message,), params=params, models=models, stream=stream
        )
        caller = Caller(id="k1", usd_per_day=Decimal(round(ones * ONE)).scaleb(-12))
        return await self.gateway.open(request, caller)

    async def answer(self, *models: str, ones: float, stream: bool = False) -> str:
        call = await self.open(*models, ones=ones, stream=stream)
        if not stream:
            return (await call.complete()).text
        chunks = await call.stream()
        try:
            return "".join([part.text async for chunk in chunks for part in chunk.parts if isinstance(part, Text)])
        finally:
            await chunks.aclose()

    async def books(self) -> int:
        """What is spent and held in the end: exactly what the records tell."""
        await self.gateway.recorder.written()
        (level,) = (await self.state.left()).values()
        assert level == to_pico(sum((record.cost_usd for record in self.records), Decimal(0)))
        return level

    @property
    def called(self) -> list[str]:
        return [attempt.model for attempt in self.records[-1].attempts]

    @property
    def rejected(self) -> Mapping[str, str]:
        return self.records[-1].decision.rejected

    async def aclose(self) -> None:
        await self.gateway.aclose()
        await self.transport.aclose()


@pytest.fixture
async def rig(request: pytest.FixtureRequest, tmp_path: Path, faults: FaultServer) -> AsyncIterator[Rig]:
    made = Rig(tmp_path, faults.url, getattr(request, "param", ""))
    yield made
    await made.aclose()


NO_ROOM = "the daily budget of key k1 has no room for it"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_dear_fallback_that_is_not_called_is_not_reserved(rig: Rig, stream: bool) -> None:
    assert await rig.answer("cheap", "dear", ones=1, stream=stream) == TEXT
    assert rig.state.reserved == [[ONE]]  # the only time that the state was asked
    assert (rig.called, rig.records[-1].decision.plan) == (["cheap"], ("cheap", "dear"))
    assert await rig.books() == SPENT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fallback_that_fits_is_called_once_it_is_reserved(rig: Rig, stream: bool) -> None:
    assert await rig.answer("down", "dear", ones=20, stream=stream) == TEXT
    assert (rig.called, rig.rejected) == (["down", "dear"], {})
    assert rig.state.reserved == [[ONE], [19 * ONE]]
    assert await rig.books() == 20 * SPENT


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fallback_that_does_not_fit_is_skipped(rig: Rig, stream: bool) -> None:
    assert await rig.answer("down", "dear", "middle", ones=4, stream=stream) == TEXT
    record = rig.records[-1]
    assert (rig.called, rig.rejected) == (["down", "middle"], {"dear": NO_ROOM})
    assert record.decision.plan == ("down", "middle")
    assert await rig.books() == 4 * SPENT


async def test_if_no_fallback_fits_the_failure_is_told_with_the_budget(rig: Rig) -> None:
    with pytest.raises(PlanExhaustedError, match=f"dear: not called, {NO_ROOM}"):
        await rig.answer("down", "dear", ones=1)
    assert (rig.called, rig.rejected) == (["down"], {"dear": NO_ROOM})
    assert await rig.books() == 0


async def test_only_if_no_model_fits_the_request_is_refused(rig: Rig) -> None:
    assert await rig.answer("dear", "cheap", ones=1) == TEXT
    assert (rig.called, rig.rejected) == (["cheap"], {"dear": NO_ROOM})
    with pytest.raises(BudgetError, match="has no room for this request"):
        await rig.answer("dear", "cheap", ones=1)
    assert rig.records[-1].outcome == "refused"
    assert await rig.books() == SPENT


@pytest.mark.parametrize("rig", [CASCADE], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_an_escalation_is_reserved_when_it_is_made(rig: Rig, stream: bool) -> None:
    assert await rig.answer("cheap", "dear", "middle", ones=5, stream=stream) == TEXT
    assert (rig.called, rig.rejected) == (["cheap", "middle"], {"dear": NO_ROOM})
    missing = SPENT + 4 * ONE - ONE
    assert rig.state.reserved == [[ONE], [SPENT + 20 * ONE - ONE], [missing]]
    assert await rig.books() == 5 * SPENT


@pytest.mark.parametrize("rig", [HEDGE], indirect=True)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_call_beside_a_silent_one_is_reserved_with_it(rig: Rig, stream: bool) -> None:
    assert await rig.answer("silent", "dear", "middle", ones=5, stream=stream) == TEXT
    assert sorted(rig.called) == ["middle", "silent"]
    assert rig.rejected == {"dear": NO_ROOM}
    assert rig.state.reserved == [[ONE], [20 * ONE], [4 * ONE]]
    assert await rig.books() > 4 * SPENT  # the silent one got its input


async def test_a_call_that_continues_a_broken_stream_is_reserved(rig: Rig) -> None:
    answer = await rig.answer("broken", "dear", "middle", ones=6, stream=True)
    assert answer.startswith("".join(WORDS[:2]))
    assert (rig.called, rig.rejected) == (["broken", "middle"], {"dear": NO_ROOM})
    assert len(rig.state.reserved) == 3
    assert await rig.books() > 4 * SPENT


@pytest.mark.parametrize("stream", [False, True])
async def test_who_leaves_at_any_await_of_a_fallback_leaves_nothing_held(rig: Rig, stream: bool) -> None:
    left = await leave_at_any_await(lambda: rig.answer("down", "dear", ones=10_000, stream=stream))
    assert left > 5
    await rig.books()
