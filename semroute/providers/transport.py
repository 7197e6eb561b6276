"""The HTTP client of the service. Only this file, `transport_errors.py` and `streamed_upload.py` import aiohttp.

httpx reads addresses and authorities. aiohttp opens, keeps and reads connections. This file writes to them. A call by a
whole client takes more processor time: aiohttp 2.8 times ours, httpx 32 (2026-11-30, `bench/libraries.py http`).
"""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import ssl
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache
from types import TracebackType
from typing import NamedTuple, Protocol, Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from semroute.errors import (
    MalformedAnswerError,
    NoPlaceError,
    OversizedAnswerError,
    ProviderConnectionError,
    UnsendableError,
)
from semroute.providers.transport_errors import FAILURES, one_line, translate

log = logging.getLogger("semroute.providers")

MAX_ANSWER_BYTES = 32 * 1024 * 1024
MAX_HEADER_BYTES = 32 * 1024
READ_SIZE = 16 * 1024  # bytes to read at once; once twice as many wait here, reading stops
TURN_BYTES = 4 * READ_SIZE
"""How many bytes of an answer are read before other tasks get their turn."""
INTERIM = (100, 102, 103)
"""Statuses of interim answers. The head of the real answer follows them."""

MAX_CONNECTIONS = 4096
"""The most connections at once, to all providers. It is more than the calls that may run, so calls rarely wait."""
WAIT_S = 1.0
"""The longest wait for a place, in seconds. After that, the service says that it is overloaded."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Headers(NamedTuple):
    """Headers ready to be sent with any number of calls. `encode_headers` makes them."""

    lines: bytes
    names: frozenset[str]
    """In lower case."""


def encode_headers(headers: Mapping[str, str]) -> Headers:
    """Return headers ready to be sent. Raises `UnsendableError` if HTTP cannot carry one, as a key with `é`."""
    if not all(sendable(text) for header in headers.items() for text in header):
        raise UnsendableError("the key or a header holds a character that HTTP cannot carry")
    every = {"accept": "*/*", **headers, "accept-encoding": "gzip, deflate"}
    lines = "".join(f"{name}: {value}\r\n" for name, value in every.items())
    return Headers(lines.encode("ascii"), frozenset(name.lower() for name in headers))


def sendable(text: str) -> bool:
    """Return whether HTTP can carry a text in a header."""
    return text.isascii() and not _CONTROL.search(text)


class Response:
    """An answer whose head has arrived. Leaving its `async with` block ends the call.

    A connection with bytes still unread or unsent is closed, not kept for the next call.
    """

    def __init__(self, message: RawResponseMessage, content: StreamReader, connection: Connection, host: str) -> None:
        self._content = content
        self._connection = connection
        self._host = host
        self._turn_bytes = 0
        self.status = message.code
        self.headers: Mapping[str, str] = message.headers
        self.raw_headers: Iterable[tuple[bytes, bytes]] = message.raw_headers
        """The headers as they came. One pass over these is cheaper than two look-ups in `headers`."""
        self._follow(connection.protocol)

    async def read(self) -> bytes:
        """Return the next decompressed bytes; empty at the end. Raises `ProviderError` if the body is cut off."""
        try:
            data = await self._content.read(READ_SIZE)
        except FAILURES as error:
            raise translate(error, self._host, in_body=True) from None
        self._turn_bytes += len(data)
        if self._turn_bytes >= TURN_BYTES:  # the next decompressed bytes may be there at once
            self._turn_bytes = 0
            await asyncio.sleep(0)
        return data

    async def aread(self, limit_bytes: int = MAX_ANSWER_BYTES) -> bytes:
        """Return the whole body. Raises `OversizedAnswerError` past the limit."""
        pieces: list[bytes] = []
        read_bytes = 0
        while piece := await self.read():
            pieces.append(piece)
            read_bytes += len(piece)
            if read_bytes > limit_bytes:
                raise OversizedAnswerError(f"the answer is over {limit_bytes} bytes")
        return b"".join(pieces)

    async def aclose(self) -> None:
        """As `close`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the call and give the connection back. A second call of this does nothing.

        Done as soon as the body is there, so that the next call need not wait for it.
        """
        finish(self._connection, reusable=True)

    def _follow(self, protocol: ResponseHandler | None) -> None:
        """Make sure that the body ends when its connection ends.

        If the framing of a body breaks after its head was read (a proxy writes its own error into a chunked answer),
        aiohttp closes the connection but leaves the reader waiting.
        """
        self._content.on_eof(self.close)
        closed = protocol.closed if protocol is not None else None
        if closed is not None and not self._content.is_eof():
            closed.remove_done_callback(_retrieve)  # so that a connection has it once, however many answers it carries
            closed.add_done_callback(_retrieve)
            closed.add_done_callback(self._cut)

            def forget() -> None:
                closed.remove_done_callback(self._cut)

            self._content.on_eof(forget)

    def _cut(self, closed: asyncio.Future[None]) -> None:
        if not self._content.is_eof() and self._content.exception() is None:
            self._content.set_exception(aiohttp.ClientPayloadError("the connection was closed"))


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Mark the error of a connection as read, or asyncio would log it. Reads report why a connection closed."""
    closed.exception()


