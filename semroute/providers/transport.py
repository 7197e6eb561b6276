"""The HTTP client, behind one seam: no other file imports one.

Addresses and certificate authorities are read by httpx; aiohttp carries the calls. `httpx.AsyncClient` would add
redirects, cookies and auth flows, which are not wanted here, and cost more than the call itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.http_exceptions import ContentEncodingError
from multidict import CIMultiDict
from yarl import URL

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

Headers = CIMultiDict[str]
"""Made by `encode_headers`, for any number of calls."""

_FAILURES = (httpx.InvalidURL, aiohttp.ClientError, HttpProcessingError, OSError, ValueError)


def encode_headers(headers: Mapping[str, str]) -> Headers:
    """Headers ready to be sent.

    Raises `ProviderConnectionError` where HTTP cannot carry one, such as a key with a letter that is not ASCII.
    """
    if not all(text.isascii() for header in headers.items() for text in header):
        raise ProviderConnectionError("the key or a header holds a character that HTTP cannot carry")
    return CIMultiDict({**headers, "accept-encoding": "gzip, deflate"})


class Response:
    """An answer whose head has arrived. Leaving its context ends the call.

    A connection with bytes still unread is closed, not kept for the next call.
    """

    def __init__(self, response: aiohttp.ClientResponse, host: str) -> None:
        self._response = response
        self._host = host
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.raw_headers: Iterable[tuple[bytes, bytes]] = response.raw_headers
        """As they came. One pass over these is cheaper than two look-ups in `headers`."""

    async def read(self) -> bytes:
        """The next bytes of the body, decompressed; none at its end. Raises `ProviderError` where it is cut."""
        try:
            return await self._response.content.readany()
        except _FAILURES as error:
            raise _translate(error, self._host, in_body=True) from None

    async def aread(self, limit_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """The whole body. Raises `BadAnswerError` past the limit."""
        pieces: list[bytes] = []
        read_bytes = 0
        while piece := await self.read():
            pieces.append(piece)
            read_bytes += len(piece)
            if read_bytes > limit_bytes:
                raise BadAnswerError(f"the answer of {self._host} is over {limit_bytes} bytes")
        return b"".join(pieces)

    async def aclose(self) -> None:
        """End the call. Does no harm twice."""
        with contextlib.suppress(*_FAILURES):  # a connection that fails while it is closed is closed
            self._response.release()
            await self._response.wait_for_close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()


class _Target(NamedTuple):
    """Where calls go. It depends on the address alone, so it is kept."""

    url: URL
    host: str
    """With its port, for messages."""
    proxy: URL | None


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
        self._targets: dict[str, _Target] = {}
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
            target = self._target(url)
            host = target.host
            response = await self._open_session().request(
                method,
                target.url,
                headers=headers,
                data=body,
                allow_redirects=False,
                proxy=target.proxy,
                timeout=aiohttp.ClientTimeout(connect=connect_s),
            )
            return Response(response, host)
        except _FAILURES as error:
            raise _translate(error, host, connect_s=connect_s) from None

    async def aclose(self) -> None:
        """Close every connection. Calls still under way fail."""
        self._closed = True
        if self._session is not None:
            await self._session.close()

    def _target(self, address: str) -> _Target:
        if address not in self._targets:
            parsed = httpx.URL(address)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise httpx.InvalidURL("expected http://host/… or https://host/…")
            # Not aiohttp's own `trust_env`: it starts two threads a call, and fails where ~/.netrc knows the host.
            proxies = {} if proxy_bypass(parsed.host) else getproxies()
            proxy = proxies.get(parsed.scheme) or proxies.get("all", "")
            self._targets[address] = _Target(
                url=URL(str(parsed)),
                host=parsed.netloc.decode("ascii"),
                proxy=URL(proxy if "://" in proxy else f"http://{proxy}") if proxy else None,
            )
        return self._targets[address]

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
    (ContentEncodingError, MalformedAnswerError, "the answer of {host} cannot be decompressed: {detail}"),
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
    system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(error.__cause__, ContentEncodingError):
        system = error.__cause__
    facts = {
        "host": host,
        "name": host.partition(":")[0],
        "detail": _detail(system),
        "connect_s": connect_s,
    }
    for kind, error_type, text in _EXPLANATIONS:
        if isinstance(error, kind) or isinstance(system, kind):
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
