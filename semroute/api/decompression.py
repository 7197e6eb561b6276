"""Decompress request bodies: gzip, deflate, br and zstd, also several of them on one body.

A small body can unpack to a huge one. So it is unpacked piece by piece in a thread, and never past the limit for bodies
that are not compressed. The unpacked bytes take room like any other body.
Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.4.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import brotli
from litestar.types import HTTPScope

from semroute.api.error_responses import ENCODINGS, EncodingError
from semroute.api.request_intake import Body
from semroute.errors import MediaTypeError, PayloadTooLargeError, RequestError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CONTENT_ENCODING = b"content-encoding"
FED_BYTES = 64 * 1024
"""How many bytes a decoder gets at a time. It copies what it has not read yet."""
PIECE_BYTES = 256 * 1024
"""About how many bytes are unpacked at a time."""
MAX_STACKED = 3
"""The most encodings that one body may have."""
MAX_MEMBERS = 1000
"""The most compressed parts, one after the other, of which a body may consist."""
ZSTD_WINDOW = 23
"""log2 of the largest window: HTTP allows 8 MB. Source: https://www.rfc-editor.org/rfc/rfc9659."""
_ABOUT_THE_BODY = frozenset({CONTENT_ENCODING, b"content-length"})

Pieces = Iterator[bytes]
Decoder = Callable[[Pieces], Pieces]


class DecodedBody:
    """The `receive` of a request whose body is compressed. It returns the unpacked body in one message."""

    def __init__(self, body: Body, scope: HTTPScope, encodings: bytes, max_bytes: int) -> None:
        """`encodings`: the header's value. From now on, the request's headers no longer describe the compressed body.

        `max_bytes`: of the unpacked body.
        """
        self._body = body
        self._encodings = encodings
        self._max_bytes = max_bytes
        self._is_read = False
        scope["headers"] = [(name, value) for name, value in scope["headers"] if name not in _ABOUT_THE_BODY]

    async def __call__(self) -> Any:
        """Receive like `Body`. Also raises `EncodingError`, and `RequestError` if the body cannot be unpacked."""
        if self._is_read:
            return await self._body()
        decoders = decoders_of(self._encodings)
        packed: list[bytes] = []
        more = True
        while more:
            message = await self._body()
            if message["type"] != "http.request":
                return message
            packed.append(message["body"])
            more = message["more_body"]
        self._is_read = True
        return {"type": "http.request", "body": await self._unpack(b"".join(packed), decoders), "more_body": False}

    def pass_on(self, max_bytes: int) -> None:
        """Accept a body that is passed on piece by piece. Raises `MediaTypeError` if it is compressed."""
        if decoders_of(self._encodings):
            named = self._encodings.decode("latin-1")[:40]
            raise MediaTypeError(f"content-encoding: got {named!r}, expected none: files are passed on unchanged")
        self._body.pass_on(max_bytes)
        self._is_read = True  # there is nothing to unpack

    def make_room(self, size: int) -> None:
        """Find room like `Body.make_room`."""
        self._body.make_room(size)

    async def _unpack(self, packed: bytes, decoders: list[Decoder]) -> bytes:
        """Unpack a body, and take room for the result. A thread makes each piece, so the event loop stays free."""
        if not packed:
            return b""
        pieces: Pieces = iter([packed])
        for decoder in decoders:
            pieces = self._limited(decoder(_cut(pieces)))
        found: list[bytes] = []
        size = len(packed)
        try:
            while piece := await asyncio.to_thread(next, pieces, b""):
                size += len(piece)
                self._body.make_room(size)
                found.append(piece)
        except (zlib.error, brotli.error, zstd.ZstdError, EOFError) as error:
            named = self._encodings.decode("latin-1")
            raise RequestError(f"the body: expected {named}, as `content-encoding` says, got: {error}") from None
        return b"".join(found)

    def _limited(self, pieces: Pieces) -> Pieces:
        """Yield what one decoder returns, up to the limit.

        The limit also holds between two encodings, because a small body may have a huge intermediate form.
        """
        size = 0
        for piece in pieces:
            size += len(piece)
            if size > self._max_bytes:
                raise PayloadTooLargeError(f"the unpacked body is over the limit of {self._max_bytes} bytes")
            yield piece


def decoders_of(encodings: bytes) -> list[Decoder]:
    """Return the decoders of a body in order: the last encoding comes first. Raises `EncodingError`."""
    names = [name.strip().lower() for name in encodings.decode("latin-1").split(",")]
    names = [name for name in names if name not in ("", "identity")]
    if unknown := [name for name in names if name not in DECODERS]:
        raise EncodingError(f"content-encoding: got {unknown[0][:40]!r}, expected one of {ENCODINGS}")
    if len(names) > MAX_STACKED:
        raise EncodingError(f"content-encoding: got {len(names)} encodings, expected at most {MAX_STACKED}")
    return [DECODERS[name] for name in reversed(names)]


def _cut(pieces: Pieces) -> Pieces:
    for piece in pieces:
        for start in range(0, len(piece), FED_BYTES):
            yield piece[start : start + FED_BYTES]


class _Members:
    """Counts the parts of a body."""

    def __init__(self) -> None:
        self._count = 1

    def next(self) -> None:
        """Count one more part. Raises `EOFError` if there are too many."""
        self._count += 1
        if self._count > MAX_MEMBERS:
            raise EOFError(f"more than {MAX_MEMBERS} compressed parts, one after another")


def _gunzip(packed: Pieces) -> Pieces:
    return _inflate(packed, 16 + zlib.MAX_WBITS)


def _deflate(packed: Pieces) -> Pieces:
    """Unpack zlib's format, as the standard says, or the bare stream that some clients send."""
    head = b""
    while len(head) < 2 and (piece := next(packed, b"")):
        head += piece
    is_zlib = len(head) > 1 and head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0
    return _inflate(chain([head], packed), zlib.MAX_WBITS if is_zlib else -zlib.MAX_WBITS)


def _inflate(packed: Pieces, window: int) -> Pieces:
    members, unpacker = _Members(), zlib.decompressobj(window)
    for data in packed:
        rest = data
        while rest:
            if unpacker.eof:
                if not rest.strip(b"\0"):  # some writers fill up the last block
                    break
                members.next()
                unpacker = zlib.decompressobj(window)
            piece = unpacker.decompress(rest, PIECE_BYTES)
            while piece:
                yield piece
                piece = unpacker.decompress(unpacker.unconsumed_tail, PIECE_BYTES)
            rest = unpacker.unused_data
    if not unpacker.eof:
        raise EOFError("a body that is cut off")


def _unbrotli(packed: Pieces) -> Pieces:
    unpacker = brotli.Decompressor()
    for data in packed:
        piece = unpacker.process(data, output_buffer_limit=PIECE_BYTES)
        while piece:
            yield piece
            piece = unpacker.process(b"", output_buffer_limit=PIECE_BYTES)
    if not unpacker.is_finished():
        raise EOFError("a body that is cut off")


def _unzstd(packed: Pieces) -> Pieces:
    members, unpacker = _Members(), _zstd()
    for data in packed:
        rest = data
        while rest:
            if unpacker.eof:
                members.next()
                unpacker = _zstd()
            piece = unpacker.decompress(rest, PIECE_BYTES)
            while piece:
                yield piece
                piece = b"" if unpacker.eof or unpacker.needs_input else unpacker.decompress(b"", PIECE_BYTES)
            rest = unpacker.unused_data
    if not unpacker.eof:
        raise EOFError("a body that is cut off")


def _zstd() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})


DECODERS: dict[str, Decoder] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
