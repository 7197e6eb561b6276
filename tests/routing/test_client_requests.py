"""What clients send of their own accord: names of conversations, text in the user's turn, errands of their own."""

from __future__ import annotations

import datetime
import time
from typing import Any

import msgspec
import pytest

from semroute.config.schema.rules import When
from semroute.messages import ChatRequest, Message, Text, ToolResult
from semroute.routing.client_requests import CLOSES, KNOWN, MAX_SESSION_CHARS, errand, session_of, typed_text
from semroute.routing.facts import read_facts
from semroute.routing.rule_matching import holds

UUID = "0f8e4a6e-3b1c-4b7e-9d53-0a7f6f0c2d11"
CLAUDE_CODE = f'{{"device_id":"{"d" * 64}","account_uuid":"","session_id":"{UUID}"}}'


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({}, {}, ""),
        ({"x-semroute-session": "mine", "session-id": "other"}, {"prompt_cache_key": "key"}, "mine"),
        ({"x-claude-code-session-id": UUID}, {"metadata": {"user_id": "u"}}, UUID),
        ({"session-id": "s", "thread-id": "t"}, {}, "t"),
        ({"session-id": "s"}, {"prompt_cache_key": "key"}, "s"),
        ({"session_id": "s"}, {}, "s"),
        ({"x-session-affinity": "a"}, {}, "a"),
        ({}, {"prompt_cache_key": "key", "user": "u"}, "key"),
        ({}, {"metadata": {"user_id": f"user_{'a' * 64}_account__session_{UUID}"}}, UUID),
        ({}, {"metadata": {"user_id": CLAUDE_CODE}}, UUID),
        ({}, {"metadata": {"user_id": "somebody"}}, "somebody"),
        ({}, {"user": "u"}, "u"),
        ({"session-id": " "}, {"user": "u"}, "u"),
        ({}, {"prompt_cache_key": 7, "metadata": "text", "user": ["u"]}, ""),
        ({}, {"metadata": {"user_id": None}, "user": ""}, ""),
    ],
    ids=str,
)
def test_a_conversation_has_the_name_that_its_client_gives_it(
    headers: dict[str, str], body: dict[str, Any], expected: str
) -> None:
    metadata = body.get("metadata")
    assert session_of(headers, body, metadata if isinstance(metadata, dict) else {}) == expected


def test_long_names_are_told_apart_by_their_ends() -> None:
    long = "x" * MAX_SESSION_CHARS
    names = {session_of({}, {"user": long + end}, {}) for end in ("", "a", "b")}
    assert len(names) == 3
    assert max(map(len, names)) == MAX_SESSION_CHARS


def test_each_entry_says_where_it_is_known_from() -> None:
    for entry in (*KNOWN.session, *KNOWN.context, *KNOWN.errand, *KNOWN.template):
        assert entry.source
        assert isinstance(entry.seen, datetime.date)
    assert all(sum(map(bool, (one.header, one.field, one.metadata))) == 1 for one in KNOWN.session)
    assert all(entry.header == entry.header.lower() for entry in KNOWN.session)
    assert all(entry.closes.startswith(CLOSES) for entry in KNOWN.context)


@pytest.mark.parametrize("entry", KNOWN.context, ids=lambda entry: entry.opens)
def test_a_block_before_or_behind_the_prompt_is_not_the_users(entry: Any) -> None:
    block = f"{entry.opens}\nwrite tests, fix bugs\n{entry.closes}"
    for text in (f"{block}\n\nhello", f"hello\n{block}", f"{block}\n{block}hello {block} {block}\n"):
        assert typed_text(text).strip() == "hello"
    assert typed_text(block) == ""
    for text in (f"what does {block} mean?", f"{entry.opens} hello", f"hello {entry.closes}", "hello", ""):
        assert typed_text(text) == text


def test_many_blocks_take_time_in_proportion_to_their_length() -> None:
    block = "<system-reminder>x</system-reminder>"
    assert typed_text(block * 50_000 + "hello" + block * 50_000) == "hello"
    assert typed_text("<system-reminder>" * 100_000) == "<system-reminder>" * 100_000


def test_a_block_without_an_end_is_looked_for_once() -> None:
    """Else each block at the other end would take a search of the whole text."""
    block = "<environment_context>x</environment_context>"

    def cpu_s(count: int) -> float:
        begun = time.process_time()
        assert typed_text("<system-reminder> hello " + block * count) == "<system-reminder> hello"
        return time.process_time() - begun

    few = min(cpu_s(500) for _ in range(5))
    assert min(cpu_s(5000) for _ in range(3)) < 30 * few


def user(*texts: str) -> Message:
    return Message(role="user", parts=tuple(Text(text=text) for text in texts))


REMINDER = "<system-reminder>\nFix bugs with a failing test first.\n</system-reminder>"


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([user(REMINDER, "tell me a joke")], "tell me a joke"),
        ([user("tell me a joke", REMINDER)], "tell me a joke"),
        ([user(f"{REMINDER}\ntell me a joke")], "tell me a joke"),
        ([user("# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>\nTest.\n</INSTRUCTIONS>"), user("a joke")], "a joke"),
        ([user("a joke"), user(REMINDER)], "a joke"),
        ([user("one", REMINDER, "two")], "one\ntwo"),
        ([user(REMINDER)], REMINDER),
    ],
    ids=str,
)
def test_what_the_user_typed_decides(messages: list[Message], expected: str) -> None:
    facts = read_facts(ChatRequest(id="r", messages=tuple(messages)))
    assert facts.text == facts.last_turn == expected


def test_the_turn_of_a_tools_result_is_still_the_agents() -> None:
    result = Message(role="user", parts=(ToolResult(id="1", text="ok"), Text(text=REMINDER), Text(text="go on")))
    assert read_facts(ChatRequest(id="r", messages=(user("a joke"), result))).text == "a joke"


def request(role: str, words: str) -> ChatRequest:
    system = Message(
        role="system", parts=(Text(text="You are Claude Code."), Text(text=words if role == "system" else ""))
    )
    return ChatRequest(id="r", messages=(system, user(f"{words} …" if role == "user" else "hello")))


@pytest.mark.parametrize("entry", KNOWN.errand, ids=lambda entry: entry.words[:40])
def test_a_rule_can_tell_what_an_agent_asks_on_its_own_account(entry: Any) -> None:
    facts = read_facts(request(entry.role, entry.words))
    assert holds(msgspec.convert({"harness": [entry.kind]}, When), facts)
    others = [kind for kind in ("title", "summary", "memory", "classifier") if kind != entry.kind]
    assert not holds(msgspec.convert({"harness": others}, When), facts)
    elsewhere = read_facts(request("user" if entry.role == "system" else "system", entry.words))
    assert not holds(msgspec.convert({"harness": [entry.kind]}, When), elsewhere)


def test_what_a_user_asks_is_no_errand() -> None:
    assert errand([user("Give this document a title, and a summary of it")]) is None
    assert errand([]) is None


def test_a_rule_can_look_at_the_system_prompt() -> None:
    facts = read_facts(request("system", "You name chats. Reply with five words."))
    assert holds(msgspec.convert({"system": "(?i)you name chats"}, When), facts)
    assert not holds(msgspec.convert({"system": "hello"}, When), facts)  # the user's
