"""Send the bodies of calls that are passed on piece by piece, so that no body is ever held whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage, StreamWriter
from aiohttp.streams import StreamReader

from semroute.errors import MalformedAnswerError, ProviderTimeoutError
from semroute.providers.transport import (
    INTERIM,
    MAX_HEADER_BYTES,
    READ_SIZE,
    Headers,
    Response,
    Target,
    Transport,
    finish,
)
from semroute.providers.transport_errors import FAILURES, translate

Answer = tuple[RawResponseMessage, StreamReader]


class Upload(NamedTuple):
    """A body that is being sent."""

    pieces: AsyncIterator[bytes]
    size: int | None
    """Its bytes, as the upload itself says. None: it does not say."""


class PassingTransport(Transport):
    """A transport that also takes bodies in pieces."""

    async def upload(
        self, method: str, url: str, *, headers: Headers, upload: Upload, connect_s: float, answer_s: float
    ) -> Response:
        """Send a request and wait for the head of its answer, which may come before all of the body is sent.

        `answer_s`: seconds that the answer may take after the body was sent. Raises `ProviderError`, and what
        `upload.pieces` raises. A cancelled call closes its connection.
        """
        host = "the provider"
        try:
            target = self._target_once(url)
            host = target.host
            head = target.head(method, headers, upload.size)
            connection = await self._connect(target, connect_s)
            return await _send(connection, head, upload, host, answer_s)
        except FAILURES as error:
            raise translate(error, host, connect_s=connect_s) from None

    async def fetch(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """Send a request like `send`, but keep nothing about its address, which may never be used again."""
        known = url in self._targets
        try:
            return await self.send(method, url, headers=headers, body=body, connect_s=connect_s)
        finally:
            if not known:
                self._targets.pop(url, None)

    def _target_once(self, url: str) -> Target:
        known = url in self._targets
        target = self._target(url)
        if not known:
            del self._targets[url]
        return target


async def _send(connection: Connection, head: bytes, upload: Upload, host: str, answer_s: float) -> Response:
    """Send the pieces, and read the head of the answer. Closes the connection if that fails."""
    protocol = connection.protocol
    if protocol is None or connection.transport is None:
        connection.close()
        raise aiohttp.ServerDisconnectedError
    loop = asyncio.get_running_loop()
    protocol.set_response_params(
        read_until_eof=True, read_bufsize=READ_SIZE, max_line_size=MAX_HEADER_BYTES, max_field_size=MAX_HEADER_BYTES
    )
    reading = loop.create_task(_read(connection))
    try:
        if not await _write(StreamWriter(protocol, loop), head, upload, reading, answer_s):
            protocol.force_close()  # the rest of the body will never come
        async with asyncio.timeout(answer_s):
            message, content = await reading
    except BaseException as error:
        reading.cancel()
        finish(connection, reusable=False)
        if isinstance(error, HttpProcessingError):
            raise MalformedAnswerError("the provider does not answer in HTTP") from None
        if isinstance(error, TimeoutError):
            raise ProviderTimeoutError(f"no answer within {answer_s:g} s after the body was sent") from None
        raise
    return Response(message, content, connection, host)


async def _write(
    writer: StreamWriter, head: bytes, upload: Upload, reading: asyncio.Task[Answer], write_s: float
) -> bool:
    """Send head and body. False: the answer came before the end of the body, or the provider stopped reading."""
    chunked = upload.size is None
    try:
        await writer.write(head)
        async for piece in upload.pieces:
            if reading.done():
                return False
            async with asyncio.timeout(write_s):
                await writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            await writer.write(b"0\r\n\r\n")
    except ConnectionResetError:  # the provider may have answered before it closed the connection
        return False
    return True


async def _read(connection: Connection) -> Answer:
    """Read the head of the answer. Returns it with the reader of its body."""
    protocol = connection.protocol
    assert protocol is not None
    message, content = await protocol.read()
    while message.code in INTERIM:
        message, content = await protocol.read()
    return message, content
