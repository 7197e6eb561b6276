"""Amazon's binary frames, however they are cut, and what is left of damaged ones."""

from __future__ import annotations

import json
import struct
import zlib
from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given, settings
from hypothesis import strategies as st

from semroute.dialects.bedrock.event_stream import FrameParser
from semroute.dialects.sse import Event
from semroute.errors import BadAnswerError
from tests.vendors.bedrock import exception, frame

FRAMES = [
    frame(b'{"role":"assistant"}', event_type="messageStart", message_type="event"),
    frame("{'text':'Grüße 🙂'}".encode(), event_type="contentBlockDelta", message_type="event"),
    frame(b"", event_type="contentBlockStop", message_type="event"),
    exception("throttlingException", "Slow down"),
]
EVENTS = [
    Event(name="messageStart", data=b'{"role":"assistant"}'),
    Event(name="contentBlockDelta", data="{'text':'Grüße 🙂'}".encode()),
    Event(name="contentBlockStop", data=b""),
    Event(name="throttlingException", data=b'{"message": "Slow down"}'),
]


def test_the_frames_of_the_tests_are_amazons() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(FRAMES))
    assert [message.payload for message in buffer] == [event.data for event in EVENTS]


@given(cuts=st.sets(st.integers(1, sum(map(len, FRAMES)) - 1)))
@settings(max_examples=50, deadline=None)
def test_frames_are_read_wherever_they_are_cut(cuts: set[int]) -> None:
    wire, parser = b"".join(FRAMES), FrameParser()
    edges = [0, *sorted(cuts), len(wire)]
    got = [event for start, end in pairwise(edges) for event in parser.feed(wire[start:end])]
    assert got == EVENTS
    assert parser.close() == ()


def test_half_a_frame_is_no_event() -> None:
    parser = FrameParser()
    assert list(parser.feed(FRAMES[0] + FRAMES[1][:-1])) == EVENTS[:1]
    assert parser.close() == ()


@given(place=st.integers(0, len(FRAMES[1]) - 1), bit=st.integers(0, 7))
@settings(max_examples=200, deadline=None)
def test_a_flipped_bit_never_gives_an_event(place: int, bit: int) -> None:
    damaged = bytearray(FRAMES[1])
    damaged[place] ^= 1 << bit
    with pytest.raises(BadAnswerError, match="damaged frame: Checksum mismatch"):
        list(FrameParser().feed(bytes(damaged)))


def sealed(total: int, headers: bytes, payload: bytes = b"", *, headers_length: int | None = None) -> bytes:
    """A frame whose checksums are right and whose content may not be."""
    prelude = struct.pack("!II", total, len(headers) if headers_length is None else headers_length)
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + payload
    return message + struct.pack("!I", zlib.crc32(message))


NAME = b"\x0d:message-type"


@pytest.mark.parametrize(
    "wire",
    [
        sealed(16 + len(NAME) + 1, NAME + b"\x63"),  # a type of header that does not exist
        sealed(16 + 1, b"\x05"),  # a name that is cut
        sealed(16 + 3, b"\x02\xff\xfe"),  # no UTF-8
        sealed(16 + 2 * len(NAME) + 2, (NAME + b"\x00") * 2),  # a header given twice
        sealed(2**31, b"", headers_length=0),  # longer than any frame may be
        sealed(16, b"", headers_length=2**20),
    ],
)
def test_a_malformed_frame_is_refused(wire: bytes) -> None:
    with pytest.raises(BadAnswerError, match="the stream holds a damaged frame"):
        list(FrameParser().feed(wire))


@pytest.mark.parametrize("total", range(12))
def test_a_frame_that_is_shorter_than_its_head_is_refused(total: int) -> None:
    with pytest.raises(BadAnswerError, match="the stream holds a damaged frame"):
        list(FrameParser().feed(sealed(total, b"", b"\x00" * 8)))


def test_an_error_outside_of_the_service_has_its_code() -> None:
    [event] = FrameParser().feed(frame(b"", message_type="error", error_code="InternalFailure", error_message="m"))
    assert (event.name, json.loads(event.data)) == ("error", {"code": "InternalFailure", "message": "m"})
    wire = frame(b"{}", event_type="x") + frame(b"{}", message_type="exception")
    assert list(FrameParser().feed(wire)) == [Event(name="x", data=b"{}"), Event(name="error", data=b"{}")]


def test_what_comes_before_a_damaged_frame_is_read() -> None:
    events = iter(FrameParser().feed(FRAMES[0] + FRAMES[1][:-1] + b"\x00"))
    assert next(events) == EVENTS[0]
    with pytest.raises(BadAnswerError):
        next(events)
