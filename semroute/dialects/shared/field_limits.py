"""The limits of each provider: a row for each field, with its source and date. `limit_rules.py` holds the rules.

The rows are listed by dialect. Rows for one server of the `openai` dialect are listed by its preset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Literal

from semroute.bases import Frozen
from semroute.dialects.shared.fitting import Limits, Rule, tree
from semroute.dialects.shared.limit_rules import (
    between,
    data_urls,
    digest,
    filled,
    first,
    ids,
    label,
    media,
    mistral_order,
    most_tokens,
    names,
    object_schema,
    pairs,
    unique,
)

Receiver = Literal["openai", "responses", "anthropic", "gemini", "bedrock"]


class Limit(Frozen, frozen=True):
    """A rule for some fields of a provider."""

    fields: tuple[str, ...]
    """Paths of the fields. `[]` stands for each item of a list."""
    rule: Rule
    source: str
    """A page, a version of a vendor's package, a report that quotes the vendor, or one of the two words below."""
    seen: str = ""
    """The day on which the source was read, as YYYY-MM-DD. A limit that is not confirmed has none."""


_CHAT = "https://platform.openai.com/docs/api-reference/chat/create"
_RESPONSES = "https://platform.openai.com/docs/api-reference/responses/create"
_MESSAGES = "https://platform.claude.com/docs/en/api/messages"
_GEMINI = "https://ai.google.dev/api/generate-content"
_CONVERSE = "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_"
_DEEPSEEK = "https://api-docs.deepseek.com/api/create-chat-completion"
_CEREBRAS = "https://github.com/Cerebras/cerebras-cloud-sdk-python: 1.91.0"
_GROQ = "https://github.com/groq/groq-python: 1.7.0"
_XAI = "https://github.com/xai-org/xai-sdk-python: 1.21.0"
_CODE = "public code"
"""Clients look for the vendor's words, or their tests quote them."""
_UNCONFIRMED = "not confirmed"
"""Nobody here has read it anywhere."""
_TODAY = "2026-11-29"
_LATER = "2026-11-30"

_NAME = r"[a-zA-Z0-9_-]+"
_CALL_IDS = ("messages[].tool_calls[].id",)
_RESULT_IDS = ("messages[].tool_call_id",)
_LONG_ID = "https://github.com/vercel/ai/issues/5171"

_EVERY_SERVER = (
    Limit(
        (
            "tools[].function.name",
            "tools[].custom.name",
            "functions[].name",
            "tool_choice.function.name",
            "tool_choice.custom.name",
            "tool_choice.allowed_tools.tools[].function.name",
            "function_call.name",
            "messages[].tool_calls[].function.name",
            "messages[].tool_calls[].custom.name",
            "messages[].function_call.name",
        ),
        names(_NAME, 64),
        _CHAT,
        _TODAY,
    ),
    Limit(("tools[].function.parameters", "functions[].parameters"), object_schema, _CHAT, _TODAY),
    Limit(("user",), digest("user", 64), "https://github.com/maximhq/bifrost/pull/1000", _TODAY),
    Limit(("safety_identifier",), digest("safety_identifier", 64), _CHAT, _TODAY),
    Limit(
        ("prompt_cache_key",),
        digest("prompt_cache_key", 64),
        "https://github.com/earendil-works/pi/issues/4720",
        _TODAY,
    ),
    Limit(("messages[].content[].image_url.url",), data_urls, _CHAT, _TODAY),
    Limit(("response_format.json_schema.name",), label("response_format.json_schema.name", _NAME, 64), _CHAT, _TODAY),
    Limit(("max_tokens", "max_completion_tokens"), most_tokens, _CHAT, _TODAY),
    Limit(("stop",), filled("stop"), _UNCONFIRMED),
    Limit(("tools",), unique("tools", "function", "name"), _CODE, _LATER),
)

_IDS_OF_OPENAI = (
    Limit(_CALL_IDS, ids("call", chars=40, unique=False), _LONG_ID, _TODAY),
    Limit(_RESULT_IDS, ids("result", chars=40), _LONG_ID, _TODAY),
)

