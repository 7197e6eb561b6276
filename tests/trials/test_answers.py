"""Answers are put together from their pieces, and compared."""

from __future__ import annotations

from typing import Any

import pytest

from semroute.messages import (
    ChatRequest,
    Completion,
    FinishReason,
    Message,
    Params,
    Part,
    Refusal,
    Text,
    Tool,
    ToolCall,
)
from semroute.trials.answers import likeness, same, whole
from semroute.trials.mirroring import can_mirror, mirrored
from semroute.trials.verdicts import flipped, verdict
from tests.routing.build import request


def answer(*parts: Part | str, finish_reason: FinishReason = "stop") -> Completion:
    return whole([Text(text=part) if isinstance(part, str) else part for part in parts], finish_reason)


def test_pieces_become_one_text_and_whole_calls() -> None:
    found = answer(
        "It ",
        "is",
        ToolCall(id="a", name="find", arguments="", index=0),
        ToolCall(arguments='{"n":', index=0),
        ToolCall(id="b", name="add", arguments="{}", index=1),
        ToolCall(arguments=" 1}", index=0),
    )
    assert found.parts == (
        Text(text="It is"),
        ToolCall(id="a", name="find", arguments='{"n": 1}', index=0),
        ToolCall(id="b", name="add", arguments="{}", index=1),
    )


def test_a_refusal_is_read_as_text() -> None:
    assert answer(Refusal(text="I will not.")).text == "I will not."


def test_calls_of_a_whole_answer_stay_apart() -> None:
    calls = (ToolCall(id="a", name="f", arguments="{}"), ToolCall(id="b", name="f", arguments="{}"))
    assert answer(*calls).parts == calls


def test_without_a_finish_reason_calls_say_why_it_ended() -> None:
    assert whole((Text(text="a"),), None).finish_reason == "stop"
    assert whole((ToolCall(id="a", name="f"),), None).finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [("a  b\n", "a b", True), ("a b", "ab", False), ("", "", True), ("", "a", False)],
)
def test_white_space_does_not_count(first: str, second: str, alike: bool) -> None:
    assert same(answer(first), answer(second)) is alike


def call(arguments: str, name: str = "f", id_: str = "x") -> ToolCall:
    return ToolCall(id=id_, name=name, arguments=arguments)


@pytest.mark.parametrize(
    ("served", "tried", "alike"),
    [
        ((call('{"a": 1}'),), (call('{"a":1}', id_="y"),), True),
        ((call(""),), (call("{}"),), True),
        ((call("{"),), (call("{"),), True),
        ((call("{}", "f"), call("{}", "g", "y")), (call("{}", "g"), call("{}", "f", "y")), True),
        ((call("{}"),), (), False),
        ((), (call("{}"),), False),
        ((call("{}"),), (call("{}"), call("{}", id_="y")), False),
        ((), (), None),
    ],
)
def test_calls_are_compared_by_what_they_do(
    served: tuple[ToolCall, ...], tried: tuple[ToolCall, ...], alike: bool | None
) -> None:
    assert likeness(answer("x", *served), answer("y", *tried)).get("same_tool_calls") is alike


@pytest.mark.parametrize(
    ("served", "tried", "alike"),
    [("{}", "{}", True), ("[1, 2]", "[2, 1]", False), ("{}", "no", False), ("no", "{}", None), ("7", "7", None)],
)
def test_documents_are_compared_where_the_served_answer_is_one(served: str, tried: str, alike: bool | None) -> None:
    assert likeness(answer(served), answer(tried)).get("same_json") is alike


def test_lengths_and_finish_reasons_are_told() -> None:
    found = likeness(answer("abc"), answer("abcdef", finish_reason="length"))
    assert (found["served_chars"], found["chars"], found["same_finish_reason"]) == (3, 6, False)


@pytest.mark.parametrize(
    ("served_first", "served_second", "found", "by_order"),
    [
        ("first", "second", "served", False),
        ("second", "first", "tried", False),
        ("first", "first", "tie", True),
        ("second", "second", "tie", True),
        ("tie", "tie", "tie", False),
        ("first", "tie", "tie", False),
        ("tie", "first", "tie", False),
    ],
)
def test_only_both_orders_together_decide(served_first: Any, served_second: Any, found: str, by_order: bool) -> None:
    assert (verdict(served_first, served_second), flipped(served_first, served_second)) == (found, by_order)


def test_a_mirrored_request_has_the_conversation_and_nothing_of_the_caller() -> None:
    tools = (Tool(name="f"),)
    turns = (Message(role="user", parts=(Text(text="a"),)), Message(role="assistant", parts=(Text(text="b"),)))
    params = Params(temperature=0.2, n=3, user="ann", service_tier="priority", logprobs=True, max_tokens=9)
    asked = ChatRequest(
        id="r",
        messages=turns,
        tools=tools,
        params=params,
        stream=True,
        strict=True,
        session="s",
        metadata={"a": 1},
        headers={"b": "c"},
        dialect="openai",
        raw={"store": True},
        unread=("store",),
    )
    assert can_mirror(asked)
    assert mirrored(asked) == ChatRequest(
        id="r", messages=turns, tools=tools, params=Params(temperature=0.2, max_tokens=9)
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"unread": ("tools web_search",)},
        {"unread": ("tools.googleSearch",)},
        {"unread": ("store", "previous_response_id")},
        {"unread": ("mcp_servers",)},
        {"unread": ("container",)},
        {"endpoint": "embeddings"},
        {"size_bytes": 1_000_000},
    ],
)
def test_what_would_be_done_twice_or_is_kept_elsewhere_is_not_mirrored(fields: dict[str, Any]) -> None:
    assert not can_mirror(request(**fields))
