"""What is dropped is told by the caller's own name for the field: its path, with dots."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.dialects import registry
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.responses.provider import ResponsesProviderDialect
from semroute.dialects.shared.dropped import as_asked
from tests.dialects.wires import HI

RESPONSES, GROQ = ResponsesProviderDialect(), OpenAIProviderDialect(PRESETS["groq"])
CLAUDE, GEMINI = AnthropicProviderDialect(), GeminiProviderDialect()
SCHEMA = {"anyOf": [{"type": "object", "properties": {"a": {}}}]}
MESSAGES = {"messages": [HI]}
CHAT_TOOL = {"type": "function", "function": {"name": "f", "strict": True, "parameters": {"type": "object"}}}
PICTURE = {"type": "input_image", "image_url": "https://a.b/c.png", "detail": "high"}
THOUGHT = {"generationConfig": {"thinkingConfig": {"thinkingLevel": "minimal"}}}
ASKED: list[tuple[str, dict[str, Any], ProviderDialect, set[str]]] = [
    ("openai", {**MESSAGES, "stop": "a", "seed": 1, "n": 2}, RESPONSES, {"stop", "seed", "n"}),
    ("openai", {**MESSAGES, "reasoning_effort": "minimal"}, CLAUDE, {"reasoning_effort minimal: sent as low"}),
    ("openai", {**MESSAGES, "max_completion_tokens": 10**6}, GROQ, {"max_completion_tokens 1e+06: sent as 65536"}),
    ("openai", {**MESSAGES, "max_tokens": 10**6}, GROQ, {"max_tokens 1e+06: sent as 65536"}),
    ("openai", {**MESSAGES, "safety_identifier": "me"}, GEMINI, {"safety_identifier"}),
    ("openai", {**MESSAGES, "tools": [CHAT_TOOL]}, GEMINI, {"tools.function.strict"}),
    ("openai", {**MESSAGES, "tools": [{"type": "web_search"}]}, GEMINI, {"tools web_search"}),
    ("responses", {"input": "a", "max_output_tokens": 10**6}, GROQ, {"max_output_tokens 1e+06: sent as 65536"}),
    (
        "responses",
        {"input": "a", "reasoning": {"effort": "minimal"}},
        CLAUDE,
        {"reasoning.effort minimal: sent as low"},
    ),
    ("responses", {"input": [{"role": "user", "content": [PICTURE]}]}, CLAUDE, {"input_image.detail"}),
    (
        "responses",
        {"input": "a", "tools": [{"type": "function", "name": "f", "parameters": SCHEMA}]},
        CLAUDE,
        {"tools.parameters.anyOf: sent as one object"},
    ),
    ("responses", {"input": "a", "top_logprobs": 1}, CLAUDE, {"top_logprobs"}),
    ("anthropic", {**MESSAGES, "stop_sequences": ["a"], "top_k": 5}, RESPONSES, {"stop_sequences", "top_k"}),
    ("anthropic", {**MESSAGES, "metadata": {"user_id": "me"}}, GEMINI, {"metadata.user_id"}),
    ("anthropic", {**MESSAGES, "output_config": {"effort": "max"}}, GEMINI, {"output_config.effort max: sent as high"}),
    (
        "anthropic",
        {**MESSAGES, "thinking": {"type": "enabled", "budget_tokens": 5000}},
        CLAUDE,
        {"thinking.budget_tokens 5000: sent as effort medium"},
    ),
    (
        "anthropic",
        {**MESSAGES, "thinking": {"type": "disabled"}},
        GEMINI,
        {"thinking.type none: sent as low"},
    ),
    (
        "anthropic",
        {**MESSAGES, "tools": [{"name": "f", "input_schema": SCHEMA}]},
        GEMINI,
        {"tools.input_schema.anyOf: sent as one object"},
    ),
    (
        "gemini",
        {"generationConfig": {"topK": 5, "seed": 1, "stopSequences": ["a"], "candidateCount": 2}},
        RESPONSES,
        {
            "generationConfig.topK",
            "generationConfig.seed",
            "generationConfig.stopSequences",
            "generationConfig.candidateCount",
        },
    ),
    ("gemini", {"generation_config": {"top_k": 5}}, RESPONSES, {"generation_config.top_k"}),
    ("gemini", THOUGHT, CLAUDE, {"generationConfig.thinkingConfig.thinkingLevel minimal: sent as low"}),
    ("gemini", {"generationConfig": {"topP": 1.5}}, CLAUDE, {"generationConfig.topP"}),
    ("gemini", {"tools": [{"googleSearch": {}}]}, CLAUDE, {"tools.googleSearch"}),
    ("ollama", {**MESSAGES, "options": {"seed": 1, "top_k": 5}}, RESPONSES, {"options.seed", "options.top_k"}),
    ("ollama", {**MESSAGES, "options": {"num_predict": 10**6}}, GROQ, {"options.num_predict 1e+06: sent as 65536"}),
    ("ollama", {**MESSAGES, "think": "minimal"}, CLAUDE, {"think minimal: sent as low"}),
]


@pytest.mark.parametrize(("dialect", "body", "provider", "told"), ASKED)
def test_a_note_begins_with_the_callers_own_path(
    dialect: str, body: dict[str, Any], provider: ProviderDialect, told: set[str]
) -> None:
    known = registry.dialect(dialect)
    assert known.client is not None
    if dialect == "gemini":
        body = {"contents": [{"parts": [{"text": "Hi"}]}], **body}
    if dialect == "anthropic":
        body = {"max_tokens": 9000, **body}
    request = known.client.parse_request({"model": "m", **body}, "1")
    name = "claude-opus-5-5" if provider is CLAUDE else "gemini-3.8-flash" if provider is GEMINI else "gpt-6.1-sol"
    model = Model(id="m", provider="p", name=name, features=("tools", "json", "reasoning"), max_output_tokens=65536)
    wire = provider.render_request(request, model)
    assert set(as_asked((*wire.dropped, *wire.adapted), known.field_names, request.raw)) >= told


def test_a_part_of_a_field_is_renamed_with_it() -> None:
    names = {"a.b": ("c", "d.e"), "x": ("y",)}
    notes = ("a.b.f 5: sent as 6", "a", "x: why", "xy", "in words", "a.b.f 5: sent as 6")
    assert as_asked(notes, names, {}) == ("c.f 5: sent as 6", "a", "y: why", "xy", "in words")
    assert as_asked(("a.b",), names, {"d": {"e": None}}) == ("d.e",)
    assert as_asked(("a.b",), names, {"d": 5}) == ("c",)


def notes() -> Iterator[str]:
    """Every text with which a dialect notes something."""
    for path in (Path(registry.__file__).parent).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            match node:
                case ast.Call(func=ast.Attribute(attr="add" | "adapt", value=ast.Name(id="dropped")), args=[written]):
                    yield ast.unparse(written).strip("f\"'")
                case ast.Call(func=ast.Attribute(attr="add_given"), keywords=keywords):
                    yield from (each.arg for each in keywords if each.arg is not None)
                    dicts = [each.value for each in keywords if isinstance(each.value, ast.Dict)]
                    yield from (
                        ast.unparse(key).strip("f\"'") for each in dicts for key in each.keys if key is not None
                    )


def test_no_note_names_a_field_in_words() -> None:
    found = set(notes())
    assert {"top_k", "cache_control", "is_error"} <= found
    in_words = re.compile(
        r"(reasoning effort|cache mark|tool choice|service tier|stop sequence|image detail|strict tool)"
    )
    assert not [each for each in found if in_words.match(each)]
