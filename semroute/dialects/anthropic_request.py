"""A request in Anthropic's form. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from typing import Any

from semroute.dialects.anthropic_blocks import NAME, render_cache, render_content
from semroute.dialects.anthropic_models import Traits, traits_of
from semroute.dialects.dropped import Dropped
from semroute.dialects.reading import given
from semroute.dialects.structured import answer_tool, instruction, is_closed
from semroute.dialects.thinking import budget_of, effort_of, wants_thinking
from semroute.types import ChatRequest, Effort, Message, Model, Params, Thinking, Tool, ToolChoice, ToolMode

DEFAULT_MAX_TOKENS = 8192
"""Anthropic wants a limit; this one stands in where neither the caller nor the registry names one."""
MIN_BUDGET_TOKENS = 1024
_TOOL_MODES: dict[ToolMode, str] = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}
_TIERS = {"auto": "auto", "default": "standard_only"}


def render_body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """The body, without `model` and `stream`; what has no counterpart is noted."""
    params, traits = request.params, traits_of(model.name)
    system, messages = _messages(request.messages, dropped)
    thinking = _thinking(request, model, traits, dropped)
    thinks = thinking.get("type") in ("enabled", "adaptive")
    tools = [_tool(tool) for tool in request.tools]
    choice = _tool_choice(request.tool_choice, params, thinks, bool(tools), dropped)
    output, forced, told = _json(request, traits, thinks)
    if forced:
        tools, choice = [_tool(forced)], {"type": "tool", "name": forced.name}
    if told:
        system = [*system, {"type": "text", "text": told}]
    if effort := _effort(request, model, traits, dropped):
        output["effort"] = effort
    _note_the_rest(params, dropped)
    return given(
        {
            "max_tokens": _max_tokens(params, model),
            "system": system[0]["text"] if [*map(set, system)] == [{"type", "text"}] else system,
            "messages": messages,
            "tools": tools,
            "tool_choice": choice,
            "thinking": thinking or None,
            "output_config": output or None,
            **_sampling(params, traits, thinks, dropped),
            "stop_sequences": _stop(params, dropped),
            "metadata": {"user_id": params.user} if params.user else None,
            "service_tier": _tier(params, dropped),
        }
    )


# --- the conversation -------------------------------------------------------------------------------------------------


def _messages(messages: tuple[Message, ...], dropped: Dropped) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The system prompt, and the turns of user and assistant in alternation."""
    system: list[dict[str, Any]] = []
    turns: list[dict[str, Any]] = []
    for message in messages:
        dropped.add_given(**{"message name": message.name})
        blocks = render_content(message.parts, dropped)
        if message.role == "system":
            if turns:
                dropped.add("place of a system message: sent at the start")
            system += blocks
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        elif blocks:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        if [*map(set, turn["content"])] == [{"type", "text"}]:
            turn["content"] = turn["content"][0]["text"]
    return system, turns


def _tool(tool: Tool) -> dict[str, Any]:
    fields = given({"description": tool.description or None, "strict": tool.strict})
    schema = tool.parameters or {"type": "object", "properties": {}}
    return {"name": tool.name, **fields, "input_schema": schema, **render_cache(tool.cache)}


def _tool_choice(
    choice: ToolChoice | None, params: Params, thinks: bool, has_tools: bool, dropped: Dropped
) -> dict[str, Any] | None:
    serial = params.parallel_tool_calls is False
    if not has_tools or (choice is None and params.parallel_tool_calls is None):
        return None
    mode = choice.mode if choice else "auto"
    if thinks and mode in ("required", "tool"):
        dropped.add("tool choice: a model that thinks cannot be forced")
        mode = "auto"
    rendered: dict[str, Any] = {"type": _TOOL_MODES[mode]}
    if choice and mode == "tool":
        rendered["name"] = choice.name
    if mode != "none" and params.parallel_tool_calls is not None:
        rendered["disable_parallel_tool_use"] = serial
    return rendered


# --- thinking ---------------------------------------------------------------------------------------------------------


