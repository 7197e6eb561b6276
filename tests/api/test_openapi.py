"""The bodies that OpenAPI describes are the structs that they are read into."""

from __future__ import annotations

import json

import msgspec
import pytest

from semroute.api.openapi import body_schema
from semroute.dialects.anthropic.client import MessagesBody
from semroute.dialects.gemini.client import GenerateContentBody
from semroute.dialects.native.client import NativeBody
from semroute.dialects.ollama.client import OllamaChatBody, OllamaGenerateBody
from semroute.dialects.ollama.embeddings import OllamaEmbedBody
from semroute.dialects.openai.client import ChatBody
from semroute.dialects.openai.embeddings import EmbeddingsBody
from semroute.dialects.openai.text_completions import TextCompletionsBody
from semroute.dialects.responses.client import ResponsesBody

BODIES: list[type[msgspec.Struct]] = [
    NativeBody,
    ChatBody,
    MessagesBody,
    ResponsesBody,
    GenerateContentBody,
    EmbeddingsBody,
    TextCompletionsBody,
    OllamaChatBody,
    OllamaGenerateBody,
    OllamaEmbedBody,
]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_has_the_fields_that_are_read_and_the_dial(body: type[msgspec.Struct]) -> None:
    schema = body_schema(body)
    fields = msgspec.structs.fields(body)
    assert set(schema["properties"]) == {field.encode_name for field in fields} | {"cost_quality"}
    assert schema["required"] == [field.encode_name for field in fields if field.required]
    assert "$ref" not in json.dumps(schema)


def test_what_the_path_says_is_not_in_the_body() -> None:
    schema = body_schema(EmbeddingsBody, ("model",))
    assert "model" not in schema["properties"] and schema["required"] == ["input"]


def test_the_lines_under_fields_describe_them() -> None:
    assert body_schema(NativeBody)["properties"]["prompt"]["description"] == "One user turn."
