"""Log-probabilities that a check needs are asked for in the caller's own body, and taken out of the answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.client import Anthropic
from semroute.dialects.gemini.client import Gemini
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.native.client import Native
from semroute.dialects.openai.client import OpenAI
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ClientDialect, ProviderDialect
from semroute.dialects.registry import dialect
from semroute.dialects.responses.client import Responses
from semroute.dialects.responses.provider import ResponsesProviderDialect
from semroute.dialects.shared.logprobs import without_logprobs
from semroute.messages import ChatRequest, Completion, Message, Params, Text, TokenLogprob
from semroute.record import Record

MODEL = Model(id="m", provider="p", name="m")
LOGPROBS = "message.output_text.logprobs"


@pytest.mark.parametrize(
    ("dialect", "raw", "expected"),
    [
        (OpenAIProviderDialect(), {"seed": 1}, {"seed": 1, "logprobs": True}),
        (ResponsesProviderDialect(), {}, {"include": [LOGPROBS]}),
        (ResponsesProviderDialect(), {"include": ["x"]}, {"include": ["x", LOGPROBS]}),
        (ResponsesProviderDialect(), {"include": [LOGPROBS]}, {"include": [LOGPROBS]}),
        (GeminiProviderDialect(), {}, {"generationConfig": {"responseLogprobs": True}}),
        (
            GeminiProviderDialect(),
            {"generationConfig": {"seed": 1}},
            {"generationConfig": {"seed": 1, "responseLogprobs": True}},
        ),
    ],
)
def test_they_are_added_to_what_the_caller_sent(
    dialect: ProviderDialect, raw: dict[str, Any], expected: dict[str, Any]
) -> None:
    said = Message(role="user", parts=(Text(text="hi"),))
    asked = ChatRequest(id="r", messages=(said,), params=Params(logprobs=True), dialect=dialect.name, raw=raw)
    body = json.loads(dialect.render_request(asked, MODEL).body)
    assert {name: body.get(name) for name in expected} == expected


TOKEN = {"token": "hi", "logprob": -0.25, "bytes": [104, 105], "top_logprobs": []}
SAID = {"role": "assistant", "content": "hi"}
BODIES: list[tuple[ProviderDialect, ClientDialect, dict[str, Any], dict[str, Any]]] = [
    (
        OpenAIProviderDialect(),
        OpenAI(),
        {"id": "c", "model": "m", "own": 1, "choices": [{"message": SAID, "logprobs": {"content": [TOKEN]}}]},
        {"id": "c", "model": "m", "own": 1, "choices": [{"message": SAID, "logprobs": None}]},
    ),
    (
        OpenAIProviderDialect(),
        OpenAI(),
        {"id": "c", "model": "m", "choices": [{"message": SAID, "logprobs": {"content": [TOKEN]}}] * 2},
        {"id": "c", "model": "m", "choices": [{"message": SAID, "logprobs": None}] * 2},
    ),
    (
        ResponsesProviderDialect(),
        Responses(),
        {
            "own": 1,
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": "hi", "logprobs": [TOKEN]}]},
            ],
        },
        {
            "own": 1,
            "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "content": [{"type": "output_text", "text": "hi", "logprobs": []}]},
            ],
        },
    ),
    (
        GeminiProviderDialect(),
        Gemini(),
        {
            "own": 1,
            "candidates": [
                {
                    "content": {"role": "model", "parts": [{"text": "hi"}]},
                    "finishReason": "STOP",
                    "avgLogprobs": -0.25,
                    "logprobsResult": {"chosenCandidates": [{"token": "hi", "logProbability": -0.25}]},
                }
            ],
        },
        {"own": 1, "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP"}]},
    ),
]


@pytest.mark.parametrize(("provider", "client", "body", "expected"), BODIES)
def test_they_are_taken_out_of_the_providers_own_body_and_nothing_else_is(
    provider: ProviderDialect, client: ClientDialect, body: dict[str, Any], expected: dict[str, Any]
) -> None:
    completion = provider.parse_completion(json.dumps(body).encode())
    assert completion.logprobs[0].logprob == -0.25
    stripped = without_logprobs(completion, dialect(completion.dialect).drop_logprobs)
    assert json.loads(stripped.raw) == expected
    shown = json.loads(client.render_completion(stripped, RECORD, ASKED))
    assert {name: shown[name] for name in expected} == expected


@pytest.mark.parametrize("client", [OpenAI(), Responses(), Gemini(), Anthropic(), Native()])
def test_a_caller_of_another_dialect_gets_none_either(client: ClientDialect) -> None:
    completion = Completion(
        parts=(Text(text="hi"),),
        finish_reason="stop",
        usage=None,
        model="m",
        logprobs=(TokenLogprob(token="hi", logprob=-0.25),),
        dropped=("seed", "logprobs"),
    )
    stripped = without_logprobs(completion, None)
    assert stripped.dropped == ("seed",)
    assert b"-0.25" not in client.render_completion(stripped, RECORD, ASKED)


ASKED = ChatRequest(id="r", messages=(Message(role="user", parts=(Text(text="hi"),)),))
RECORD = Record(request_id="r", decision=None, attempts=(), outcome="ok", overhead_ms=0)  # type: ignore[arg-type]  # not looked at