class Target(NamedTuple):
    """Where calls go. It depends only on the address, so it is kept for later calls."""

    host: str
    """The host with its port, for messages."""
    first: str
    """What follows the method in a request's first line."""
    own: Mapping[str, str]
    """The headers that the address and the proxy need, by names in lower case."""
    request: aiohttp.ClientRequest
    """Tells aiohttp where to connect, and through which proxy. It is never sent itself."""

    def head(self, method: str, headers: Headers, size: int | None) -> bytes:
        """Return what goes before a body of this size. None: in chunks. Raises `ValueError` for two credentials."""
        if "authorization" in self.own and "authorization" in headers.names:
            raise ValueError("the base_url and the headers both hold credentials")
        lines = [f"{name}: {value}\r\n" for name, value in self.own.items() if name not in headers.names]
        start = f"{method} {self.first}\r\n{''.join(lines)}".encode("ascii")
        framing = b"transfer-encoding: chunked" if size is None else b"content-length: %d" % size
        return b"%b%b%b\r\n\r\n" % (start, headers.lines, framing)


class ConnectionSlots:
    """Places for connections, on one event loop. First come, first served."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._left = count
        """How many places can be taken without waiting."""
        self._waiting = 0
        self._given_back = asyncio.Semaphore(0)
        """While calls wait, places are given back here."""

    async def take(self, wait_s: float) -> None:
        """Take a place. Raises `NoPlaceError` if none is free within the shorter of `wait_s` and `WAIT_S`."""
        if self._left:  # nearly always so
            self._left -= 1
            return
        self._waiting += 1
        try:
            async with asyncio.timeout(min(wait_s, WAIT_S)):
                await self._given_back.acquire()
        except TimeoutError:
            raise NoPlaceError(
                f"all {self._count} connections that the service may have to providers are in use: try again later"
            ) from None
        finally:
            self._waiting -= 1

    def give_back(self) -> None:
        """Give a place back."""
        if self._waiting:
            self._given_back.release()
        else:
            self._left += 1


class Sending:
    """One call's request on its way out."""

    whole = False
    """Whether the request was sent completely. From then on, the provider may charge for reading it."""


_sending: ContextVar[Sending | None] = ContextVar("sending", default=None)


def watch_sending() -> Sending:
    """Follow the request of this task's next call."""
    sending = Sending()
    _sending.set(sending)
    return sending


def note_sent() -> None:
    """Note that the request of this task's call was sent completely."""
    if (sending := _sending.get()) is not None:
        sending.whole = True


