"""Conversations that are made shorter."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.compaction import Compact
from semroute.dialects.shared.summarization import INSTRUCTION
from semroute.errors import BadAnswerError
from semroute.messages import CHAT, COMPACT, ChatRequest, Completion, Text, ToolCall, Usage
from tests.dialects.test_round_trips import PROVIDERS, RECORD, model_of

SAID: list[Any] = [
    {"role": "user", "content": "Where is Paris?"},
    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c", "output": "In France."},
]
TOOLS: list[Any] = [{"type": "function", "name": "look", "parameters": {"type": "object", "properties": {}}}]


def asked(**fields: Any) -> ChatRequest:
    return Compact().parse_request({"model": "auto", "input": SAID, "tools": TOOLS, "stream": True, **fields}, "1")


def answered(text: str) -> Completion:
    return Completion(parts=(Text(text=text),), finish_reason="stop", usage=Usage(input_tokens=9), model="m")


def test_what_is_asked_of_the_model_takes_no_part_in_routing() -> None:
    request = asked()
    assert (request.stream, request.endpoint) == (False, COMPACT)
    assert INSTRUCTION not in str(request.messages)


@pytest.mark.parametrize("receiver", [name for name in PROVIDERS if name != "responses"])
def test_other_models_are_asked_for_a_summary_and_call_nothing(receiver: str) -> None:
    request = asked(text={"format": {"type": "json_object"}}, tool_choice="required")
    wire = PROVIDERS[receiver].render_request(request, model_of(receiver))
    body = json.loads(wire.body)
    assert wire.endpoint == CHAT
    last = body["contents" if receiver == "gemini" else "messages"][-1]
    assert INSTRUCTION.splitlines()[0] in str(last)
    assert not {"response_format", "output_config"} & body.keys()
    if receiver in ("openai", "anthropic"):
        assert body["tool_choice"] in ("none", {"type": "none"})


def test_a_provider_of_the_dialect_does_it_itself() -> None:
    wire = PROVIDERS["responses"].render_request(asked(strict=True, models=["m"]), model_of("responses"))
    assert (wire.path, wire.endpoint) == ("/responses/compact", COMPACT)
    assert json.loads(wire.body) == {"model": "gpt-x", "input": SAID, "tools": TOOLS}
    raw = {"id": "r", "object": "response.compaction", "output": [{"type": "compaction", "encrypted_content": "x"}]}
    done = PROVIDERS["responses"].parse_completion(json.dumps(raw).encode())
    assert json.loads(Compact().render_completion(done, RECORD, asked())) == raw


@pytest.mark.parametrize("said", [SAID, "Where is Paris?"])
def test_a_summary_comes_back_with_what_the_user_has_said(said: Any) -> None:
    body = json.loads(Compact().render_completion(answered("It is in France."), RECORD, asked(input=said)))
    assert (body["object"], body["usage"]["input_tokens"]) == ("response.compaction", 9)
    user, summary = body["output"]
    assert (user["role"], user["content"]) == ("user", [{"type": "input_text", "text": "Where is Paris?"}])
    again = Responses().parse_request({"input": [user, summary, SAID[0]]}, "1")
    assert again.messages[1].text == "Summary of the conversation before:\nIt is in France."
    wire = PROVIDERS["responses"].render_request(again, model_of("responses"))
    assert wire.dropped == ()
    assert json.loads(wire.body)["input"][1] == {
        "role": "user", "content": [{"type": "input_text", "text": again.messages[1].text}],
    }  # fmt: skip


def test_the_providers_own_summary_stays_its_own() -> None:
    item = {"type": "compaction", "id": "c", "encrypted_content": "gAAAAA"}
    request = Responses().parse_request({"input": [item, SAID[0]]}, "1")
    wire = PROVIDERS["responses"].render_request(request, model_of("responses"))
    assert json.loads(wire.body)["input"][0] == item
    assert "compaction" in PROVIDERS["openai"].render_request(request, model_of("openai")).dropped


@pytest.mark.parametrize("parts", [(), (Text(text=" \n"),), (ToolCall(id="c", name="look"),)])
def test_an_answer_without_a_summary_is_a_bad_one(parts: Any) -> None:
    completion = Completion(parts=parts, finish_reason="stop", usage=None, model="m")
    with pytest.raises(BadAnswerError, match="expected a summary"):
        Compact().render_completion(completion, RECORD, asked())
