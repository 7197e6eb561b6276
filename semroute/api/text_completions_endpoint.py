"""OpenAI's older completions: several prompts, or several answers, in one request."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from decimal import Decimal
from typing import Any

from litestar import Response, post
from litestar.types import Receive

from semroute.api import error_responses, guards, openapi
from semroute.api.accounting import Books
from semroute.api.completions import CallStream, account_headers, asked_for, read, with_headers
from semroute.api.error_responses import AnyRequest, status_of
from semroute.api.fast_path import Rendered, headers_of
from semroute.api.idempotency_header import HEADER, answer_once
from semroute.api.request_intake import CLIENT_CLOSED_REQUEST, read_body
from semroute.api.streamed_responses import EVENTS, CallerGoneError, EventStream, Presence
from semroute.caller import Caller
from semroute.dialects.openai.text_completions import TextCompletions, TextCompletionsBody, TextDialect, split
from semroute.errors import SemrouteError
from semroute.gateway.acting import Call
from semroute.gateway.gateway import Gateway
from semroute.messages import ChatRequest, Completion, new_id

AT_ONCE = 4
"""How many calls of one request run at the same time."""
_dialect = TextDialect()


@post("/v1/completions", status_code=200, operation_class=openapi.reads(TextCompletionsBody), direct=True)
async def completions(request: AnyRequest) -> Response[Any]:
    """OpenAI's older completions: each `prompt` is one user turn. `model` is `auto`, `auto:<route>` or a model id."""
    headers = headers_of(request)
    caller = await guards.admitted(request, "complete")
    body = await read_body(request)
    key = headers.get(HEADER)

    async def make(receive: Receive) -> Response[Any]:
        chat = with_headers(await read(body, _dialect), headers)
        return await _answer(request, caller, split(chat, new_id), receive)

    return await make(request.receive) if key is None else answer_once(request, caller, body, key, make)


async def _answer(request: AnyRequest, caller: Caller, chats: list[ChatRequest], receive: Receive) -> Response[Any]:
    gateway: Gateway = request.app.state.gateway
    books: Books = request.app.state.books
    calls = [await gateway.open(chat, caller) for chat in chats]
    books.trace(chats[0].id, chats[0].headers)
    dialect = TextCompletions(chats)
    if chats[0].stream:
        streams = _Several([CallStream(request, call, dialect, EVENTS) for call in calls])
        return EventStream(streams, Presence(receive), request.app.state.keepalive_s)
    try:
        with Presence(receive):
            answers = await _complete(calls)
    except SemrouteError as error:
        return error_responses.render(request, error, status_of(error), _headers(calls), max(map(asked_for, calls)))
    except CallerGoneError:
        return Response(b"", status_code=CLIENT_CLOSED_REQUEST, headers=_headers(calls))
    return Rendered(
        dialect.render([(done, call.account.record, call.request) for done, call in zip(answers, calls, strict=True)]),
        _headers(calls),
    )


async def _complete(calls: Sequence[Call]) -> list[Completion]:
    """Return all answers. The first failure raises the errors of `Call.complete` and cancels the others."""
    places = asyncio.Semaphore(AT_ONCE)

    async def complete(call: Call) -> Completion:
        async with places:
            return await call.complete()

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(complete(call)) for call in calls]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _headers(calls: Sequence[Call]) -> dict[str, str]:
    """Return the headers of the first call, with the attempts and cost of all."""
    headers = account_headers(calls[0])
    records = [call.account.record for call in calls]
    return headers | {
        "x-semroute-attempts": str(sum(len(record.attempts) for record in records)),
        "x-semroute-cost-usd": f"{sum((record.cost_usd for record in records), Decimal(0)):f}",
        "x-semroute-saved-usd": f"{sum((record.saved_usd for record in records), Decimal(0)):f}",
    }


class _Several:
    """Several calls as the `Source` of one stream, one after the other."""

    media_type = EVENTS

    def __init__(self, sources: list[CallStream]) -> None:
        self._sources = sources
        self._current = sources[0]

    @property
    def keep_alive(self) -> bytes:
        """Return what may be sent now while there is nothing to say."""
        return self._current.keep_alive

    async def open(self) -> None:
        """Wait for the first content. Raises `SemrouteError`."""
        await self._current.open()

    def headers(self, *, early: bool) -> dict[str, str]:
        """Return the headers of the first call."""
        return self._sources[0].headers(early=early)

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the answers except the last event. Raises `SemrouteError` if one breaks off."""
        for source in self._sources:
            if source is not self._sources[0]:
                yield self._current.end()
                self._current = source
                await source.open()
            async for event in source.events():
                yield event

    def end(self) -> bytes:
        """Return the last event."""
        return self._current.end()

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        """Return the error, with its status."""
        return self._current.refusal(error)

    def failure(self, error: SemrouteError) -> bytes:
        """Return the error as an event."""
        return self._current.failure(error)

    def farewell(self, error: SemrouteError) -> bytes:
        """Return the error as an event, for one reader of several."""
        return self._current.farewell(error)

    @property
    def patience_s(self) -> float:
        """Return how many seconds the caller may take nothing, as for the call that is under way."""
        return self._current.patience_s

    @property
    def whole(self) -> bool:
        """Return whether all answers are complete and good."""
        return all(source.whole for source in self._sources)

    async def aclose(self) -> None:
        """End the calls."""
        for source in self._sources:
            await source.aclose()


HANDLERS = (completions,)
