"""A provider's own events, passed through until they break off, and another model's after them: one valid answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from semroute.dialects.sse import EventParser
from semroute.messages import ChatRequest, Chunk, Text, Thinking, Usage
from tests.dialects.test_round_trips import CLIENTS, DECISION, PROVIDERS, RECORD

DIALECTS = ("openai", "responses", "anthropic", "gemini")
REQUEST = ChatRequest(id="1", messages=(), stream=True, stream_usage=True)
WORDS = ("Hello ", "from ", "two ", "models.")
USAGE = Usage(input_tokens=30, cached_tokens=6, cache_write_tokens=9, output_tokens=12, reasoning_tokens=3)
OF_ONE = Usage(input_tokens=10, output_tokens=5)
SAID = [
    Chunk(parts=(Thinking(text="Well, "),), model="first", id="x"),
    Chunk(parts=(Thinking(text="so."),), model="first", id="x"),
    *(Chunk(parts=(Text(text=word),), model="first", id="x") for word in WORDS),
    Chunk(finish_reason="stop", model="first", id="x"),
    Chunk(usage=OF_ONE, model="first", id="x"),
]


def rendered(dialect: str, chunks: list[Chunk], request_id: str) -> bytes:
    renderer = CLIENTS[dialect].stream(replace(REQUEST, id=request_id), DECISION)
    return b"".join(map(renderer.chunk, chunks)) + renderer.end(RECORD)


def passed(dialect: str) -> list[Chunk]:
    """The chunks of a whole answer, as a provider of the dialect sends it."""
    parser = PROVIDERS[dialect].stream_parser()
    events = EventParser().feed(rendered(dialect, SAID, "provider"))
    return [chunk for event in events if (chunk := parser.event(event)) is not None]


def text_of(chunks: list[Chunk]) -> str:
    return "".join(part.text for chunk in chunks for part in chunk.parts if isinstance(part, Text))


def continued(dialect: str, before: list[Chunk]) -> list[dict[str, Any]]:
    """The events of an answer that broke off after some chunks of its provider."""
    said = text_of(before)
    rest = "".join(WORDS)[len(said) :]
    after = [Chunk(parts=(Text(text=rest),), model="second")] if rest else []
    wire = rendered(
        dialect, [*before, *after, Chunk(finish_reason="stop", model="second"), Chunk(usage=USAGE)], "caller"
    )
    parser, chunks, events = PROVIDERS[dialect].stream_parser(), list[Chunk](), list[dict[str, Any]]()
    for event in EventParser().feed(wire):
        if event.data != b"[DONE]":
            events.append(msgspec.json.decode(event.data))
            chunk = parser.event(event)
            chunks += [chunk] if chunk is not None else []
    assert parser.finished
    assert text_of(chunks) == "".join(WORDS)
    assert [chunk.finish_reason for chunk in chunks if chunk.finish_reason] == ["stop"]
    usage = [chunk.usage for chunk in chunks if chunk.usage is not None][-1]
    untold = {"cache_write_tokens": 0} if dialect == "gemini" else {}
    assert usage == replace(USAGE, **untold)
    return events


def cuts(dialect: str) -> list[list[Chunk]]:
    """What may have come, wherever the stream broke after some content and before its end."""
    chunks = passed(dialect)
    end = next(
        place for place, chunk in enumerate(chunks) if chunk.finish_reason or text_of(chunks[:place]) == text_of(chunks)
    )
    return [chunks[: place + 1] for place in range(end) if any(chunk.parts for chunk in chunks[: place + 1])]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_answer_that_goes_on_is_whole_wherever_it_broke(dialect: str) -> None:
    broken = cuts(dialect)
    assert len(broken) >= 5
    for before in broken:
        continued(dialect, before)


def test_chat_completions_keep_their_id_their_time_and_one_role() -> None:
    chunks = [replace(chunk, raw=chunk.raw.replace(b'"created":', b'"created":1')) for chunk in passed("openai")]
    events = continued("openai", chunks[:4])
    assert {event["id"] for event in events} == {"chatcmpl-provider"}
    assert len({event["created"] for event in events}) == 1
    roles = [choice["delta"].get("role") for event in events for choice in event["choices"]]
    assert [role for role in roles if role] == ["assistant"]


def test_usage_that_was_told_too_early_is_told_again() -> None:
    early = [replace(chunk, usage=OF_ONE) for chunk in passed("openai")[:4]]
    continued("openai", early)


def test_messages_open_and_close_each_block_once_and_in_order() -> None:
    for before in cuts("anthropic"):
        events = continued("anthropic", before)
        assert [event["type"] for event in events].count("message_start") == 1
        assert events[-1]["type"] == "message_stop"
        open_index, opened = None, []
        for event in events:
            match event["type"]:
                case "content_block_start":
                    assert open_index is None
                    open_index = event["index"]
                    opened.append((event["index"], event["content_block"]["type"]))
                case "content_block_delta":
                    assert event["index"] == open_index
                case "content_block_stop":
                    assert event["index"] == open_index
                    open_index = None
        assert open_index is None
        assert opened == [(0, "thinking"), (1, "text")]


def test_responses_count_on_and_end_with_everything_that_was_said() -> None:
    for before in cuts("responses"):
        events = continued("responses", before)
        kinds = [event["type"] for event in events]
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        assert kinds.count("response.created") == kinds.count("response.completed") == 1
        assert kinds.count("response.content_part.added") == kinds.count("response.content_part.done") == 1
        added = {e["output_index"]: e["item"]["id"] for e in events if e["type"] == "response.output_item.added"}
        done = {e["output_index"]: e["item"]["id"] for e in events if e["type"] == "response.output_item.done"}
        assert added == done
        assert {e["item_id"] for e in events if "item_id" in e} <= set(added.values())
        last = events[-1]["response"]
        assert last["id"] == events[0]["response"]["id"]
        assert [item["id"] for item in last["output"]] == [added[0], added[1]]
        assert last["output"][1]["content"][0]["text"] == "".join(WORDS)
        assert last["output"][0]["summary"][0]["text"].startswith("Well, ")


def test_responses_go_on_in_the_item_after_what_is_finished() -> None:
    chunks = passed("responses")
    place = next(place for place, chunk in enumerate(chunks) if b"output_item.done" in chunk.raw)
    events = continued("responses", chunks[: place + 1])
    assert [e["output_index"] for e in events if e["type"] == "response.output_item.added"] == [0, 1]


def test_gemini_keeps_the_id_of_the_answer() -> None:
    events = continued("gemini", passed("gemini")[:3])
    assert {event["responseId"] for event in events} == {"provider"}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_usage_alone_opens_nothing(dialect: str) -> None:
    renderer = CLIENTS[dialect].stream(REQUEST, DECISION)
    for chunk in passed(dialect)[:4]:
        renderer.chunk(chunk)
    assert renderer.chunk(Chunk(usage=USAGE)) == b""
