"""Writes requests in Gemini's form. Source: https://ai.google.dev/api/generate-content."""

from __future__ import annotations

from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.gemini.content import Parts
from semroute.dialects.gemini.models import traits_of
from semroute.dialects.shared.alternating_turns import alternate
from semroute.dialects.shared.body_parsing import without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.forwarded_headers import Header
from semroute.dialects.shared.json_output import instruction
from semroute.dialects.shared.model_abilities import fitting_effort
from semroute.dialects.shared.thinking import budget_of, effort_of, wants_thinking
from semroute.messages import ChatRequest, Message, Params, Tool, ToolChoice, ToolMode

_MODES: dict[ToolMode, str] = {"auto": "AUTO", "none": "NONE", "required": "ANY", "tool": "ANY"}
_PAYGO = "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/priority-paygo"
_WORD = r"[\w-]+"
HEADERS = (
    Header("x-vertex-ai-llm-request-type", _WORD, _PAYGO, "2026-11-30"),
    Header("x-vertex-ai-llm-shared-request-type", _WORD, _PAYGO, "2026-11-30"),
)
"""Headers of callers that are forwarded."""
_TIERS = {"default": "standard", "flex": "flex", "priority": "priority"}


def render_body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """Render the body. What this dialect cannot express is noted."""
    params = request.params
    traits = traits_of(model.name)
    parts = Parts(dropped, sign_calls=traits.signs_calls)
    system, contents = _contents(request.messages, parts, dropped)
    form, told = _form(request, model)
    if told:
        system.append({"text": told})
    config = without_empty(
        {
            "maxOutputTokens": params.max_tokens,
            "temperature": params.temperature,
            "topP": params.top_p,
            "topK": params.top_k,
            "frequencyPenalty": params.frequency_penalty,
            "presencePenalty": params.presence_penalty,
            "stopSequences": list(params.stop),
            "seed": params.seed,
            "responseLogprobs": params.logprobs or None,
            "logprobs": params.top_logprobs,
            "thinkingConfig": _thinking(request, model, dropped),
            **form,
        }
    )
    _note_the_rest(request, dropped)
    return without_empty(
        {
            "systemInstruction": {"parts": system} if system else None,
            "contents": contents,
            "tools": [{"functionDeclarations": [_tool(tool, dropped) for tool in request.tools]}]
            if request.tools
            else None,
            "toolConfig": _tool_config(request.tool_choice) if request.tools and request.tool_choice else None,
            "generationConfig": config or None,
            "serviceTier": _TIERS.get(params.service_tier),
        }
    )


def _contents(
    messages: tuple[Message, ...], parts: Parts, dropped: Dropped
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system instruction, and the alternating turns of user and model."""

    def render(message: Message) -> list[dict[str, Any]]:
        return parts.all(message.parts)

    system, turns = alternate(messages, render, dropped)
    roles = {"user": "user", "assistant": "model"}
    return system, [{"role": roles[role], "parts": content} for role, content in turns]


def _tool(tool: Tool, dropped: Dropped) -> dict[str, Any]:
    dropped.add_given(**{"cache_control": tool.cache, "tools.function.strict": tool.strict})
    says = any(tool.parameters.get(each) for each in ("properties", "allOf", "anyOf", "oneOf", "$ref"))
    parameters = tool.parameters if says else None  # Gemini refuses an empty object
    return {"name": tool.name, "description": tool.description, **without_empty({"parametersJsonSchema": parameters})}


def _tool_config(choice: ToolChoice) -> dict[str, Any]:
    names = [choice.name] if choice.mode == "tool" else []
    return {"functionCallingConfig": without_empty({"mode": _MODES[choice.mode], "allowedFunctionNames": names})}


def _form(request: ChatRequest, model: Model) -> tuple[dict[str, Any], str]:
    """Ask for JSON by the model's setting. Older models do not take it beside tools, and get an instruction."""
    params = request.params
    if not params.json_output:
        return {}, ""
    if request.tools and not traits_of(model.name).levels:
        return {}, instruction(params.json_schema)
    schema = params.json_schema.document if params.json_schema else None
    return without_empty({"responseMimeType": "application/json", "responseJsonSchema": schema}), ""


def _thinking(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any] | None:
    params = request.params
    if not wants_thinking(request, model, dropped):
        return None
    shown = {"includeThoughts": True} if params.show_thinking else {}
    levels = traits_of(model.name).levels
    if not levels:
        return {"thinkingBudget": budget_of(params), **shown}
    effort = effort_of(params)
    if effort is None:  # as much as the model likes
        return shown or None
    return {"thinkingLevel": fitting_effort(effort, levels, dropped), **shown}


def _note_the_rest(request: ChatRequest, dropped: Dropped) -> None:
    params: Params = request.params
    tier = params.service_tier
    dropped.add_given(
        user=params.user,
        n=params.n is not None and params.n > 1,
        parallel_tool_calls=params.parallel_tool_calls is False,
        **{
            f"service_tier {tier}": bool(tier) and tier not in ("auto", *_TIERS),
        },
    )