class Sender(Protocol):
    """Sends requests: a `Transport`, or one that signs requests and then uses a `Transport`."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Secrets that it adds to requests. No message may repeat them."""
        ...

    async def send(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """Send a request and wait for the head of its answer. Raises `ProviderError`."""
        ...


def trusted_authorities() -> ssl.SSLContext:
    """Read the certificates of the authorities that are trusted. Takes 25 ms, and other threads run meanwhile."""
    return httpx.create_ssl_context()


class Transport:
    """A pool of connections, for one event loop. It opens nothing before the first call.

    Redirects are not followed and cookies are not kept: both would mix callers. Proxies are taken from the environment
    (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), certificate authorities from `SSL_CERT_FILE` or certifi.
    """

    secrets: tuple[str, ...] = ()

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, max_connections: int = MAX_CONNECTIONS, keepalive_s: float = 30.0
    ) -> None:
        self._tls = tls or trusted_authorities()
        self._places = ConnectionSlots(max_connections)
        self._keepalive_s = keepalive_s
        self._connector: aiohttp.TCPConnector | None = None
        self._targets: dict[str, Target] = {}
        self._closed = False

    async def send(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """Send a request and wait for the head of its answer.

        `connect_s` covers DNS, TCP and TLS. The caller must limit how long the answer may take. If all connections are
        in use, it waits a moment. Raises `ProviderError`. A cancelled call closes its connection.
        """
        if self._closed:
            raise ProviderConnectionError("the HTTP transport is closed")
        host = "the provider"
        try:
            target = self._targets.get(url) or self._target(url)
            host = target.host
            head = target.head(method, headers, len(body))
            connection = await self._connect(target, connect_s)
            return await _exchange(connection, head, body, host)
        except FAILURES as error:
            raise translate(error, host, connect_s=connect_s) from None

    async def _connect(self, target: Target, connect_s: float) -> Connection:
        await self._places.take(connect_s)
        try:
            if self._connector is None:
                # No limit here: aiohttp would count the wait for a connection as the provider's time.
                self._connector = aiohttp.TCPConnector(ssl=self._tls, limit=0, keepalive_timeout=self._keepalive_s)
            connection = await self._connector.connect(target.request, [], _connect_within(connect_s))
        except BaseException:
            self._places.give_back()
            raise
        connection.add_callback(self._places.give_back)  # runs when the connection is given back or closed
        return connection

    async def aclose(self) -> None:
        """Close every connection. Calls still under way fail."""
        self._closed = True
        if self._connector is not None:
            await self._connector.close()

    def _target(self, address: str) -> Target:
        if address not in self._targets:
            parsed = httpx.URL(address)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise httpx.InvalidURL("neither http://host/… nor https://host/…")
            # aiohttp's own `trust_env` starts two threads for each call, and fails if ~/.netrc knows the host.
            proxies = {} if proxy_bypass(parsed.host) else getproxies()
            proxy = proxies.get(parsed.scheme) or proxies.get("all", "")
            forward = URL(proxy if "://" in proxy else f"http://{proxy}") if proxy else None
            self._targets[address] = _aim(URL(str(parsed)), parsed.netloc.decode("ascii"), forward)
        return self._targets[address]


def _aim(url: URL, host: str, proxy: URL | None) -> Target:
    forwarded = proxy is not None and url.scheme == "http"  # with https, the proxy only passes on bytes
    path = str(url.with_user(None)) if forwarded else url.raw_path_qs
    request = aiohttp.ClientRequest("POST", url, loop=asyncio.get_running_loop(), proxy=proxy)
    own = {"host": request.headers["Host"]}
    if url.user or url.password:
        own["authorization"] = _basic(url)
    if forwarded and proxy is not None and (proxy.user or proxy.password):
        own["proxy-authorization"] = _basic(proxy)
    return Target(host=host, first=f"{path} HTTP/1.1", own=own, request=request)


def _basic(url: URL) -> str:
    """Return the credentials in an address as a header (RFC 7617)."""
    credentials = f"{url.user or ''}:{url.password or ''}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


@lru_cache
def _connect_within(connect_s: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(connect=connect_s)


async def _exchange(connection: Connection, head: bytes, body: bytes, host: str) -> Response:
    """Send a request on a connection, and read the head of its answer. Closes the connection if that fails."""
    protocol, wire = connection.protocol, connection.transport
    if protocol is None or wire is None:
        connection.close()
        raise aiohttp.ServerDisconnectedError
    try:
        wire.writelines((head, body))
        # This may follow the write: nothing is read before this task waits.
        protocol.set_response_params(
            read_until_eof=True, read_bufsize=READ_SIZE, max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES
        )
        message, content = await protocol.read()
        while message.code in INTERIM:
            message, content = await protocol.read()
    except BaseException as error:
        finish(connection, reusable=False)
        if isinstance(error, HttpProcessingError):
            log.debug("%s: %s", host, error.message)
            raise MalformedAnswerError(f"the provider does not answer in HTTP: {one_line(error.message)}") from None
        raise
    if not wire.get_write_buffer_size():
        note_sent()
    return Response(message, content, connection, host)


def finish(connection: Connection, *, reusable: bool) -> None:
    """Give a connection back, or close it. It is closed at once if part of the request still waits to be sent."""
    wire = connection.transport
    if wire is not None and wire.get_write_buffer_size():
        wire.abort()
        connection.close()
    elif reusable:
        connection.release()
    else:
        note_sent()
        connection.close()
