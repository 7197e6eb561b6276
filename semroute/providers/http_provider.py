"""Call providers over HTTP, in any dialect."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from functools import cached_property, partial
from typing import NoReturn

from msgspec.structs import replace

from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import TOTAL_S, Timeouts
from semroute.dialects import registry
from semroute.dialects.protocols import EventReader, ProviderDialect, WireRequest
from semroute.dialects.registry import JOINED
from semroute.dialects.shared.dropped import as_asked
from semroute.dialects.shared.fitting import Restorer
from semroute.dialects.sse import BYTE_ORDER_MARK, Event
from semroute.errors import (
    ProviderError,
    ProviderTimeoutError,
    UnsupportedError,
)
from semroute.messages import LONG_BYTES, ChatRequest, Chunk, Completion
from semroute.providers import rate_limit_headers, trace_context
from semroute.providers.bad_answers import classify_bad_answer
from semroute.providers.error_redaction import place_of, redacted
from semroute.providers.stream_reading import ChunkReader, StreamWatch
from semroute.providers.transport import (
    Headers,
    Response,
    Sender,
    encode_headers,
    sendable,
)

MAX_ERROR_BYTES = 64 * 1024
"""How many bytes of an error are read, to tell what it means."""
MAX_QUOTED_BYTES = 16 * 1024
"""How long an error may be that a caller gets in the provider's own words."""
PART_BYTES = 8192
"""How many bytes of a stream are cut into events before other tasks get their turn."""
LONG_EVENT_BYTES = 64 * 1024
"""An event of more bytes is read in a thread. It may hold thousands of calls."""
EVENTS = 32
"""How many events of a stream are passed on before other tasks get their turn."""
UNENCODABLE = (ValueError, OverflowError, RecursionError)
"""What msgspec raises for text that is not UTF-8, numbers that are too long, and values nested too deeply."""
MIN_SECRET_CHARS = 8

Observe = Callable[[str, Model, rate_limit_headers.RateLimitState], None]
"""Receives what the headers of each answer say about a model's rate limits at an endpoint."""


