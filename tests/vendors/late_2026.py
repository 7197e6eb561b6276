"""What the models of late 2026 refuse, from their vendors' documentation, apart from the tables of the code.

Sources: https://platform.claude.com/docs/en/models/opus-5-5/whats-new-opus-5-5 (and sonnet-5-5, haiku-5-5),
https://developers.openai.com/api/docs/guides/deployment-checklist, https://docs.mistral.ai/inference/conversations/reasoning,
https://ai.google.dev/gemini-api/docs/generate-content/whats-new-gemini-3.6, https://docs.x.ai/docs/guides/reasoning,
https://api-docs.deepseek.com/guides/thinking_mode; read on 2026-11-30.
"""

from __future__ import annotations

import base64
import re
from typing import Any

CLAUDE_THINKING = {
    "opus-5-5": {None, "adaptive"},
    "sonnet-5-5": {None, "adaptive", "between_tools"},
    "haiku-5-5": {None, "adaptive", "disabled"},
}
SAMPLING = ("temperature", "top_p", "top_k")


def signature_of(model: str) -> str:
    """Thinking blocks of the newest models of Claude belong to one model."""
    return base64.b64encode(model.encode()).decode() if "5-5" in model else "c2ln"


def claude(model: str, thinking: dict[str, Any], forced: bool, last: str, sampling: bool) -> str:
    """Why a Claude refuses a request; empty: it does not."""
    family = next((family for family in CLAUDE_THINKING if family in model), None)
    if family is None:
        return ""
    if thinking.get("type") not in CLAUDE_THINKING[family]:
        return f'"thinking.type.{thinking["type"]}" is not supported for this model.'
    if forced and family != "haiku-5-5":
        return "tool_choice forces tool use, which is not supported for this model."
    if last == "assistant":
        return "This model does not support assistant message prefill."
    return "sampling parameters are not supported for this model." if sampling else ""


def messages(body: dict[str, Any]) -> str:
    """The same for a body of Messages."""
    for message in body["messages"]:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "thinking" and block["signature"] != signature_of(body["model"]):
                return "Invalid `signature` in `thinking` block"
    forced = (body.get("tool_choice") or {}).get("type") in ("any", "tool")
    sampling = any(name in body for name in SAMPLING)
    return claude(body["model"], body.get("thinking") or {}, forced, body["messages"][-1]["role"], sampling)


def converse(model: str, body: dict[str, Any]) -> str:
    """The same for a body of Converse."""
    config = body.get("inferenceConfig") or {}
    choice = (body.get("toolConfig") or {}).get("toolChoice") or {}
    thinking = (body.get("additionalModelRequestFields") or {}).get("thinking") or {}
    sampling = "temperature" in config or "topP" in config
    return claude(model, thinking, bool({"any", "tool"} & choice.keys()), body["messages"][-1]["role"], sampling)


def gemini(model: str, body: dict[str, Any]) -> str:
    """Why a Gemini refuses a request; empty: it does not. Those before 3.6 take all of it."""
    if not re.match(r"gemini-3\.[6-9]", model):
        return ""
    config = body.get("generationConfig") or {}
    level = (config.get("thinkingConfig") or {}).get("thinkingLevel")
    if level is not None and level.upper() not in ("LOW", "MEDIUM", "HIGH"):
        return f"reasoning_effort {level} is not supported for this model"
    if any(name in config for name in ("temperature", "topP", "topK")):
        return "sampling parameters are deprecated"
    return "the last turn must be the user's" if body["contents"][-1]["role"] == "model" else ""


def gpt(body: dict[str, Any], effort: str | None, *, chat: bool) -> str:
    """Why one of OpenAI's models refuses a request; empty: it does not."""
    model = body["model"]
    if not model.startswith("gpt-6"):
        return ""
    can_stop = model in ("gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra")
    if effort not in (None, "low", "medium", "high", "xhigh", "max", *(("none",) if can_stop else ())):
        return f"Unsupported value: '{effort}' is not supported with this model."
    if effort == "none":
        return ""
    if any(body.get(name) is not None for name in ("temperature", "top_p", "logprobs", "top_logprobs")):
        return "sampling is not supported with this model"
    if chat and body.get("tools"):
        return "Function tools with reasoning_effort are not supported in /v1/chat/completions."
    return ""


def chat(body: dict[str, Any]) -> str:
    """Why a server of Chat Completions refuses a request; empty: it does not."""
    model, effort = body["model"], body.get("reasoning_effort")
    turns = [message for message in body["messages"] if message["role"] == "assistant"]
    if model.startswith("deepseek"):
        called = [turn for turn in turns if turn.get("tool_calls")]
        lost = any("reasoning_content" not in turn for turn in called)
        return "The `reasoning_content` in the thinking mode must be passed back to the API." if lost else ""
    if model.startswith("mistral-large-4") and effort not in (None, "none", "low", "medium", "high"):
        return f"reasoning_effort: {effort}"
    if (
        re.match(r"mistral|grok", model)
        and {"prompt_cache_options", "stream_options.include_obfuscation"} & body.keys()
    ):
        return "Extra inputs are not permitted"
    if model.startswith("grok"):
        refused = {"stop", "presence_penalty", "frequency_penalty"} & body.keys()
        return f"Argument not supported: {refused or effort}" if refused or effort not in (None, *EFFORTS) else ""
    return gpt(body, effort, chat=True)


EFFORTS = ("low", "medium", "high")


def responses(body: dict[str, Any]) -> str:
    """The same for a body of Responses."""
    logprobs = "message.output_text.logprobs" in (body.get("include") or ())
    effort = (body.get("reasoning") or {}).get("effort")
    return gpt({**body, "logprobs": logprobs or None}, effort, chat=False)
