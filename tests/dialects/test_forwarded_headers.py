"""Which headers of callers go on to a provider, and what Anthropic's versions refuse."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.protocols import WireRequest
from semroute.dialects.registry import DIALECTS
from semroute.dialects.shared.forwarded_headers import NOT_FORWARDED
from semroute.messages import ChatRequest
from tests.dialects.test_round_trips import CLIENTS, PROVIDERS, model_of

NEW, OLD = "2026-10-21", "2023-06-01"
VALUES = {
    "anthropic-version": NEW,
    "anthropic-beta": "context-management-2025-06-27, files-api-2025-04-14",
    "openai-beta": "responses=v1",
    "x-vertex-ai-llm-request-type": "shared",
    "x-vertex-ai-llm-shared-request-type": "priority",
}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {"messages": [{"role": "user", "content": "hi"}]},
    "responses": {"input": "hi"},
    "anthropic": {"max_tokens": 90, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"parts": [{"text": "hi"}]}]},
}


def asked(client: str, headers: dict[str, str], **more: Any) -> ChatRequest:
    chat = CLIENTS[client].parse_request({**BODIES[client], **more}, "1")
    return msgspec.structs.replace(chat, headers=headers)


def sent(client: str, receiver: str, headers: dict[str, str]) -> WireRequest:
    return PROVIDERS[receiver].render_request(asked(client, headers), model_of(receiver))


@pytest.mark.parametrize("client", BODIES)
@pytest.mark.parametrize("receiver", [*BODIES, "bedrock"])
def test_a_header_goes_on_to_a_provider_of_the_same_dialect_and_to_no_other(client: str, receiver: str) -> None:
    headers = {**VALUES, **dict.fromkeys(NOT_FORWARDED, "x"), "x-other": "x"}
    wire = sent(client, receiver, headers)
    meant = {header.name for header in DIALECTS[client].headers} if client == receiver else set()
    assert wire.headers == {name: VALUES[name] for name in meant}
    assert wire.dropped == ()


def test_every_header_of_the_table_has_a_value_here_and_stays_nowhere_else() -> None:
    names = {header.name for each in DIALECTS.values() for header in each.headers}
    assert names == VALUES.keys()
    assert not names & NOT_FORWARDED.keys()


@pytest.mark.parametrize(
    ("client", "name", "value"),
    [
        ("anthropic", "anthropic-version", "latest"),
        ("anthropic", "anthropic-version", "2026-10-21, 2023-06-01"),
        ("anthropic", "anthropic-version", "\u0662\u0660\u0662\u0666-10-21"),
        ("anthropic", "anthropic-beta", "a" * 3000),
        ("anthropic", "anthropic-beta", "a\tb"),
        ("anthropic", "anthropic-beta", "a,,b"),
        ("anthropic", "anthropic-beta", "ß"),
        ("openai", "openai-beta", "a\r\nx-evil: 1"),
        ("responses", "openai-beta", "a;b"),
        ("gemini", "x-vertex-ai-llm-request-type", "a b"),
    ],
)
def test_a_value_that_cannot_be_meant_is_left_out_with_a_note(client: str, name: str, value: str) -> None:
    wire = sent(client, client, {name: value})
    assert wire.headers == {}
    assert len(wire.dropped) == 1
    assert wire.dropped[0].startswith(f"header {name}: ")
    assert len(wire.dropped[0]) < 100


def test_no_header_is_added_for_what_the_provider_is_told_anyway() -> None:
    assert sent("anthropic", "anthropic", {"anthropic-version": OLD}).headers == {}
    assert sent("anthropic", "anthropic", {"anthropic-version": " ", "anthropic-beta": ""}).headers == {}
    assert AnthropicProviderDialect().headers(None) == {"anthropic-version": OLD}


# --- versions ---------------------------------------------------------------------------------------------------------

PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
CITED = {"type": "text", "text": "As it says.", "citations": [{"type": "char_location", "cited_text": "x"}]}
SAY = {"type": "text", "text": "hi"}
SEARCHED = {"type": "search_result", "source": "s", "title": "t", "content": [CITED], "citations": {"enabled": True}}


def body_at(version: str, pinned: str = "", **more: Any) -> tuple[dict[str, Any], WireRequest]:
    dialect = AnthropicProviderDialect(pinned)
    wire = dialect.render_request(asked("anthropic", {"anthropic-version": version}, **more), model_of("anthropic"))
    return json.loads(wire.body), wire


@pytest.mark.parametrize(("version", "pinned"), [(NEW, ""), (OLD, NEW), ("2027-02-01", "")])
def test_a_version_without_sampling_gets_none(version: str, pinned: str) -> None:
    body, wire = body_at(version, pinned, temperature=1.0, top_p=0.5, top_k=3)
    assert not body.keys() & {"temperature", "top_p", "top_k"}
    assert {note.partition(":")[0] for note in wire.dropped} == {"temperature", "top_p", "top_k"}


@pytest.mark.parametrize(("version", "pinned"), [(OLD, ""), ("", ""), (NEW, OLD)])
def test_an_older_version_keeps_what_it_takes(version: str, pinned: str) -> None:
    messages = [{"role": "user", "content": [CITED]}, {"role": "assistant", "content": [PDF, SAY]}]
    body, wire = body_at(version, pinned, temperature=1.0, messages=messages)
    assert body["temperature"] == 1
    assert body["messages"] == messages
    assert wire.dropped == ()


def test_documents_of_the_models_turns_go_to_the_users_next_turn() -> None:
    result = {"type": "tool_result", "tool_use_id": "t", "content": [PDF]}
    messages = [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": [PDF, SAY]},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": [PDF]},
        {"role": "user", "content": [result]},
    ]
    before = json.dumps(messages)
    body, wire = body_at(NEW, messages=messages)
    assert body["messages"] == [
        {"role": "user", "content": "read it"},
        {"role": "assistant", "content": [SAY]},
        {"role": "user", "content": [{"type": "text", "text": "and?"}, PDF]},
        {"role": "user", "content": [result, PDF]},
    ]
    assert wire.dropped == ()
    assert json.dumps(messages) == before


def test_documents_of_the_models_last_turn_have_nowhere_to_go() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": [SAY, PDF]}]
    body, wire = body_at(NEW, messages=messages)
    assert body["messages"][-1] == {"role": "assistant", "content": [SAY]}
    assert wire.dropped == ("documents in the model's last turn",)


def test_the_users_texts_cite_nothing_and_the_models_do() -> None:
    messages = [
        {"role": "user", "content": [CITED, SEARCHED, PDF]},
        {"role": "assistant", "content": [CITED]},
        {"role": "user", "content": "go on"},
    ]
    body, wire = body_at(NEW, messages=messages)
    plain = {"type": "text", "text": "As it says."}
    assert body["messages"] == [
        {"role": "user", "content": [plain, {**SEARCHED, "content": [plain]}, PDF]},
        {"role": "assistant", "content": [CITED]},
        {"role": "user", "content": "go on"},
    ]
    assert wire.dropped == ("citations of the user's texts",)


def test_callers_of_other_dialects_are_held_to_the_version_of_the_provider() -> None:
    chat = asked("openai", {"anthropic-version": NEW}, temperature=0.5)
    for pinned, kept in (("", True), (NEW, False)):
        wire = AnthropicProviderDialect(pinned).render_request(chat, model_of("anthropic"))
        assert ("temperature" in json.loads(wire.body)) is kept
        assert wire.headers == {}


def test_turns_without_content_stay_as_they_are() -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant"}, {"role": "user", "content": None}]
    body, _ = body_at(NEW, messages=messages)
    assert body["messages"] == messages