_OPENAI = (
    *_IDS_OF_OPENAI,
    Limit(("messages[].name",), label("messages.name", r"[^\s<|\\/>]+", 64), _CHAT, _TODAY),
    Limit(("tools",), first("tools", 128), "https://github.com/zed-industries/zed/issues/32946", _TODAY),
    Limit(("stop",), first("stop", 4), _CHAT, _TODAY),
    Limit(("metadata",), pairs(16, 64, 512), _CHAT, _TODAY),
    Limit(("temperature",), between("temperature", 0, 2), _CHAT, _TODAY),
    Limit(("top_p",), between("top_p", 0, 1), _CHAT, _TODAY),
    Limit(("top_logprobs",), between("top_logprobs", 0, 20), _CHAT, _TODAY),
    Limit(("frequency_penalty",), between("frequency_penalty", -2, 2), _CHAT, _TODAY),
    Limit(("presence_penalty",), between("presence_penalty", -2, 2), _CHAT, _TODAY),
    Limit(("n",), between("n", 1, 128), _UNCONFIRMED),
)

SERVERS: dict[str, tuple[Limit, ...]] = {
    "": _IDS_OF_OPENAI,
    "openai": _OPENAI,
    "azure": _OPENAI,
    "openrouter": _IDS_OF_OPENAI,
    "cerebras": (
        Limit(("stop",), first("stop", 4), "https://inference-docs.cerebras.ai/api-reference", _TODAY),
        Limit(("temperature",), between("temperature", 0, 2), _CEREBRAS, _LATER),
    ),
    "deepseek": (
        Limit(("stop",), first("stop", 16), _DEEPSEEK, _TODAY),
        Limit(("tools",), first("tools", 128), _DEEPSEEK, _TODAY),
        Limit(
            ("temperature",),
            between("temperature", 0, 2),
            "https://rdrr.io/cran/tidyllm/man/deepseek_chat.html",
            _LATER,
        ),
        Limit(("top_logprobs",), between("top_logprobs", 0, 20), _UNCONFIRMED),
    ),
    "groq": (
        Limit(("stop",), first("stop", 4), _GROQ, _LATER),
        Limit(("tools",), first("tools", 128), _GROQ, _LATER),
        Limit(("temperature",), between("temperature", 0, 2), _GROQ, _LATER),
    ),
    "mistral": (
        Limit(
            _CALL_IDS,
            ids("call", "[a-zA-Z0-9]+", 9, exact=True),
            "https://github.com/anomalyco/opencode/issues/1680",
            _TODAY,
        ),
        Limit(
            _RESULT_IDS,
            ids("result", "[a-zA-Z0-9]+", 9, exact=True),
            "https://github.com/anomalyco/opencode/issues/1680",
            _TODAY,
        ),
        Limit(("temperature",), between("temperature", 0, 1.5), "https://docs.mistral.ai/api/#tag/chat", _TODAY),
        Limit(("top_p",), between("top_p", 0, 1), "https://docs.mistral.ai/api/#tag/chat", _TODAY),
        Limit(("random_seed",), between("seed", 0, None), _UNCONFIRMED),
        Limit(("messages",), mistral_order, "https://github.com/avante-corp/avante.nvim/pull/2695", _LATER),
    ),
    "xai": (
        Limit(("stop",), first("stop", 4), _XAI, _LATER),
        Limit(("tools",), first("tools", 128), _XAI, _LATER),
        Limit(("temperature",), between("temperature", 0, 2), _XAI, _LATER),
        Limit(("top_logprobs",), between("top_logprobs", 0, 8), _XAI, _LATER),
    ),
}
"""Limits of servers of the `openai` dialect, by preset. A server without a preset may be OpenAI itself."""

