"""What goes over the line while a stream has nothing to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from litestar import Response

from semroute.api.streamed_responses import APART_S, EVENTS, EventStream, Presence, _KeptAlive
from semroute.dialects import sse
from semroute.dialects.protocols import StreamRenderer
from semroute.errors import SemrouteError, StreamBrokenError
from semroute.messages import Chunk, Text
from tests.dialects.test_going_on import DIALECTS, REQUEST
from tests.dialects.test_round_trips import CLIENTS, DECISION, RECORD

BEATS = 3
"""So many times it is kept alive before it goes on."""


class Waiting:
    """A stream that waits before each piece until it was kept alive for a while. `broken`: it has no end."""

    patience_s, whole = 60.0, True

    def __init__(self, renderer: StreamRenderer, *, broken: bool = False) -> None:
        self._renderer = renderer
        self._broken = broken
        self._beats = 0
        self._enough = asyncio.Event()
        self.sent: list[bytes] = []
        """The pieces, each as it went out."""
        self.sent_s: list[float] = []
        """When, by the event loop's clock."""

    async def send(self, message: Any) -> None:
        if message["type"] != "http.response.body" or not message["body"]:
            return
        self.sent.append(message["body"])
        self.sent_s.append(asyncio.get_running_loop().time())
        self._beats += 1
        if self._beats >= BEATS:
            self._enough.set()

    async def open(self) -> None:
        await self._silence()

    def headers(self, *, early: bool) -> Mapping[str, str]:
        return {}

    async def events(self) -> AsyncGenerator[bytes]:
        yield self._renderer.chunk(Chunk(parts=(Text(text="Hello "),), model="m"))
        await self._silence()
        yield self._renderer.chunk(Chunk(parts=(Text(text="you."),), model="m"))
        if self._broken:
            await self._silence()
            raise StreamBrokenError("cut")

    async def _silence(self) -> None:
        self._beats = 0
        self._enough.clear()
        await self._enough.wait()

    def end(self) -> bytes:
        return self._renderer.end(RECORD)

    media_type = EVENTS

    @property
    def keep_alive(self) -> bytes:
        return self._renderer.keep_alive

    def refusal(self, error: SemrouteError) -> Response[bytes]:
        raise AssertionError("the head is out")

    def failure(self, error: SemrouteError) -> bytes:
        return self._renderer.error(error, 502)

    def farewell(self, error: SemrouteError) -> bytes:
        return self.failure(error)

    async def aclose(self) -> None:
        pass


async def sent(dialect: str, *, broken: bool = False) -> list[bytes]:
    return (await served(dialect, broken=broken)).sent


async def served(dialect: str, *, broken: bool) -> Waiting:
    source = Waiting(CLIENTS[dialect].stream(REQUEST, DECISION), broken=broken)

    async def receive() -> Any:
        await asyncio.Event().wait()

    stream = EventStream(source, Presence(receive), keepalive_s=0.001)
    await stream.to_asgi_response(None, None)({"type": "http", "state": {}}, receive, source.send)
    return source


def as_google_reads(wire: bytes) -> list[bytes]:
    """The data of each event, as `responseLineRE` of @google/generative-ai 0.24.1 finds it: from the very beginning."""
    found = []
    while wire.startswith(b"data: ") and b"\n\n" in wire:
        event, _, wire = wire.partition(b"\n\n")
        found.append(event.removeprefix(b"data: "))
    assert not wire.strip(), f"left over: {wire!r}"
    return found


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_stream_that_waits_is_kept_alive(dialect: str) -> None:
    pieces = await sent(dialect)
    whole = CLIENTS[dialect].stream(REQUEST, DECISION)
    text = [Chunk(parts=(Text(text=said),), model="m") for said in ("Hello ", "you.")]
    plain = b"".join(map(whole.chunk, text)) + whole.end(RECORD)
    events = sse.EventParser()
    got = [event.data.strip() for event in events.feed(b"".join(pieces))]
    if dialect in ("openai", "responses"):  # they tell the time, and the time has passed
        assert len(got) == len(sse.EventParser().feed(plain))
    else:
        assert got == [event.data for event in sse.EventParser().feed(plain)]


async def test_gemini_is_kept_alive_inside_of_an_event() -> None:
    pieces = await sent("gemini")
    assert pieces[:BEATS] == [b"data: ", b" ", b" "]
    assert b": keep-alive" not in b"".join(pieces)
    data = as_google_reads(b"".join(pieces))
    assert [each.strip()[:15] for each in data] == [b'{"candidates":['] * 3


async def test_gemini_raises_also_where_the_stream_was_kept_alive_before_it_broke() -> None:
    pieces = await sent("gemini", broken=True)
    *_, event, bare = pieces
    assert event == bare + b"\n\n"  # its beginning is out
    assert bare.startswith(b'{"error":')
    assert as_google_reads(b"".join(pieces[:-1]))[-1].strip() == bare


async def test_gemini_sends_the_bare_error_alone_and_so_late_that_a_client_has_read_what_came_before() -> None:
    source = await served("gemini", broken=True)
    assert source.sent[-1].startswith(b'{"error":')
    assert source.sent[-2].endswith(sse.END)
    assert source.sent_s[-1] - source.sent_s[-2] > APART_S / 2


@pytest.mark.parametrize("dialect", sorted(set(DIALECTS) - {"gemini"}))
async def test_the_others_send_an_error_without_a_pause(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semroute.api.streamed_responses.APART_S", 3600.0)
    source = await served(dialect, broken=True)
    assert b"cut" in source.sent[-1]


async def test_other_dialects_are_kept_alive_with_comments() -> None:
    for dialect in ("openai", "responses", "anthropic"):
        pieces = await sent(dialect)
        assert pieces[:BEATS] == [sse.KEEP_ALIVE] * BEATS


async def test_a_piece_waits_also_for_a_keep_alive_that_begins_when_another_ends() -> None:
    """Else the piece goes out first, and the beginning of the next event follows it."""
    pieces: list[bytes] = []
    first_beat, second_beat, open_gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
    open_gate.set()
    gates = iter((first_beat, second_beat, open_gate))

    async def send(message: Any) -> None:
        await next(gates).wait()
        pieces.append(message["body"])

    line = _KeptAlive(send, 1000.0, Waiting(CLIENTS["gemini"].stream(REQUEST, DECISION)))
    line.begun = True

    def beat() -> None:
        line._last -= 2000  # nothing was sent for long
        line._beat()

    beat()
    assert line._beating is not None
    line._beating.add_done_callback(lambda _: beat())
    sending = asyncio.create_task(line.send(b"data: 1\n\n"))
    await asyncio.sleep(0)
    first_beat.set()
    for _ in range(10):
        await asyncio.sleep(0)
    assert pieces == [b"data: "]
    second_beat.set()
    await sending
    line.close()
    assert pieces == [b"data: ", b" ", b"1\n\n"]
