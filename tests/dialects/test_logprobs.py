"""Log-probabilities that a check needs are asked for in the caller's own body, too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from semroute.dialects.base import ProviderDialect
from semroute.dialects.gemini_provider import GeminiProviderDialect
from semroute.dialects.openai_provider import OpenAIProviderDialect
from semroute.dialects.responses_provider import ResponsesProviderDialect
from semroute.types import ChatRequest, Message, Model, Params, Text

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