DIALECTS: dict[Receiver, tuple[Limit, ...]] = {
    "openai": _EVERY_SERVER,
    "responses": (
        Limit(
            (
                "tools[].name",
                "tool_choice.name",
                "tool_choice.tools[].name",
                "input[].name",
            ),
            names(_NAME, 64),
            _RESPONSES,
            _TODAY,
        ),
        Limit(("input[]",), ids("item", chars=64), "https://github.com/decolua/9router/issues/393", _TODAY),
        Limit(("tools",), unique("tools", "name"), _UNCONFIRMED),
        Limit(("tools[].parameters",), object_schema, _RESPONSES, _TODAY),
        Limit(("user",), digest("user", 64), "https://github.com/maximhq/bifrost/pull/1000", _TODAY),
        Limit(("safety_identifier",), digest("safety_identifier", 64), _RESPONSES, _TODAY),
        Limit(
            ("prompt_cache_key",),
            digest("prompt_cache_key", 64),
            "https://github.com/earendil-works/pi/issues/4720",
            _TODAY,
        ),
        Limit(("input[].content[].image_url", "input[].output[].image_url"), data_urls, _RESPONSES, _TODAY),
        Limit(("text.format.name",), label("response_format.json_schema.name", _NAME, 64), _RESPONSES, _TODAY),
        Limit(("metadata",), pairs(16, 64, 512), _RESPONSES, _TODAY),
        Limit(("max_output_tokens",), most_tokens, _RESPONSES, _TODAY),
        Limit(("max_output_tokens",), between("max_tokens", 16, None), _RESPONSES, _TODAY),
        Limit(("temperature",), between("temperature", 0, 2), _RESPONSES, _TODAY),
        Limit(("top_p",), between("top_p", 0, 1), _RESPONSES, _TODAY),
        Limit(("top_logprobs",), between("top_logprobs", 0, 20), _RESPONSES, _TODAY),
    ),
    "anthropic": (
        Limit(
            ("tools[].name", "tool_choice.name", "messages[].content[].name"),
            names(_NAME, 128),
            "https://github.com/home-assistant/core/issues/147760",
            _TODAY,
        ),
        Limit(("tools",), unique("tools", "name"), _CODE, _LATER),
        Limit(
            ("messages[].content[].id",),
            ids("call", _NAME),
            "https://github.com/HKUDS/nanobot/pull/4356",
            _TODAY,
        ),
        Limit(
            ("messages[].content[].tool_use_id",),
            ids("result", _NAME),
            "https://github.com/HKUDS/nanobot/pull/4356",
            _TODAY,
        ),
        Limit(("tools[].input_schema",), object_schema, _MESSAGES, _TODAY),
        Limit(
            ("messages[].content[].source", "messages[].content[].content[].source"),
            media("media_type"),
            _MESSAGES,
            _TODAY,
        ),
        Limit(("metadata.user_id",), digest("user", 256), "https://github.com/vercel/ai/pull/12419", _TODAY),
        Limit(("max_tokens",), most_tokens, _MESSAGES, _TODAY),
        Limit(("temperature",), between("temperature", 0, 1), _MESSAGES, _TODAY),
        Limit(("top_p",), between("top_p", 0, 1), _MESSAGES, _TODAY),
    ),
    "gemini": (
        Limit(
            (
                "tools[].functionDeclarations[].name",
                "toolConfig.functionCallingConfig.allowedFunctionNames[]",
                "contents[].parts[].functionCall.name",
                "contents[].parts[].functionResponse.name",
            ),
            names(r"[a-zA-Z_][a-zA-Z0-9_.:-]*", 64),
            "https://github.com/kaitranntt/ccs/issues/25",
            _TODAY,
        ),
        Limit(("tools[].functionDeclarations[].parametersJsonSchema",), object_schema, _GEMINI, _TODAY),
        Limit(("tools[].functionDeclarations",), unique("tools", "name"), _CODE, _LATER),
        Limit(("generationConfig.stopSequences",), filled("stop"), _UNCONFIRMED),
        Limit(
            ("generationConfig.seed",),
            between("seed", -(2**31), 2**31 - 1),
            "https://github.com/googleapis/google-cloud-python: google-ai-generativelanguage 0.12.1",
            _LATER,
        ),
        Limit(("generationConfig.candidateCount",), between("n", 1, 8), _UNCONFIRMED),
        Limit(
            ("contents[].parts[].inlineData", "contents[].parts[].functionResponse.parts[].inlineData"),
            media("mimeType", "mime_type"),
            "https://ai.google.dev/gemini-api/docs/image-understanding",
            _TODAY,
        ),
        Limit(("generationConfig.stopSequences",), first("stop", 5), _GEMINI, _TODAY),
        Limit(("generationConfig.maxOutputTokens",), most_tokens, _GEMINI, _TODAY),
        Limit(("generationConfig.temperature",), between("temperature", 0, 2), _GEMINI, _TODAY),
        Limit(("generationConfig.topP",), between("top_p", 0, 1), _GEMINI, _TODAY),
        Limit(("generationConfig.logprobs",), between("top_logprobs", 0, 20), _GEMINI, _TODAY),
    ),
    "bedrock": (
        Limit(
            (
                "toolConfig.tools[].toolSpec.name",
                "toolConfig.toolChoice.tool.name",
                "messages[].content[].toolUse.name",
            ),
            names(_NAME, 64),
            _CONVERSE + "ToolSpecification.html",
            _TODAY,
        ),
        Limit(("toolConfig.tools",), unique("tools", "toolSpec", "name"), _UNCONFIRMED),
        Limit(
            ("messages[].content[].toolUse.toolUseId",),
            ids("call", _NAME, 64),
            _CONVERSE + "ToolUseBlock.html",
            _TODAY,
        ),
        Limit(
            ("messages[].content[].toolResult.toolUseId",),
            ids("result", _NAME, 64),
            _CONVERSE + "ToolResultBlock.html",
            _TODAY,
        ),
        Limit(
            ("toolConfig.tools[].toolSpec.inputSchema.json",),
            object_schema,
            _CONVERSE + "ToolInputSchema.html",
            _TODAY,
        ),
        Limit(
            ("requestMetadata.user",),
            digest("user", 256, r"[a-zA-Z0-9\s:_@$#=/+,.-]*"),
            _CONVERSE + "Converse.html",
            _TODAY,
        ),
        Limit(
            ("inferenceConfig.stopSequences",),
            first("stop", 2500),
            _CONVERSE + "InferenceConfiguration.html",
            _TODAY,
        ),
        Limit(("inferenceConfig.maxTokens",), most_tokens, _CONVERSE + "InferenceConfiguration.html", _TODAY),
        Limit(
            ("inferenceConfig.temperature",),
            between("temperature", 0, 1),
            _CONVERSE + "InferenceConfiguration.html",
            _TODAY,
        ),
        Limit(("inferenceConfig.topP",), between("top_p", 0, 1), _CONVERSE + "InferenceConfiguration.html", _TODAY),
    ),
}


MARKS: dict[Receiver, bytes] = {"anthropic": b'"cache_control"', "bedrock": b'"cachePoint"'}
"""How providers that limit the marks for a prompt's cache write one."""
_CAPITAL = re.compile(r"(?<=[a-z])[A-Z]")


@cache
def limits_of(receiver: Receiver, server: str = "") -> Limits:
    """Return the limits of a dialect. `server`: the preset, for the `openai` dialect."""
    rows = (*DIALECTS[receiver], *(SERVERS.get(server, ()) if receiver == "openai" else ()))
    rules = tree((tuple(_spellings(receiver, row.fields)), row.rule) for row in rows)
    return Limits(rules, MARKS.get(receiver, b""))


def _spellings(receiver: Receiver, fields: Iterable[str]) -> Iterable[str]:
    """Return the paths. Gemini's come in both spellings."""
    return [each for field in fields for each in spellings(field)] if receiver == "gemini" else fields


def spellings(field: str) -> tuple[str, ...]:
    """Return the names by which Google takes a field: `inline_data` as well as `inlineData`."""
    return tuple(dict.fromkeys((field, _CAPITAL.sub(lambda match: f"_{match[0].lower()}", field))))
