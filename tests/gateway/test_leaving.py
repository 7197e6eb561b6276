"""Callers who leave, at every point where a request waits: nothing stays held, and what was spent is in the books."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from semroute import Router
from semroute.access.accounts import Accounts
from semroute.caller import Caller
from semroute.dialects.openai.embeddings import Embeddings
from semroute.execution.sessions import Sessions, SessionStore
from semroute.gateway.gateway import Gateway
from semroute.gateway.serving import InService, Serving
from semroute.messages import ChatRequest, Message, Text
from semroute.providers.transport import Transport
from semroute.record import Record
from semroute.stores.interfaces import to_usd
from semroute.stores.migrations import migrate
from semroute.stores.resilient_state import ResilientState
from semroute.stores.sql_state import SqlState
from semroute.stores.sqlite import SqliteDatabase
from tests.vendors.openai import OpenAIVendor
from tests.vendors.server import VendorServer

ROUTES = """
providers: {{vendor: {{dialect: openai, base_url: "{url}/v1", api_key: sk-vendor-key-0123}}}}
models: {{m: {{provider: vendor, name: m, input_price: 1, output_price: 2, max_output_tokens: 100}}}}
default: {{models: [m]}}
routes: [{{name: billing, utterances: [I want my money back, why was I charged twice], models: [m]}}]
classifier: {{model: m}}
budgets: [{{name: all, usd: 1000}}]
"""
CALLER = Caller(id="k1", concurrency=5, requests_per_minute=100_000, usd_per_day=Decimal(1000))


class Rig:
    """A gateway with books, and a provider."""

    def __init__(self, router: Router) -> None:
        self.transport, self.records, self.database = Transport(), list[Record](), SqliteDatabase()
        migrate(self.database)
        self.state = ResilientState(SqlState(self.database))
        self.in_service, self.accounts = InService(Serving.open(router, self.transport)), Accounts(self.state)
        self.gateway = self.with_sessions(Sessions())
        self.asked = 0

    def with_sessions(self, sessions: SessionStore) -> Gateway:
        return Gateway(self.in_service, self.records.append, accounts=self.accounts, room=self.room, sessions=sessions)

    async def room(self) -> None:
        """There is room."""

    def request(self, **fields: Any) -> ChatRequest:
        self.asked += 1
        message = Message(role="user", parts=(Text(text=f"money back, number {self.asked}"),))
        return ChatRequest(id=f"r{self.asked}", messages=(message,), **fields)

    async def decided(self) -> None:
        call = await self.gateway.open(self.request(), CALLER)
        await call.decided()

    async def whole(self) -> None:
        call = await self.gateway.open(self.request(), CALLER)
        await call.complete()

    async def streamed(self) -> None:
        call = await self.gateway.open(self.request(stream=True), CALLER)
        chunks = await call.stream()
        try:
            async for _ in chunks:
                pass
        finally:
            await chunks.aclose()

    async def embedded(self) -> None:
        self.asked += 1
        request = Embeddings().parse_request({"model": "m", "input": "hello"}, f"r{self.asked}")
        call = await self.gateway.open(request, CALLER)
        await call.complete()

    async def settled(self) -> None:
        """Wait for what is counted behind the answers' backs."""
        await self.gateway.recorder.written()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database.transaction() as session:
            return session.run(sql)

    async def aclose(self) -> None:
        await self.gateway.aclose()
        await self.state.aclose()
        await self.transport.aclose()


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    folder = tmp_path_factory.mktemp("leaving")
    with VendorServer(OpenAIVendor()) as vendor:
        (folder / "routes.yaml").write_text(ROUTES.format(url=vendor.url))
        yield Router.load(folder)


@pytest.fixture
async def rig(router: Router) -> AsyncIterator[Rig]:
    made = Rig(router)
    await made.state.start()
    yield made
    await made.aclose()


async def leave_at_any_await(ask: Callable[[], Awaitable[object]]) -> int:
    """Ask again and again, and leave a little later each time, until a request ends. Returns how many were left."""
    left = 0
    for turns in (*range(30), *(int(30 * 1.25**power) for power in range(30))):
        asking = asyncio.ensure_future(ask())
        for _ in range(turns):
            if not asking.done():
                await asyncio.sleep(0)
        finished = asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        left += asking.cancelled()
        if finished:
            break
    return left


@pytest.mark.parametrize("ask", [Rig.decided, Rig.whole, Rig.streamed, Rig.embedded])
async def test_who_leaves_at_any_await_leaves_nothing_held(rig: Rig, ask: Callable[[Rig], Awaitable[None]]) -> None:
    left = await leave_at_any_await(lambda: ask(rig))
    await rig.settled()
    assert left > 5
    assert rig.rows("SELECT * FROM holds") == []
    assert rig.gateway.recorder.running == 0
    told = rig.rows("SELECT name, spent FROM counters WHERE name LIKE 'usd%' AND spent > 0")
    spent = sum((record.cost_usd for record in rig.records), Decimal(0))
    assert {to_usd(amount) for _, amount in told} == ({spent} if spent else set())


async def test_what_the_classifier_took_is_in_the_books_though_its_caller_left(rig: Rig) -> None:
    decided = asyncio.Event()

    class Slow:
        """A store of conversations that answers too late."""

        async def get(self, session: str) -> None:
            decided.set()
            await asyncio.Event().wait()

        async def put(self, session: str, remembered: object) -> None:
            """Nothing is kept."""

    await rig.gateway.aclose()
    rig.gateway = rig.with_sessions(Slow())
    asking = asyncio.ensure_future(rig.gateway.open(rig.request(session="s"), CALLER))
    await decided.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await rig.settled()
    [record] = rig.records
    assert (record.outcome, [attempt.purpose for attempt in record.attempts]) == ("cancelled", ["classifier"])
    assert record.cost_usd > 0
    told = rig.rows("SELECT name, spent FROM counters WHERE name LIKE 'usd%'")
    assert {to_usd(amount) for _, amount in told} == {record.cost_usd}
