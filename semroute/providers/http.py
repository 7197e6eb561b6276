"""Providers that are called over HTTP, whatever their dialect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import cached_property

from semroute.config.schema import Config
from semroute.config.schema import Provider as ProviderSettings
from semroute.dialects.base import ProviderDialect
from semroute.dialects.openai_provider import OpenAIProviderDialect
from semroute.dialects.sse import EventParser
from semroute.errors import (
    BadAnswerError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderTimeoutError,
    StreamBrokenError,
)
from semroute.providers import trace
from semroute.providers.base import Provider
from semroute.providers.echo import EchoProvider
from semroute.providers.transport import Headers, Response, Transport, encode_headers
from semroute.types import ChatRequest, Chunk, Completion, Model, Timeouts

DIALECTS: dict[str, type[ProviderDialect]] = {"openai": OpenAIProviderDialect}
"""By the name that route files use."""
FINISHED_GRACE_S = 5.0
"""How long a stream that said why it ended may take to send its usage and close."""
MAX_ERROR_BYTES = 64 * 1024
MIN_SECRET_CHARS = 8


class HttpProvider:
    """Calls one provider's API. The transport is shared, and closed by whoever opened it."""

    def __init__(self, provider: ProviderSettings, dialect: ProviderDialect, transport: Transport) -> None:
        self._dialect = dialect
        self._transport = transport
        self._base_url = provider.base_url.rstrip("/")
        self._plain_headers = {
            "content-type": "application/json",
            "user-agent": "semroute",
            **dialect.headers(provider.api_key),
            **{name.lower(): value for name, value in provider.headers.items()},
        }
        secrets = (provider.api_key or "", *provider.headers.values())
        self._secrets = [secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS]

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """A whole answer, within `timeouts.total_s`."""
        try:
            try:
                async with asyncio.timeout(timeouts.total_s):
                    async with await self._send(request, model, timeouts) as response:
                        await self._raise_for_status(response)
                        body = await response.aread()
            except TimeoutError:
                raise ProviderTimeoutError(f"no answer within {timeouts.total_s:g} s") from None
            return self._dialect.parse_completion(body)
        except ProviderError as error:
            raise self._without_secrets(error) from None

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """An answer piece by piece. Closing the generator closes the connection."""
        watch = _Watch(timeouts)
        try:
            async with (
                await self._begin(request, model, timeouts, watch) as response,
                aclosing(self._chunks(response, watch)) as chunks,
            ):
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            raise self._without_secrets(error) from None

    async def aclose(self) -> None:
        """Nothing to close: the connections are the transport's."""

    @cached_property
    def _headers(self) -> Headers:
        return encode_headers(self._plain_headers)

    async def _send(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Response:
        wire = self._dialect.render_request(request, model)
        traced = trace.current.get()
        headers = encode_headers({**self._plain_headers, **traced}) if traced else self._headers
        return await self._transport.send(
            "POST", self._base_url + wire.path, headers=headers, body=wire.body, connect_s=timeouts.connect_s
        )

    async def _begin(self, request: ChatRequest, model: Model, timeouts: Timeouts, watch: _Watch) -> Response:
        """Send the request; the answer is a stream of events, or this raises."""
        try:
            async with asyncio.timeout_at(watch.deadline):
                response = await self._send(request, model, timeouts)
                try:
                    await self._raise_for_status(response)
                    await self._raise_unless_stream(response)
                except BaseException:
                    await response.aclose()
                    raise
                return response
        except TimeoutError:
            raise watch.error() from None

    async def _raise_for_status(self, response: Response) -> None:
        if response.status == 200:
            return
        try:
            body = await response.aread(MAX_ERROR_BYTES)
        except ProviderError:  # too long, or cut: the status still says what kind of failure it is
            body = b""
        raise self._dialect.parse_error(response.status, response.headers, body)

    async def _raise_unless_stream(self, response: Response) -> None:
        """Some servers tell of an error with status 200, or know no streams. Odd content types are let through."""
        content_type = response.headers.get("content-type", "").lower()
        if "json" in content_type or "html" in content_type:
            self._dialect.parse_completion(await response.aread())
            raise BadAnswerError("expected a stream, got a whole answer")

    async def _chunks(self, response: Response, watch: _Watch) -> AsyncGenerator[Chunk]:
        events, parser = EventParser(), self._dialect.stream_parser()
        async with aclosing(response.aiter_bytes()) as reads:
            while data := await _read(reads, watch):
                for event in events.feed(data):
                    if (chunk := parser.event(event)) is not None:
                        watch.saw(chunk, finished=parser.finished)
                        yield chunk
        for event in events.close():
            try:
                chunk = parser.event(event)
            except BadAnswerError as error:
                if parser.finished:
                    return
                raise StreamBrokenError(f"the stream ended inside an event: {error}") from None
            if chunk is not None:
                yield chunk
        if not parser.finished:
            raise StreamBrokenError("the stream ended before the answer did")

    def _without_secrets(self, error: ProviderError) -> ProviderError:
        """The same error; without our key, should the provider have quoted it."""
        message, body = str(error), error.body
        for secret in self._secrets:
            message = message.replace(secret, "***")
            body = body.replace(secret.encode(), b"***") if body is not None else None
        if (message, body) == (str(error), error.body):
            return error
        return type(error)(message, status=error.status, body=body)


class _Watch:
    """The deadline of a stream's next piece: that of the first content, then that of a stall."""

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._time = asyncio.get_running_loop().time
        self._begun = False
        self._seen = False
        self.finished = False
        self.deadline = self._time() + timeouts.first_token_s

    def saw(self, chunk: Chunk, *, finished: bool) -> None:
        """A piece came. Whoever consumes it may take its time: the next deadline is set when reading goes on."""
        self._begun = self._begun or bool(chunk.parts) or finished
        self._seen = True
        self.finished = finished

    def start(self) -> None:
        """Reading goes on."""
        if self._begun and self._seen:
            limit_s = self._timeouts.stall_s
            self.deadline = self._time() + (min(limit_s, FINISHED_GRACE_S) if self.finished else limit_s)
        self._seen = False

    def error(self) -> ProviderTimeoutError:
        """What a passed deadline means."""
        if self._begun:
            return ProviderTimeoutError(f"the stream stalled for {self._timeouts.stall_s:g} s")
        return ProviderTimeoutError(f"no first token within {self._timeouts.first_token_s:g} s")


async def _read(reads: AsyncGenerator[bytes], watch: _Watch) -> bytes:
    """The next bytes; none at the end. Once the answer has said why it ended, nothing makes it a failure any more."""
    watch.start()
    try:
        async with asyncio.timeout_at(watch.deadline):
            return await anext(reads, b"")
    except TimeoutError:
        if watch.finished:
            return b""
        raise watch.error() from None
    except ProviderError as error:
        if watch.finished:
            return b""
        raise StreamBrokenError(f"the stream was cut: {error}") from None


class UnavailableProvider:
    """Stands for a provider that cannot be called: each call says why."""

    def __init__(self, error_type: type[ProviderError], reason: str) -> None:
        self._error_type = error_type
        self._reason = reason

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """Raise."""
        raise self._error_type(self._reason)

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """Raise."""
        raise self._error_type(self._reason)
        yield  # makes this a generator, as the seam wants it

    async def aclose(self) -> None:
        """Nothing to close."""


def open_providers(config: Config, transport: Transport) -> dict[str, Provider]:
    """A provider for each that the configuration names, by its id. None is called yet."""
    return {provider.id: _open(provider, transport) for provider in config.providers.values()}


def _open(provider: ProviderSettings, transport: Transport) -> Provider:
    if provider.dialect == "echo":
        return EchoProvider()
    if provider.missing_variables:
        return UnavailableProvider(ProviderAuthError, f"{', '.join(provider.missing_variables)} is not set")
    if provider.dialect not in DIALECTS:
        return UnavailableProvider(ProviderModelError, f"the {provider.dialect} dialect is not supported yet")
    return HttpProvider(provider, DIALECTS[provider.dialect](), transport)
