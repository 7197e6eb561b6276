"""OpenAI's Responses with memory. Answers are kept for some hours, so that later requests can build on them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from typing import Any, TypeVar, cast

import msgspec
from litestar import Response, delete, get, post

from semroute.api import guards, openapi
from semroute.api.accounting import Books
from semroute.api.completions import answer, decode
from semroute.api.decompression import DecodedBody
from semroute.api.error_responses import AnyRequest
from semroute.api.fast_path import Rendered
from semroute.api.request_intake import Body
from semroute.api.streamed_responses import StreamSource
from semroute.caller import Caller
from semroute.dialects.responses.client import Responses, ResponsesBody
from semroute.dialects.responses.compaction import Compact
from semroute.dialects.responses.stored import as_items, closing, is_reference, item_id, listed, replayed
from semroute.dialects.shared.body_parsing import error_moved_to, problem, shown
from semroute.errors import NotFoundError, PayloadTooLargeError, RequestError, SemrouteError, StoreError
from semroute.messages import LONG_BYTES, ChatRequest
from semroute.settings import PREFIX, Settings
from semroute.stores.response_store import KeptResponse

Result = TypeVar("Result")

SWEEP_EVERY_S = 600.0
"""Seconds between two deletions of expired responses. They happen even if no new responses are kept."""
HOUR_S = 3600.0
KEEP_S = 1.0
"""The longest time in seconds that an answer waits until it is kept."""
AWAY_S = 10.0
"""Seconds for which no response is kept after that failed."""
DEFAULT_LIMIT, MAX_LIMIT = 20, 100
"""How many items a list has by default, and at most."""
REFERS = (b'"previous_response_id"', b'"item_reference"')
"""One of these stands in every body that builds on earlier answers."""
ESCAPED_LETTER = re.compile(rb"\\u00(?:5[Ff]|[67])")
"""JSON may spell the letters of these words like this. No library does, so a body that has one is decoded to be
sure."""
_ITEM = re.compile(r"input\[(\d+)\]")
SETTING = f"{PREFIX}KEEP_RESPONSES_H"
_dialect = Responses()
_compact = Compact()

log = logging.getLogger("semroute.api")


@post("/v1/responses", status_code=200, operation_class=openapi.reads(ResponsesBody), direct=True)
async def responses(request: AnyRequest) -> Response[Any]:
    """OpenAI's Responses: `model` is `auto`, `auto:<route>` or a model id.

    The answer is kept for some hours, so that the next request can name it as its `previous_response_id`. With
    `store: false` it is not kept.
    """
    return await answer(request, _dialect, memory=ResponseMemory(request))


@post("/v1/responses/compact", status_code=200, operation_class=openapi.reads(ResponsesBody), direct=True)
async def compact(request: AnyRequest) -> Response[Any]:
    """Shorten a conversation so that it can be continued. `model` is `auto`, `auto:<route>` or a model id."""
    return await answer(request, _compact, memory=ResponseMemory(request, keeps=False))


@get("/v1/responses/{id_:str}")
async def response(request: AnyRequest, id_: str) -> Response[bytes]:
    """Return a response that was kept."""
    kept = await _find(request, id_)
    body = msgspec.json.decode(kept.response)
    output = [msgspec.json.decode(item) for _, item in kept.output]
    return Rendered(msgspec.json.encode({**body, "output": output}), {})


@get("/v1/responses/{id_:str}/input_items")
async def input_items(
    request: AnyRequest, id_: str, limit: int = DEFAULT_LIMIT, order: str = "desc", after: str = ""
) -> Response[bytes]:
    """List the items of the conversation that a response answered, `limit` at a time."""
    if not 1 <= limit <= MAX_LIMIT:
        raise RequestError(f"limit: got {limit}, expected 1 to {MAX_LIMIT}", param="limit")
    if order not in ("asc", "desc"):
        raise RequestError(f"order: got {order!r}, expected asc or desc", param="order")
    kept = await _find(request, id_)
    return Rendered(msgspec.json.encode(listed(kept.asked, id_, limit=limit, order=order, after=after)), {})


@delete("/v1/responses/{id_:str}", status_code=200)
async def forget(request: AnyRequest, id_: str) -> Response[bytes]:
    """Delete a response that was kept."""
    owner = owner_of(request, await guards.admitted(request, "complete"))
    books: Books = request.app.state.books
    if not await books.ask(books.responses.delete, owner, id_):
        raise _missing(request, id_, None)
    return Rendered(msgspec.json.encode({"id": id_, "object": "response", "deleted": True}), {})


async def sweep(books: Books) -> None:
    """Delete expired responses now and then. Runs until it is cancelled."""
    while True:
        with contextlib.suppress(StoreError):  # the books report a database that is unavailable
            await books.ask(books.responses.sweep)
        await asyncio.sleep(SWEEP_EVERY_S)


def owner_of(request: AnyRequest, caller: Caller) -> str:
    """Return the owner of responses. A key owns its responses, also after it was rotated."""
    return hashlib.sha256(guards.identity(request, caller).encode("utf-8", "surrogateescape")).hexdigest()


class ResponseMemory:
    """The memory for one request: finds what it builds on, and keeps its answer."""

    def __init__(self, request: AnyRequest, *, keeps: bool = True) -> None:
        """`keeps`: whether later requests may build on its answer."""
        self._may_keep = keeps
        settings: Settings = request.app.state.settings
        self._request = request
        self._ttl_s = settings.keep_responses_h * HOUR_S
        self._previous: str | None = None
        self._places: dict[int, int] = {}
        """Of the caller's own items, in the conversation that was built: where they stand in the caller's `input`."""

    @property
    def _owner(self) -> str:
        return owner_of(self._request, guards.caller_of(self._request))

    async def recall(self, body: bytes) -> bytes:
        """Return the body with the conversation that it builds on. Raises `RequestError` and `StoreError`."""
        if not _may_refer(body):
            return body
        fields = await asyncio.to_thread(decode, body) if len(body) > LONG_BYTES else decode(body)
        previous, items = fields.pop("previous_response_id", None), as_items(fields.get("input"))
        if previous is None and not any(map(is_reference, items)):
            return body
        if not self._ttl_s:
            field = "input" if previous is None else "previous_response_id"
            raise problem(
                field, f"no responses are kept here, because {SETTING} is 0: send the whole conversation in `input`"
            )
        room = self._request.app.state.settings.max_body_bytes - len(body)
        before = None if previous is None else await self._before(previous, room)
        named = await self._found(items, room)
        self._make_room(body, before, named.values())
        built, self._places = await asyncio.to_thread(_built, fields, items, before, named)
        return built

    def where_asked(self, error: RequestError) -> RequestError:
        """Return the error with the place in the caller's own body. In the whole conversation that place may be further
        on.
        """
        param = error.param or ""
        match = _ITEM.match(param)
        place = None if match is None else self._places.get(int(match[1]))
        return (
            error if match is None or place is None else error_moved_to(error, f"input[{place}]{param[match.end() :]}")
        )

    async def keep(self, answer: bytes, chat: ChatRequest) -> bytes:
        """Keep a whole answer, unless the request forbids it. Returns the answer, which says whether it was kept."""
        if not self._told(chat):
            return answer
        response = await _aside(answer, msgspec.json.decode, answer)
        return await _aside(answer, msgspec.json.encode, await self._keep(response, chat))

    def keeping(self, source: StreamSource, chat: ChatRequest) -> StreamSource:
        """Return the same stream. Its answer is kept before its last event is sent."""
        return _KeptStream(source, self, chat) if self._told(chat) else source

    async def closed(self, events: bytes, chat: ChatRequest) -> bytes:
        """Pass on events of a stream. If one of them ends it, keep the response in that event."""
        ending = await _aside(events, closing, events)
        if ending is None:
            return events
        return await _aside(events, ending.render, await self._keep(ending.response, chat))

    def _told(self, chat: ChatRequest) -> bool:
        return self._may_keep and (self._previous is not None or self._keeps(chat))

    def _keeps(self, chat: ChatRequest) -> bool:
        return self._ttl_s > 0 and chat.raw.get("store") is not False

    async def _keep(self, response: dict[str, Any], chat: ChatRequest) -> dict[str, Any]:
        kept = self._keeps(chat) and await self._put(response, chat)
        return {**response, "store": kept, "previous_response_id": self._previous}

    async def _put(self, response: dict[str, Any], chat: ChatRequest) -> bool:
        """Keep a response, and return whether that worked. If it fails, the caller still gets the answer.

        After a failure nothing is kept for a while, so that no answer waits for a database that is unavailable.
        """
        books: Books = self._request.app.state.books
        now = asyncio.get_running_loop().time
        if now() < books.kept_again_at:
            return False

        def put() -> bool:
            told = {**response, "store": True, "previous_response_id": self._previous}
            output = told.pop("output", None) or []
            id_ = str(response.get("id") or chat.id)
            kept = KeptResponse(
                id=id_,
                response=msgspec.json.encode(told),
                asked=msgspec.json.encode(as_items(chat.raw.get("input"))),
                output=tuple((item_id(item, id_, n), msgspec.json.encode(item)) for n, item in enumerate(output)),
            )
            return books.responses.keep(self._owner, kept, self._ttl_s)

        try:
            async with asyncio.timeout(KEEP_S):
                return await books.ask(put)
        except (StoreError, TimeoutError) as error:
            books.kept_again_at = now() + AWAY_S
            why = str(error) or f"the database gave no answer within {KEEP_S:g} s"
            log.warning("cannot keep responses, trying again in %g s: %s", AWAY_S, why)
            return False

    async def _before(self, previous: object, room: int) -> KeptResponse:
        """Return an earlier response that has at most `room` bytes."""
        if not isinstance(previous, str):
            raise problem("previous_response_id", f"got {shown(previous)}, expected the id of a response")
        kept = await _find(self._request, previous, param="previous_response_id", max_bytes=room)
        self._previous = previous
        return kept

    async def _found(self, items: list[Any], room: int) -> dict[int, bytes]:
        """Return the items that are only named, by their places. Together they have at most `room` bytes."""
        places = {number: _named(item, number) for number, item in enumerate(items) if is_reference(item)}
        if not places:
            return {}
        books: Books = self._request.app.state.books
        found = await books.ask(books.responses.items, self._owner, list(dict.fromkeys(places.values())), room)
        for number, id_ in places.items():
            if id_ not in found:
                raise _missing(self._request, id_, f"input[{number}]", kind="item")
        return {number: found[id_] for number, id_ in places.items()}

    def _make_room(self, body: bytes, before: KeptResponse | None, named: Iterable[bytes]) -> None:
        """Take room for the conversation that an id stands for.

        Raises `PayloadTooLargeError`, and the errors of `Body`.
        """
        settings: Settings = self._request.app.state.settings
        size = len(body) + sum(map(len, named))
        if before is not None:
            size += len(before.asked) + sum(len(item) for _, item in before.output)
        if size > settings.max_body_bytes:
            raise PayloadTooLargeError(
                f"the body and the earlier answers that it builds on have {size} bytes, expected at most "
                f"{settings.max_body_bytes}"
            )
        cast("Body | DecodedBody", self._request.receive).make_room(size)


async def _aside(data: bytes, work: Callable[[Any], Result], argument: Any) -> Result:
    """Do work on data, in a thread if the data is long."""
    return await asyncio.to_thread(work, argument) if len(data) > LONG_BYTES else work(argument)


def _may_refer(body: bytes) -> bool:
    """Return whether a body may build on earlier answers. Most do not, and this is much cheaper than decoding them."""
    return any(word in body for word in REFERS) or ESCAPED_LETTER.search(body) is not None


def _built(
    fields: dict[str, Any], items: list[Any], before: KeptResponse | None, named: Mapping[int, bytes]
) -> tuple[bytes, dict[int, int]]:
    """Return a body with the conversation up to an earlier response, that response, and the items it names.

    Also return where the caller's own items stood, by where they stand now.
    """
    earlier: list[Any] = []
    if before is not None:
        said = (msgspec.json.decode(item) for _, item in before.output)
        earlier = [*msgspec.json.decode(before.asked), *replayed(said)]
    places: dict[int, int] = {}
    for number, item in enumerate(items):
        places[len(earlier)] = number
        earlier += replayed([msgspec.json.decode(named[number])]) if number in named else [item]
    return msgspec.json.encode({**fields, "input": earlier}), places


class _KeptStream:
    """A stream whose answer is kept before its last event is sent, because the next request may come at once."""

    def __init__(self, source: StreamSource, memory: ResponseMemory, chat: ChatRequest) -> None:
        self.media_type = source.media_type
        self._source = source
        self._memory = memory
        self._chat = chat
        self._last = b""

    @property
    def keep_alive(self) -> bytes:
        """Return what may be sent now while there is nothing to say."""
        return self._source.keep_alive

    async def open(self) -> None:
        """Wait for the first content. Raises `SemrouteError`."""
        await self._source.open()

    def headers(self, *, early: bool) -> Mapping[str, str]:
        """Return the headers of the answer."""
        return self._source.headers(early=early)

    async def events(self) -> AsyncGenerator[bytes]:
        """Yield the answer except its last event. Raises `SemrouteError` if the answer breaks off."""
        async with contextlib.aclosing(self._source.events()) as events:
            async for event in events:
                yield await self._memory.closed(event, self._chat)
        self._last = await self._memory.closed(self._source.end(), self._chat)

    def end(self) -> bytes:
        """Return the last event of a whole answer."""
        return self._last

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        """Return the answer that replaces the stream."""
        return self._source.refusal(error)

    def failure(self, error: SemrouteError) -> bytes:
        """Return the event that says why the stream ends here."""
        return self._source.failure(error)

    def farewell(self, error: SemrouteError) -> bytes:
        """Return the same event for one reader of several."""
        return self._source.farewell(error)

    @property
    def patience_s(self) -> float:
        """Return how many seconds the caller may take nothing of the answer."""
        return self._source.patience_s

    @property
    def whole(self) -> bool:
        """Return whether the answer is complete and good."""
        return self._source.whole

    async def aclose(self) -> None:
        """End the call."""
        await self._source.aclose()


def _named(item: dict[str, Any], number: int) -> str:
    id_ = item.get("id")
    if not isinstance(id_, str):
        raise problem(f"input[{number}].id", f"got {shown(id_)}, expected the id of an item")
    return id_


async def _find(request: AnyRequest, id_: str, param: str | None = None, max_bytes: int | None = None) -> KeptResponse:
    """Return a response of the caller. Raises `NotFoundError`, also for another owner's, and `PayloadTooLargeError`."""
    owner = owner_of(request, await guards.admitted(request, "complete"))
    books: Books = request.app.state.books
    kept = await books.ask(books.responses.load, owner, id_, max_bytes)
    if kept is None:
        raise _missing(request, id_, param)
    return kept


def _missing(request: AnyRequest, id_: str, param: str | None, kind: str = "response") -> NotFoundError:
    settings: Settings = request.app.state.settings
    place = f"$.{param}: " if param else ""
    why = f"it is older than {settings.keep_responses_h:g} hours ({SETTING}), was deleted, or was never kept"
    return NotFoundError(f"{place}this key has no {kind} {id_[:100]!r}: {why}", param=param)


HANDLERS = (responses, compact, response, input_items, forget)
