import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from semroute.dialects import sse
from semroute.dialects.sse import Event, EventParser
from semroute.errors import BadAnswerError

LINES = st.sampled_from(
    [
        b"data: a",
        b"data:b",
        b"data:  c",
        b"data",
        b"data:",
        b": ping",
        b"event: error",
        b"id: 1",
        b"retry: 5",
        b"x",
        b"",
        "data: ü🙂".encode(),
    ]
)
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(lambda lines: b"".join(line + end for line, end in lines)) | st.binary()


def parse(*chunks: bytes) -> list[Event]:
    parser = EventParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.close()


@given(STREAMS, st.lists(st.integers(min_value=0, max_value=200)))
@example(b"data: a\r\n\r\ndata: b\r\r", [8, 9, 10])
@example(b"\xef\xbb\xbfdata: a\n\n", [1, 2])
def test_any_chunking_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    assert parse(*pieces) == parse(stream)


@given(STREAMS)
def test_a_byte_at_a_time_gives_the_same_events(stream: bytes) -> None:
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@given(st.binary().map(lambda data: data.replace(b"\r", b"")), st.sampled_from(["", "error", "größe"]))
def test_what_is_rendered_is_parsed_back(data: bytes, name: str) -> None:
    assert parse(sse.render(data, name)) == [Event(data=data, name=name)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_all_line_ends_are_known(end: bytes) -> None:
    stream = end.join([b"event: delta", b"data: 1", b"data: 2", b"", b": comment", b"data: 3", b"", b""])
    assert parse(stream) == [Event(data=b"1\n2", name="delta"), Event(data=b"3")]


def test_a_line_feed_after_a_carriage_return_at_a_chunks_edge_ends_no_second_line() -> None:
    assert parse(b"data: a\r", b"\ndata: b\r", b"", b"\n\r", b"\n") == [Event(data=b"a\nb")]


def test_a_lone_carriage_return_at_a_chunks_edge_dispatches_at_once() -> None:
    assert EventParser().feed(b"data: a\r\r") == [Event(data=b"a")]


def test_a_byte_order_mark_is_passed_over_once() -> None:
    assert parse(b"\xef\xbb", b"\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [Event(data=b"a")]


def test_one_space_after_the_colon_is_not_data() -> None:
    assert parse(b"data:  a\n\ndata:b\n\n") == [Event(data=b" a"), Event(data=b"b")]


def test_an_event_without_data_is_none_and_its_name_does_not_stick() -> None:
    assert parse(b"event: ping\n\ndata: a\n\n") == [Event(data=b"a")]


def test_an_empty_data_line_is_an_event() -> None:
    assert parse(b"data\n\ndata:\n\n") == [Event(data=b""), Event(data=b"")]


def test_an_event_that_lacks_its_blank_line_counts_at_the_end() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\ndata: b") == []
    assert parser.close() == [Event(data=b"a\nb")]
    assert parser.close() == []


@pytest.mark.parametrize(
    "piece", [b"data: " + b"x" * 1000, b"data: " + b"x" * 1000 + b"\n"], ids=["one line", "many lines"]
)
def test_an_event_without_end_is_refused(piece: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 10_000)
    parser = EventParser()
    with pytest.raises(BadAnswerError, match="over 10000 bytes"):
        for _ in range(20):
            parser.feed(piece)


def test_a_long_stream_of_short_events_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    parser = EventParser()
    assert sum(len(parser.feed(b"data: 123456789\n\n: ping\n\n")) for _ in range(100)) == 100


def test_a_line_in_many_chunks_takes_linear_time() -> None:
    parser = EventParser()
    started = time.process_time()
    for _ in range(200_000):
        parser.feed(b"x" * 50)
    assert time.process_time() - started < 10  # joining anew for each chunk would copy a terabyte
