"""Request bodies that are compressed."""

from __future__ import annotations

import gzip
import json
import sys
import threading
import zlib
from collections.abc import Callable
from typing import Any, cast

import brotli
import pytest
from litestar.types import HTTPScope

from semroute.api.decompression import MAX_MEMBERS, PIECE_BYTES, DecodedBody
from semroute.api.request_intake import NOBODY, Body, BodyLimits, RequestPlaces
from semroute.errors import LimitError, OverloadedError, PayloadTooLargeError, RequestError
from tests.service import Service

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MAX_BYTES = 4 * 1024 * 1024
Pack = Callable[[bytes], bytes]


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def quick(data: bytes) -> bytes:
    return cast("bytes", brotli.compress(data, quality=1))


PACKED: dict[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "the old name of gzip": ("x-gzip", gzip.compress),
    "in capitals": ("GZIP", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without a header": ("deflate", bare),
    "br": ("br", quick),
    "zstd": ("zstd", zstd.compress),
    "two at once": ("gzip, br", lambda data: quick(gzip.compress(data))),
    "two of a kind": ("zstd,zstd", lambda data: zstd.compress(zstd.compress(data))),
    "nothing": ("identity", lambda data: data),
    "nothing besides": ("identity, gzip", gzip.compress),
    "gzip in two members": ("gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "gzip with padding": ("gzip", lambda data: gzip.compress(data) + bytes(512)),
    "zstd in two frames": ("zstd", lambda data: zstd.compress(data[:9]) + zstd.compress(data[9:])),
}


class Sent:
    """A request with that body, which comes in pieces."""

    def __init__(self, encoding: str, body: bytes, *, pieces: int = 1, max_bytes: int = MAX_BYTES) -> None:
        self.places = RequestPlaces(10, max_bytes * 3, max_bytes)
        size = max(1, -(-len(body) // pieces))
        self._messages = [body[start : start + size] for start in range(0, max(1, len(body)), size)]
        self.scope = cast(
            "HTTPScope",
            {
                "type": "http",
                "headers": [(b"content-length", b"%d" % len(body)), (b"content-encoding", b"x"), (b"a", b"b")],
                "state": {},
            },
        )
        self._body = Body(self.scope, self._receive, BodyLimits(self.places, max_bytes, 5))
        self._receiving = DecodedBody(self._body, self.scope, encoding.encode(), max_bytes)

    async def _receive(self) -> Any:
        if not self._messages:
            return {"type": "http.disconnect"}
        body = self._messages.pop(0)
        return {"type": "http.request", "body": body, "more_body": bool(self._messages)}

    async def read(self) -> bytes:
        message = await self._receiving()
        assert not message["more_body"]
        assert (await self._receiving())["type"] == "http.disconnect"
        return cast("bytes", message["body"])

    def leave(self) -> None:
        self._body.leave()


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("size", [20, PIECE_BYTES + 1])
async def test_a_compressed_body_is_read(name: str, size: int) -> None:
    encoding, pack = PACKED[name]
    body = (b"%d " * size % tuple(range(size)))[:size]
    for pieces in (1, 3, 20):
        assert await Sent(encoding, pack(body), pieces=pieces).read() == body


async def test_nothing_of_the_compression_is_left_in_the_headers() -> None:
    sent = Sent("gzip", gzip.compress(b"{}"))
    assert sent.scope["headers"] == [(b"a", b"b")]


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
async def test_a_compressed_body_without_content_is_none(encoding: str) -> None:
    assert await Sent(encoding, b"").read() == b""


@pytest.mark.parametrize("name", [name for name in PACKED if name not in ("nothing", "deflate without a header")])
async def test_a_compressed_body_that_cannot_be_unpacked_is_refused(name: str) -> None:
    encoding, pack = PACKED[name]
    packed = pack(bytes(range(256)) * 40)
    for broken in (packed[: len(packed) // 2].rstrip(b"\0"), b"\xff" * 40, b'{"model": "m"}'):
        with pytest.raises(RequestError, match=r"the body: expected .*, as `content-encoding` says, got: "):
            await Sent(encoding, broken).read()


@pytest.mark.parametrize("encoding", ["compress", "gzip, compress", "aes128gcm", "zstd;q=1", "gzip gzip"])
async def test_an_unknown_encoding_is_refused_with_those_that_are_taken(encoding: str) -> None:
    with pytest.raises(RequestError, match=r"content-encoding: got '.*', expected one of gzip, deflate, br, zstd"):
        await Sent(encoding, b"x").read()


@pytest.mark.parametrize("name", [name for name in PACKED if name not in ("nothing", "two of a kind", "two at once")])
async def test_what_a_body_unpacks_to_has_the_limit_of_other_bodies(name: str) -> None:
    encoding, pack = PACKED[name]
    assert len(await Sent(encoding, pack(bytes(MAX_BYTES))).read()) == MAX_BYTES
    sent = Sent(encoding, pack(bytes(MAX_BYTES * 20)))
    with pytest.raises(PayloadTooLargeError):
        await sent.read()
    assert sent.places.bytes < MAX_BYTES + 2 * PIECE_BYTES
    sent.leave()
    assert sent.places.bytes == sent.places.running == 0


async def test_a_body_that_is_small_in_the_end_may_not_be_huge_in_between() -> None:
    inner = gzip.compress(b"{}") + bytes(MAX_BYTES * 20)
    with pytest.raises(PayloadTooLargeError):
        await Sent("gzip, gzip", gzip.compress(inner)).read()
    with pytest.raises(RequestError, match="at most 3"):
        await Sent("gzip, gzip, gzip, gzip", b"x").read()


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
async def test_a_body_has_so_many_parts_at_most(pack: Pack) -> None:
    encoding = "gzip" if pack is gzip.compress else "zstd"
    assert await Sent(encoding, pack(b"a") * MAX_MEMBERS).read() == b"a" * MAX_MEMBERS
    with pytest.raises(RequestError, match="more than 1000 compressed parts"):
        await Sent(encoding, pack(b"a") * (MAX_MEMBERS + 1)).read()


async def test_a_window_that_takes_much_memory_is_refused() -> None:
    options: dict[int, int] = {zstd.CompressionParameter.window_log: 27}
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(b"x" * 100) + packer.flush()
    with pytest.raises(RequestError, match="as `content-encoding` says"):
        await Sent("zstd", packed).read()


async def test_what_is_announced_counts_before_anything_comes() -> None:
    sent = Sent("gzip", bytes(MAX_BYTES + 1))
    with pytest.raises(PayloadTooLargeError):
        await sent.read()
    assert len(sent._messages) == 1


async def test_what_is_unpacked_needs_room() -> None:
    sent = Sent("gzip", gzip.compress(bytes(MAX_BYTES)))
    others = sent.places.take(NOBODY)
    others.make_room(MAX_BYTES * 2 + PIECE_BYTES)
    with pytest.raises((OverloadedError, LimitError)):
        await sent.read()


async def test_the_loop_is_free_while_a_body_is_unpacked() -> None:
    """Every piece is made in another thread than the loop's."""
    threads: set[int] = set()
    here = threading.get_ident()

    def watched(frame: Any, event: str, _: Any) -> None:
        if frame.f_code.co_name == "_inflate":
            threads.add(threading.get_ident())

    threading.setprofile(watched)
    sys.setprofile(watched)
    try:
        await Sent("gzip", gzip.compress(bytes(MAX_BYTES))).read()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert threads
    assert here not in threads


async def test_a_caller_who_leaves_inside_a_compressed_body_is_told_apart() -> None:
    sent = Sent("gzip", gzip.compress(b"{}"))
    sent._messages = []
    assert (await sent._receiving())["type"] == "http.disconnect"


PATHS: dict[str, dict[str, Any]] = {
    "/route": {"prompt": "hi"},
    "/complete": {"prompt": "hi", "model": "ok"},
    "/v1/chat/completions": {"model": "ok", "messages": [{"role": "user", "content": "hi"}]},
    "/v1/messages": {"model": "ok", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "/v1/responses": {"model": "ok", "input": "hi"},
    "/v1beta/models/ok:generateContent": {"contents": [{"parts": [{"text": "hi"}]}]},
}


@pytest.mark.parametrize("path", PATHS)
def test_every_endpoint_takes_compressed_bodies(service: Service, path: str) -> None:
    content = json.dumps(PATHS[path]).encode()
    plain = service.client.post(path, content=content)
    assert plain.status_code == 200
    for encoding, pack in (PACKED[name] for name in ("gzip", "deflate", "br", "zstd", "two at once")):
        answer = service.client.post(path, content=pack(content), headers={"content-encoding": encoding})
        assert (answer.status_code, answer.json().keys()) == (200, plain.json().keys())


@pytest.mark.parametrize("path", [*PATHS, "/feedback"])
def test_every_endpoint_says_what_encodings_it_takes(service: Service, path: str) -> None:
    body = json.dumps(PATHS.get(path, {})).encode()
    answer = service.client.post(path, content=body, headers={"content-encoding": "compress"})
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert "expected one of gzip, deflate, br, zstd" in answer.text
    broken = service.client.post(path, content=body, headers={"content-encoding": "gzip"})
    assert broken.status_code == 400
    assert "accept-encoding" not in broken.headers
