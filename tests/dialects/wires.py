"""What becomes of each field with each provider: `docs/pages/wires.md` is made of these cases.

`python -m tests.dialects.wires` writes it anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semroute.config.presets import PRESETS
from semroute.config.schema.models import Model
from semroute.dialects import registry
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.bedrock.provider import BedrockProviderDialect
from semroute.dialects.gemini.provider import GeminiProviderDialect
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.protocols import ProviderDialect
from semroute.dialects.responses.provider import ResponsesProviderDialect
from semroute.dialects.shared.dropped import as_asked
from semroute.errors import UnsupportedError
from tests.dialects.test_round_trips import CLIENTS
from tests.vendors.late_2026 import signature_of

PAGE = Path(__file__).parents[2] / "docs" / "pages" / "wires.md"
COMMAND = "python -m tests.dialects.wires"
RECEIVERS: dict[str, tuple[ProviderDialect, str]] = {
    "GPT-6 Luna, `openai`": (OpenAIProviderDialect(PRESETS["openai"]), "gpt-6-luna"),
    "GPT-6.1 Sol, `openai`": (OpenAIProviderDialect(PRESETS["openai"]), "gpt-6.1-sol"),
    "GPT-6.1 Sol, `responses`": (ResponsesProviderDialect(), "gpt-6.1-sol"),
    "Claude Opus 5.5": (AnthropicProviderDialect(), "claude-opus-5-5"),
    "Claude Sonnet 5.5": (AnthropicProviderDialect(), "claude-sonnet-5-5"),
    "Claude Haiku 5.5": (AnthropicProviderDialect(), "claude-haiku-5-5"),
    "Gemini 3.8 Flash": (GeminiProviderDialect(), "gemini-3.8-flash"),
    "Claude Opus 5.5, `bedrock`": (BedrockProviderDialect(), "eu.anthropic.claude-opus-5-5-v1:0"),
    "Nova 2 Lite, `bedrock`": (BedrockProviderDialect(), "us.amazon.nova-2-lite-v1:0"),
    "DeepSeek Flash": (OpenAIProviderDialect(PRESETS["deepseek"]), "deepseek-flash"),
    "Mistral Large 4": (OpenAIProviderDialect(PRESETS["mistral"]), "mistral-large-4"),
    "Grok 4.7": (OpenAIProviderDialect(PRESETS["xai"]), "grok-4.7"),
}
TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
HI = {"role": "user", "content": "Hi"}
BODIES: dict[str, dict[str, Any]] = {
    "openai": {"messages": [HI]},
    "responses": {"input": [HI]},
    "anthropic": {"max_tokens": 20000, "messages": [HI]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}


@dataclass(frozen=True)
class Case:
    """A field that a caller sends."""

    title: str
    dialect: str
    """Of the caller."""
    fields: dict[str, Any]
    beside: dict[str, Any] = field(default_factory=dict)
    """What the request holds anyway."""


CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "seen"}
OPUS = f"semroute.anthropic:opus-5-5.{signature_of('claude-opus-5-5')}"
THOUGHT = [
    HI,
    {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "hm", "signature": OPUS}, {"type": "text", "text": "A"}],
    },
    HI,
]
CASES = (
    Case("Effort `none`", "openai", {"reasoning_effort": "none"}),
    Case("Effort `minimal`", "openai", {"reasoning_effort": "minimal"}),
    Case("Effort `max`", "openai", {"reasoning_effort": "max"}),
    Case("Tools, and effort `high`", "openai", {"tools": [TOOL], "reasoning_effort": "high"}),
    Case("A tool that must be called", "openai", {"tool_choice": "required"}, {"tools": [TOOL]}),
    Case("`temperature`", "openai", {"temperature": 0.2}),
    Case("`stop`", "openai", {"stop": ["END"]}),
    Case("Log-probabilities", "openai", {"logprobs": True, "top_logprobs": 2}),
    Case("A last turn of the assistant", "openai", {"messages": [HI, {"role": "assistant", "content": "It"}]}),
    Case("`service_tier: ultrafast`", "openai", {"service_tier": "ultrafast"}),
    Case("`prompt_cache_options`", "openai", {"prompt_cache_options": {"mode": "explicit"}}),
    Case("`verbosity`", "openai", {"verbosity": "low"}),
    Case(
        "`stream_options.include_obfuscation`",
        "openai",
        {"stream_options": {"include_obfuscation": False}},
        {"stream": True},
    ),
    Case(
        "`reasoning_content` of a turn with a call",
        "openai",
        {"messages": [HI, {**CALL, "reasoning_content": "hm"}, RESULT]},
        {"messages": [HI, CALL, RESULT]},
    ),
    Case("`reasoning.mode`", "responses", {"reasoning": {"mode": "pro"}}),
    Case("`reasoning.context`", "responses", {"reasoning": {"context": "all_turns"}}),
    Case("A compaction item", "responses", {"input": [{"type": "compaction", "encrypted_content": "e"}, HI]}),
    Case("`thinking: disabled`", "anthropic", {"thinking": {"type": "disabled"}}),
    Case("`thinking: between_tools`", "anthropic", {"thinking": {"type": "between_tools"}}),
    Case("A budget of thinking tokens", "anthropic", {"thinking": {"type": "enabled", "budget_tokens": 9000}}),
    Case("A thinking block of Claude Opus 5.5", "anthropic", {"messages": THOUGHT}),
    Case("`thinkingLevel: MINIMAL`", "gemini", {"generationConfig": {"thinkingConfig": {"thinkingLevel": "MINIMAL"}}}),
)


def page() -> str:
    """The whole page."""
    lines = [
        "# Fields by model",
        "",
        "Each section shows one field that a caller sends, and what semroute sends to each model because of it. The",
        "rest of the body is left out. `nothing` means that the field changes nothing for this model. The column",
        "`note` holds the header `x-semroute-dropped`, which the caller gets. If a model can be reached in several",
        "dialects, the dialect of its provider follows its name.",
        "",
        f"This page is made from the cases in `tests/dialects/wires.py`. `{COMMAND}` writes it.",
    ]
    for case in CASES:
        lines += [
            "",
            f"## {case.title}",
            "",
            f"A caller sends `{json.dumps(case.fields)}`{_beside(case)}, in the dialect `{case.dialect}`.",
            "",
        ]
        lines += ["| models | what is sent | note |", "|---|---|---|"]
        rows: dict[tuple[str, str], list[str]] = {}
        for receiver in RECEIVERS:
            rows.setdefault(outcome(case, receiver), []).append(receiver)
        lines += [f"| {'; '.join(receivers)} | {sent} | {told} |" for (sent, told), receivers in rows.items()]
    return "\n".join(lines) + "\n"


def _beside(case: Case) -> str:
    """What else the request holds, where that is not what the field takes the place of."""
    rest = {name: value for name, value in case.beside.items() if name not in case.fields}
    return f" beside `{json.dumps(rest)}`" if rest else ""


def outcome(case: Case, receiver: str) -> tuple[str, str]:
    """What a model is sent because of the field, and what the caller is told."""
    base = {**BODIES[case.dialect], **case.beside}
    try:
        plain, _ = _sent(case.dialect, base, receiver)
        body, notes = _sent(case.dialect, {**base, **case.fields}, receiver)
    except UnsupportedError as error:
        return "nothing: the next model is asked", str(error)
    added = [f"`{path}: {json.dumps(value)}`" for path, value in body.items() if plain.get(path) != value]
    gone = [f"not `{path}`" for path in plain if path not in body]
    return ", ".join((*added, *gone)) or "nothing", ", ".join(notes)


def _sent(dialect: str, body: dict[str, Any], receiver: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    provider, name = RECEIVERS[receiver]
    request = CLIENTS[dialect].parse_request(body, "1")
    features: Any = ("tools", "json", "vision", "reasoning")
    model = Model(id="m", provider="p", name=name, features=features, max_output_tokens=65536)
    wire = provider.render_request(request, model)
    notes = as_asked((*wire.dropped, *wire.adapted), registry.dialect(dialect).field_names, request.raw)
    return dict(_flat(json.loads(wire.body), "")), notes


def _flat(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every value of a body by its path."""
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from _flat(each, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for place, each in enumerate(value):
            yield from _flat(each, f"{path}[{place}]")
    else:
        yield path, value


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), "utf-8")