def _thinking(request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> dict[str, Any]:
    params = request.params
    if not wants_thinking(request, model, dropped):
        return {}
    if effort_of(params) == "none":
        if traits.must_think:
            dropped.add("reasoning effort none: the model always thinks")
            return {}
        return {"type": "disabled"}
    if traits.adaptive:
        return {"type": "adaptive", **({"display": "summarized"} if params.show_thinking else {})}
    return _budget(request, model, dropped)


def _budget(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """How many tokens it may think: less than it may answer in all."""
    max_tokens = _max_tokens(request.params, model)
    wanted = budget_of(request.params) or -1
    exact = wanted > 0 and request.params.effort is None
    budget_tokens = wanted if exact else min(wanted if wanted > 0 else max_tokens, max_tokens // 2)
    budget_tokens = max(MIN_BUDGET_TOKENS, budget_tokens)
    if budget_tokens >= max_tokens:
        dropped.add(f"reasoning effort: max_tokens {max_tokens} leaves no room for {budget_tokens} tokens of thinking")
        return {}
    if _misses_thoughts(request.messages):
        dropped.add("reasoning effort: the thoughts before the last tool call are another provider's")
        return {}
    return {"type": "enabled", "budget_tokens": budget_tokens}


def _misses_thoughts(messages: tuple[Message, ...]) -> bool:
    """Whether a tool's result is being answered, and what was thought before its call cannot be sent."""
    if not messages or messages[-1].role != "tool":
        return False
    last = next((message for message in reversed(messages) if message.role == "assistant"), None)
    own = [part for part in last.parts if isinstance(part, Thinking) and part.origin == NAME] if last else []
    return not own


def _effort(request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> Effort | None:
    if not traits.efforts or "reasoning" not in model.features:
        return None
    effort = effort_of(request.params)
    if effort is None or effort == "none" or effort in traits.efforts:
        return None if effort == "none" else effort
    nearest: Effort = "low" if effort == "minimal" else "high"
    dropped.add(f"reasoning effort {effort}: sent as {nearest}")
    return nearest


# --- the form of the answer -------------------------------------------------------------------------------------------


def _json(request: ChatRequest, traits: Traits, thinks: bool) -> tuple[dict[str, Any], Tool | None, str]:
    """JSON by the model's own setting, else by a tool, else by an instruction."""
    schema = request.params.json_schema
    if schema is None:
        return {}, None, instruction(None) if request.params.json_output else ""
    if traits.schemas and is_closed(schema.document):
        return {"format": {"type": "json_schema", "schema": schema.document}}, None, ""
    if not thinks and not request.tools and schema.document.get("type") == "object":
        return {}, answer_tool(schema), ""
    return {}, None, instruction(schema)


def _max_tokens(params: Params, model: Model) -> int:
    limit = model.max_output_tokens
    if params.max_tokens is None:
        return limit or DEFAULT_MAX_TOKENS
    return min(params.max_tokens, limit) if limit else params.max_tokens


def _stop(params: Params, dropped: Dropped) -> list[str]:
    if any(not stop.strip() for stop in params.stop):
        dropped.add("stop sequences of white space")
    return [stop for stop in params.stop if stop.strip()]


def _sampling(params: Params, traits: Traits, thinks: bool, dropped: Dropped) -> dict[str, Any]:
    """Anthropic's temperature ends at 1, and a model that thinks takes none. `top_p` goes with no temperature."""
    temperature, top_p, top_k = params.temperature, params.top_p, params.top_k
    if not traits.sampling or thinks:
        dropped.add_given(
            temperature=temperature is not None and temperature != 1,
            top_p=top_p is not None and top_p != 1,
            top_k=top_k is not None,
        )
        return {}
    if temperature is not None and temperature > 1:
        dropped.add(f"temperature {temperature:g}: sent as 1")
        temperature = 1.0
    if temperature is not None and top_p is not None:
        dropped.add_given(top_p=top_p != 1)
        top_p = None
    return {"temperature": temperature, "top_p": top_p, "top_k": top_k}


def _tier(params: Params, dropped: Dropped) -> str | None:
    tier = _TIERS.get(params.service_tier)
    dropped.add_given(**{f"service tier {params.service_tier}": bool(params.service_tier) and tier is None})
    return tier


def _note_the_rest(params: Params, dropped: Dropped) -> None:
    dropped.add_given(
        frequency_penalty=params.frequency_penalty,
        presence_penalty=params.presence_penalty,
        seed=params.seed is not None,
        n=params.n is not None and params.n > 1,
        logprobs=params.logprobs,
    )