class HttpProvider:
    """Calls one provider's API. Its transport is shared: whoever opened it must close it."""

    def __init__(
        self,
        provider: ProviderSettings,
        dialect: ProviderDialect,
        transport: Sender,
        observe: Observe | None = None,
    ) -> None:
        self._dialect = dialect
        self._observe = observe
        self._transport = transport
        self._base_url = provider.base_url.rstrip("/")
        self._plain_headers = {
            "content-type": "application/json",
            "user-agent": "semroute",
            **dialect.headers(provider.api_key),
            **{name.lower(): value for name, value in provider.headers.items()},
        }
        self._own = frozenset(name.lower() for name in provider.headers)
        """The headers that the route files set. Callers cannot change them."""
        secrets = (provider.api_key or "", *provider.headers.values())
        self._hidden = tuple(secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS)
        """The keys. No message may repeat them."""
        self._place = place_of(provider.base_url)

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """Return a whole answer within `timeouts.total_s`."""
        total_s = timeouts.total_s or TOTAL_S
        try:
            try:
                async with asyncio.timeout(total_s):
                    wire = await self._rendered(request, model) if request.long else self._render(request, model)
                    response = await self._send(wire, model, timeouts)
                    try:
                        if response.status != 200:
                            await self._raise_error(response)
                        body = (await response.aread()).removeprefix(BYTE_ORDER_MARK)
                    finally:
                        response.close()
            except TimeoutError:
                raise ProviderTimeoutError(f"no answer within {total_s:g} s") from None
            parse = partial(self._dialect.parse_completion, body)
            completion = await asyncio.to_thread(parse) if len(body) > LONG_BYTES else parse()
            return _with_notes(completion, wire)
        except ProviderError as error:
            raise self._told(error) from None

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """Yield an answer piece by piece. Closing the generator closes the connection."""
        watch, events = StreamWatch(timeouts), self._dialect.events()
        try:
            wire = await self._rendered(request, model) if request.long else self._render(request, model)
            reader = ChunkReader(self._dialect.stream_parser(), wire)
            response, body = await self._begin(wire, model, timeouts, watch)
            try:
                data = await watch.first(response) if body is None else b""
                if data.removeprefix(BYTE_ORDER_MARK).lstrip()[:1] in events.whole_starts:
                    body, data = await watch.rest(data, response), b""
                count = 0
                while data:
                    for event in events.feed(data) if len(data) <= PART_BYTES else _fed(events, data):
                        count += 1
                        if count % EVENTS == 0 or event is None:  # a read does not wait if enough has come already
                            await asyncio.sleep(0)
                        if event is None:
                            continue
                        is_long = len(event.data) > LONG_EVENT_BYTES
                        chunk = await asyncio.to_thread(reader.chunk, event) if is_long else reader.chunk(event)
                        if chunk is not None:
                            watch.saw(chunk, finished=reader.finished)
                            yield chunk
                    data = await watch.read(response)
                rest: Iterable[Chunk] = reader.ending(events.close(), body, self._dialect)
                if body is not None and len(body) > LONG_EVENT_BYTES:
                    rest = await asyncio.to_thread(list, rest)
                for chunk in rest:
                    yield chunk
            finally:
                response.close()
        except ProviderError as error:
            raise self._told(error) from None

    async def aclose(self) -> None:
        """Do nothing: the transport owns the connections."""

    @cached_property
    def _headers(self) -> Headers:
        return encode_headers(self._plain_headers)

    async def _rendered(self, request: ChatRequest, model: Model) -> WireRequest:
        """As `_render`, in a thread: it takes a while for a long request."""
        return await asyncio.to_thread(self._render, request, model)

    def _render(self, request: ChatRequest, model: Model) -> WireRequest:
        """Return what to send. Raises `UnsupportedError` if a strict request would lose something."""
        try:
            wire = self._dialect.render_request(request, model)
        except UNENCODABLE as error:
            raise UnsupportedError(f"the request cannot be written as JSON: {error}") from None
        if request.strict and wire.dropped:
            notes = as_asked(wire.dropped, registry.dialect(request.dialect).field_names, request.raw)
            raise UnsupportedError(f"{self._dialect.name} has no counterpart for: {', '.join(notes)}")
        return wire

    async def _send(self, wire: WireRequest, model: Model, timeouts: Timeouts) -> Response:
        headers = self._headers_with(wire.headers)
        response = await self._transport.send(
            "POST", self._base_url + wire.path, headers=headers, body=wire.body, connect_s=timeouts.connect_s
        )
        told = rate_limit_headers.read(response.raw_headers, time.time())
        if told is not rate_limit_headers.NOTHING and self._observe is not None:
            waits = response.status == 429 or response.status >= 500
            self._observe(wire.endpoint, model, told if waits else replace(told, retry_after_s=None))
        return response

    def _headers_with(self, callers: Mapping[str, str]) -> Headers:
        traced = trace_context.trace.get()
        if not traced and not callers:
            return self._headers
        plain = self._plain_headers
        joined = {
            name: f"{plain[name]},{value}" if name in plain and name in JOINED else value
            for name, value in callers.items()
            if name in JOINED or name not in self._own
        }
        # A caller's header that cannot be sent is left out, so that it does not look like a fault of the provider.
        return encode_headers({**plain, **{name: text for name, text in (traced | joined).items() if sendable(text)}})

    async def _begin(
        self, wire: WireRequest, model: Model, timeouts: Timeouts, watch: StreamWatch
    ) -> tuple[Response, bytes | None]:
        """Send the request. Returns the answer, and also its body if its media type is not that of an event stream."""
        try:
            async with asyncio.timeout_at(watch.deadline):
                response = await self._send(wire, model, timeouts)
                try:
                    if response.status != 200:
                        await self._raise_error(response)
                    content_type = response.headers.get("content-type", "").lower()
                    is_whole = "json" in content_type or "html" in content_type  # other unusual types are let through
                    return response, (await response.aread()).removeprefix(BYTE_ORDER_MARK) if is_whole else None
                except BaseException:
                    await response.aclose()
                    raise
        except TimeoutError:
            raise watch.error() from None

    async def _raise_error(self, response: Response) -> NoReturn:
        """Say what an answer of another status than 200 means."""
        try:
            body = (await response.aread(MAX_ERROR_BYTES)).removeprefix(BYTE_ORDER_MARK)
        except ProviderError:  # the body is too long or cut off, but the status still tells the kind of failure
            body = b""
        error = self._dialect.parse_error(response.status, response.headers, body)
        told = rate_limit_headers.read(response.raw_headers, time.time())
        error.retry_after_s = error.retry_after_s if told.retry_after_s is None else told.retry_after_s
        raise error

    def _told(self, error: ProviderError) -> ProviderError:
        """Return the same error with its exact type, without what no caller may see of a provider."""
        error = classify_bad_answer(error)
        message, body = str(error), error.body
        if body is not None and len(body) > MAX_QUOTED_BYTES:  # nobody reads it, and the search would take long
            body = None
        for secret in (*self._hidden, *self._transport.secrets):
            message = message.replace(secret, "***")
            body = body.replace(secret.encode(), b"***") if body is not None else None
        message = redacted(message, self._place)
        if body is not None:  # Latin-1 turns any bytes into text and back without loss
            body = redacted(body.decode("latin-1"), self._place, is_json=True).encode("latin-1")
        if (message, body) == (str(error), error.body):
            return error
        clean = type(error)(message, status=error.status, body=body)
        clean.retry_after_s, clean.written_by_model = error.retry_after_s, error.written_by_model
        return clean


def _fed(events: EventReader, data: bytes) -> Iterator[Event | None]:
    """Yield the events that are complete with many further bytes, and None after each part of these."""
    for place in range(0, len(data), PART_BYTES):
        yield from events.feed(data[place : place + PART_BYTES])
        yield None


def _with_notes(completion: Completion, wire: WireRequest) -> Completion:
    """Add to a whole answer what only the request knows, and translate names back into the caller's own."""
    if wire.dropped or wire.adapted or wire.model:
        notes = (*wire.dropped, *wire.adapted)
        completion = replace(completion, dropped=notes, model=completion.model or wire.model)
    return Restorer(wire.renamed).completion(completion) if wire.renamed else completion
