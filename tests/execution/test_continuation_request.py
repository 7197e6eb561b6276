from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semroute.execution.continuation_request import INSTRUCTION, AnswerJoiner, continuation, overlap
from semroute.messages import ChatRequest, Message, Params, Text

SAID = "The quick brown fox jumps over"


def join(said: str, *pieces: str) -> str:
    seam = AnswerJoiner(said)
    return said + "".join(seam.feed(piece) for piece in pieces) + seam.close()


@pytest.mark.parametrize(
    "pieces",
    [
        (" the lazy dog.",),
        (" the", " lazy dog."),
        (" jumps over the lazy dog.",),
        ("jumps over", " the lazy dog."),
        ("over the lazy dog.",),
        (*SAID, " the lazy dog."),
        (SAID + " the lazy dog.",),
    ],
)
def test_the_seam_is_not_doubled(pieces: tuple[str, ...]) -> None:
    assert join(SAID, *pieces) == SAID + " the lazy dog."


@pytest.mark.parametrize(
    ("said", "more", "whole"),
    [
        ("he said hel", "lo", "he said hello"),
        ("bana", "nas", "bananas"),
        ("I", "t is", "It is"),
        ("", "all of it", "all of it"),
        ("Grüße 🙂", "Grüße 🙂 dort", "Grüße 🙂 dort"),
        ("one two", "", "one two"),
        ("one two", "one two", "one two"),
    ],
)
def test_letters_that_meet_by_chance_stay(said: str, more: str, whole: str) -> None:
    assert join(said, more) == whole


@given(st.text(min_size=8), st.text(), st.data())
def test_a_long_repetition_is_dropped_however_it_is_cut(said: str, rest: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(said) - 8))
    more = said[start:] + rest
    cuts = sorted(data.draw(st.lists(st.integers(0, len(more)), max_size=5)))
    pieces = [more[a:b] for a, b in zip([0, *cuts], [*cuts, len(more)], strict=True)]
    joined = join(said, *pieces)
    assert joined.startswith(said)
    assert (said + rest).endswith(joined[len(said) :])


REQUEST = ChatRequest(
    id="1",
    messages=(Message(role="user", parts=(Text(text="Go"),)),),
    params=Params(max_tokens=100),
    dialect="openai",
    raw={"messages": [{"role": "user", "content": "Go"}], "max_tokens": 100, "seed": 7},
)


def test_prefill_ends_with_the_assistants_turn() -> None:
    request = continuation(REQUEST, SAID, prefill=True)
    assert (request.messages[-1].role, request.messages[-1].text) == ("assistant", SAID)
    assert request.raw["messages"][1:] == [{"role": "assistant", "content": SAID}]
    assert request.raw["seed"] == 7
    assert request.raw["max_tokens"] == request.params.max_tokens == 92


def test_without_prefill_the_model_is_told() -> None:
    request = continuation(REQUEST, SAID, prefill=False)
    assert request.raw["messages"][-1] == {"role": "user", "content": INSTRUCTION}


def test_a_body_of_another_shape_is_made_anew() -> None:
    request = continuation(ChatRequest(id="1", messages=(), dialect="gemini", raw={"contents": []}), "x", prefill=True)
    assert (request.raw, request.dialect) == ({}, "")


@pytest.mark.parametrize(
    ("said", "more", "length"),
    [
        ("x" * 10**6 + "hello world", "hello world and", 11),
        ("y" + "z" * 10**6, "z" * 10**6 + "q", 10**6),
        ("ab" * 500_000, "ab" * 40_000, 80_000),
        ("ab" * 500_000, "ba" * 500_000, 999_999),
        ("a" * 10**6 + "b", "a" * 10**6, 0),
        ("".join(f"{n:09}" for n in range(100_000)), "".join(f"{n:09}" for n in range(50_000, 100_000)), 450_000),
    ],
)
def test_a_long_repetition_is_found_at_once(said: str, more: str, length: int) -> None:
    """To try each length would copy a megabyte a million times: this test would not end."""
    assert overlap(said, more) == length
