"""The HTTP client, behind one seam: no other file imports one.

Requests are made in httpx's vocabulary and handed straight to httpx-aiohttp's transport. That spares the redirects,
cookies and auth flows of `httpx.AsyncClient`, which are not wanted here and cost a third of the throughput.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from httpx_aiohttp import AiohttpTransport

from semroute.errors import (
    BadAnswerError,
    MalformedAnswerError,
    ProviderConnectionError,
    ProviderDNSError,
    ProviderError,
    ProviderTimeoutError,
    ProviderTLSError,
)
from semroute.providers import sent

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 32 * 1024

Headers = httpx.Headers
"""Made by `encode_headers`, for any number of calls."""

_FAILURES = (httpx.HTTPError, httpx.InvalidURL, aiohttp.ClientError, HttpProcessingError, OSError, ValueError)


def encode_headers(headers: Mapping[str, str]) -> Headers:
    """Headers ready to be sent. Encoding them once spares a fifth of each call's time.

    Raises `ProviderConnectionError` where HTTP cannot carry one, such as a key with a letter that is not ASCII.
    """
    try:
        return Headers({**headers, "accept-encoding": "gzip, deflate"}, encoding="ascii")
    except UnicodeEncodeError:
        raise ProviderConnectionError("the key or a header holds a character that HTTP cannot carry") from None


class Response:
    """An answer whose head has arrived. Leaving its context ends the call.

    A connection with bytes still unread is closed, not kept for the next call.
    """

    def __init__(self, response: httpx.Response, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status_code
        response.headers.encoding = "latin-1"  # fits any byte; httpx would try out which encoding does, at each look-up
        self.headers: Mapping[str, str] = response.headers
        self.raw_headers: Iterable[tuple[bytes, bytes]] = response.headers.raw
        """As they came. One pass over these is cheaper than two look-ups in `headers`."""

    async def aiter_bytes(self) -> AsyncGenerator[bytes]:
        """The body as it arrives, decompressed. Raises `ProviderConnectionError` where it is cut."""
        decoded = "content-encoding" in self.headers
        pieces = self._response.aiter_bytes() if decoded else self._response.stream
        assert not isinstance(pieces, httpx.SyncByteStream)
        try:
            async for piece in pieces:
                yield piece
        except _FAILURES as error:
            raise _translate(error, self._host, in_body=True) from None

    async def aread(self, limit_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body. Raises `BadAnswerError` past the limit."""
        pieces: list[bytes] = []
        read_bytes = 0
        async with aclosing(self.aiter_bytes()) as body:
            async for piece in body:
                pieces.append(piece)
                read_bytes += len(piece)
                if read_bytes > limit_bytes:
                    raise BadAnswerError(f"the answer of {self._host} is over {limit_bytes} bytes")
        return b"".join(pieces)

    async def aclose(self) -> None:
        """End the call. Does no harm twice."""
        stream = self._response.stream
        assert isinstance(stream, httpx.AsyncByteStream)
        with contextlib.suppress(*_FAILURES):  # a connection that fails while it is closed is closed
            await stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class Transport:
    """A pool of connections, for one event loop. It opens nothing before the first call.

    Redirects are not followed and cookies are not kept: both would mix callers. Proxies are taken from the environment
    (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), certificate authorities from `SSL_CERT_FILE` or certifi.
    """

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, max_connections: int = 1000, keepalive_s: float = 30.0
    ) -> None:
        self._tls = tls or httpx.create_ssl_context()
        self._max_connections = max_connections
        self._keepalive_s = keepalive_s
        self._session: aiohttp.ClientSession | None = None
        self._senders: dict[str, AiohttpTransport] = {}
        self._targets: dict[str, tuple[httpx.URL, AiohttpTransport]] = {}
        self._closed = False

    async def send(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """Send a request and wait for the head of its answer.

        `connect_s` covers DNS, TCP, TLS and the wait for a free connection; how long the answer may take is for the
        caller to bound. Raises `ProviderError`; a cancelled call closes its connection.
        """
        if self._closed:
            raise ProviderConnectionError("the HTTP transport is closed")
        host = "the provider"
        try:
            target, sender = self._target(url)
            host = target.netloc.decode("ascii")
            extensions = {"timeout": {"pool": connect_s}}
            request = httpx.Request(method, target, stream=httpx.ByteStream(body), extensions=extensions)
            request.headers = headers  # set so, they are not encoded again; aiohttp copies them and adds the body's
            request.read()
            return Response(await sender.handle_async_request(request), host)
        except _FAILURES as error:
            raise _translate(error, host, connect_s=connect_s) from None

    async def aclose(self) -> None:
        """Close every connection. Calls still under way fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _target(self, url: str) -> tuple[httpx.URL, AiohttpTransport]:
        """The parsed address, and the sender for its proxy. Both depend on the address alone: kept."""
        if url not in self._targets:
            parsed = httpx.URL(url)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise httpx.InvalidURL("expected http://host/… or https://host/…")
            proxies = {} if proxy_bypass(parsed.host) else getproxies()
            proxy = proxies.get(parsed.scheme) or proxies.get("all", "")
            self._targets[url] = (parsed, self._sender(proxy))
        return self._targets[url]

    def _sender(self, proxy: str) -> AiohttpTransport:
        # Not aiohttp's own `trust_env`: it starts two threads a call, and fails where ~/.netrc knows the host.
        if proxy not in self._senders:
            address = proxy if "://" in proxy else f"http://{proxy}"
            self._senders[proxy] = AiohttpTransport(
                verify=self._tls, proxy=httpx.Proxy(address) if proxy else None, client=self._open_session
            )
        return self._senders[proxy]

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=self._tls, limit=self._max_connections, keepalive_timeout=self._keepalive_s
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                response_class=_ClientResponse,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._session


class _ClientResponse(aiohttp.ClientResponse):
    """An answer whose body ends with its connection at the latest.

    Where the framing of a body breaks after its head was read (a proxy writes its own error into a chunked answer),
    aiohttp closes the connection, but leaves the reader waiting.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head."""
        try:
            await super().start(connection)
        finally:
            if self._writer is None or self._writer.done():
                sent.note()
        closed = connection.protocol.closed if connection.protocol is not None else None
        if closed is not None and not self.content.is_eof():
            closed.remove_done_callback(_retrieve)  # one for each connection, whatever its number of answers
            closed.add_done_callback(_retrieve)
            closed.add_done_callback(self._end_body)

            def forget() -> None:
                closed.remove_done_callback(self._end_body)

            self.content.on_eof(forget)
        return self

    def _end_body(self, closed: asyncio.Future[None]) -> None:
        if not self.content.is_eof() and self.content.exception() is None:
            self.content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Why a connection went is told by its reads; asyncio would log what nobody asks for."""
    closed.exception()


# By the first kind that fits. `{detail}` is what the operating system or OpenSSL says.
_EXPLANATIONS: tuple[tuple[type[Exception], type[ProviderError], str], ...] = (
    (httpx.InvalidURL, ProviderConnectionError, "the base_url cannot be used: {detail}"),
    (httpx.DecodingError, MalformedAnswerError, "the answer of {host} cannot be decompressed: {detail}"),
    (aiohttp.ClientConnectorDNSError, ProviderDNSError, "the name {name} cannot be resolved: {detail}"),
    (aiohttp.ClientProxyConnectionError, ProviderConnectionError, "cannot connect to the proxy for {host}: {detail}"),
    (aiohttp.ClientHttpProxyError, ProviderConnectionError, "the proxy for {host} refused: {detail}"),
    (ssl.SSLCertVerificationError, ProviderTLSError, "the TLS certificate of {host} is not trusted: {detail}"),
    (ssl.SSLError, ProviderTLSError, "TLS with {host} failed: {detail}"),
    (ConnectionRefusedError, ProviderConnectionError, "connection refused by {host}"),
    (aiohttp.ClientConnectorError, ProviderConnectionError, "cannot connect to {host}: {detail}"),
    (TimeoutError, ProviderTimeoutError, "no connection to {host} within {connect_s:g} s"),
    (aiohttp.ClientResponseError, MalformedAnswerError, "{host} does not answer in HTTP: {detail}"),
    (HttpProcessingError, MalformedAnswerError, "the answer of {host} is malformed HTTP: {detail}"),
    (ValueError, ProviderConnectionError, "cannot send to {host}: the key, a header or the base_url is malformed"),
)


def _translate(error: Exception, host: str, *, connect_s: float = 0, in_body: bool = False) -> ProviderError:
    """Say in our own terms what went wrong. To be raised `from None`: the causes' reprs hold headers, so our key."""
    # httpx-aiohttp makes a ConnectTimeout of a closed connection: what aiohttp raised says more.
    cause = error.__cause__ if isinstance(error, httpx.TransportError) and error.__cause__ else error
    system = cause.os_error if isinstance(cause, aiohttp.ClientConnectorError) else cause
    facts = {
        "host": host,
        "name": host.partition(":")[0],
        "detail": _detail(system),
        "connect_s": connect_s,
    }
    for kind, error_type, text in _EXPLANATIONS:
        if isinstance(cause, kind) or isinstance(system, kind):
            return error_type(text.format(**facts))
    when = "inside its answer" if in_body else "before it answered"
    return ProviderConnectionError(f"{host} closed the connection {when}")


def _detail(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, aiohttp.ClientResponseError):
        return " ".join(error.message.split())
    return " ".join(str(error).split()) or type(error).__name__
