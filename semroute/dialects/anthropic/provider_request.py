"""Writes requests in Anthropic's form. Source: https://platform.claude.com/docs/en/api/messages."""

from __future__ import annotations

from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.content import NAME, render_cache, render_content
from semroute.dialects.anthropic.model_rules import FORCED, FORCED_THINKING
from semroute.dialects.anthropic.models import Traits, traits_of
from semroute.dialects.anthropic.thinking import is_on, max_tokens_of, sampling_of, thinking_of
from semroute.dialects.shared.alternating_turns import GO_ON, GO_ON_NOTE, alternate
from semroute.dialects.shared.body_parsing import without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.json_output import way_to_json
from semroute.messages import ChatRequest, Message, Params, Tool, ToolChoice, ToolMode

_TOOL_MODES: dict[ToolMode, str] = {"auto": "auto", "required": "any", "none": "none", "tool": "tool"}
_TIERS = {"auto": "auto", "default": "standard_only"}


def render_body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """Render the body, without `model` and `stream`. What this dialect cannot express is noted."""
    params, traits = request.params, traits_of(model.name)
    system, messages = _messages(request.messages, model, traits, dropped)
    thinking, effort = thinking_of(request, model, traits, (NAME,), dropped)
    thinks = is_on(thinking)
    tools = [_tool(tool) for tool in request.tools]
    choice = _tool_choice(request.tool_choice, params, traits, thinks, bool(tools), dropped)
    way = way_to_json(params, setting=traits.schemas, tool=traits.forced and not thinks and not tools)
    output: dict[str, Any] = {}
    if way.schema:
        output["format"] = {"type": "json_schema", "schema": way.schema.document}
    if way.tool:
        tools, choice = [_tool(way.tool)], {"type": "tool", "name": way.tool.name}
    if way.instruction:
        system = [*system, {"type": "text", "text": way.instruction}]
    if effort is not None:
        output["effort"] = effort
    _note_the_rest(params, dropped)
    return without_empty(
        {
            "max_tokens": max_tokens_of(params, model),
            "system": system[0]["text"] if [*map(set, system)] == [{"type", "text"}] else system,
            "messages": messages,
            "tools": tools,
            "tool_choice": choice,
            "thinking": thinking or None,
            "output_config": output or None,
            **sampling_of(params, traits, thinks, dropped),
            "stop_sequences": _stop(params, dropped),
            "metadata": {"user_id": params.user} if params.user else None,
            "service_tier": _tier(params, dropped),
        }
    )


# --- the conversation -------------------------------------------------------------------------------------------------


def _messages(
    messages: tuple[Message, ...], model: Model, traits: Traits, dropped: Dropped
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system prompt, and the alternating turns of user and assistant."""

    def render(message: Message) -> list[dict[str, Any]]:
        return render_content(message.parts, dropped, model.name)

    system, alternating = alternate(messages, render, dropped)
    turns: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in alternating]
    if turns and turns[-1]["role"] == "assistant":
        _end_in_text(turns[-1]["content"], dropped)
        if not traits.prefill:
            dropped.add(GO_ON_NOTE)
            turns.append({"role": "user", "content": [{"type": "text", "text": GO_ON}]})
    for turn in turns:
        if [*map(set, turn["content"])] == [{"type", "text"}]:
            turn["content"] = turn["content"][0]["text"]
    return system, turns


def _end_in_text(content: list[dict[str, Any]], dropped: Dropped) -> None:
    """Remove white space from the end of a last turn that the model continues. Anthropic refuses it there."""
    last = content[-1]
    if last["type"] == "text" and last["text"] != last["text"].rstrip():
        dropped.adapt("white space at the end of the last turn: left out")
        last["text"] = last["text"].rstrip()


def _tool(tool: Tool) -> dict[str, Any]:
    fields = without_empty({"description": tool.description or None, "strict": tool.strict})
    schema = tool.parameters or {"type": "object", "properties": {}}
    return {"name": tool.name, **fields, "input_schema": schema, **render_cache(tool.cache)}


def _tool_choice(
    choice: ToolChoice | None, params: Params, traits: Traits, thinks: bool, has_tools: bool, dropped: Dropped
) -> dict[str, Any] | None:
    serial = params.parallel_tool_calls is False
    if not has_tools or (choice is None and params.parallel_tool_calls is None):
        return None
    mode = choice.mode if choice else "auto"
    if mode in ("required", "tool") and (thinks or not traits.forced):
        dropped.add(FORCED_THINKING if traits.forced else FORCED)
        mode = "auto"
    rendered: dict[str, Any] = {"type": _TOOL_MODES[mode]}
    if choice and mode == "tool":
        rendered["name"] = choice.name
    if mode != "none" and params.parallel_tool_calls is not None:
        rendered["disable_parallel_tool_use"] = serial
    return rendered


# --- the form of the answer -------------------------------------------------------------------------------------------


def _stop(params: Params, dropped: Dropped) -> list[str]:
    if any(not stop.strip() for stop in params.stop):
        dropped.add("stop: texts of white space alone")
    return [stop for stop in params.stop if stop.strip()]


def _tier(params: Params, dropped: Dropped) -> str | None:
    tier = _TIERS.get(params.service_tier)
    dropped.add_given(**{f"service_tier {params.service_tier}": bool(params.service_tier) and tier is None})
    return tier


def _note_the_rest(params: Params, dropped: Dropped) -> None:
    dropped.add_chat_sampling(params)
    dropped.add_given(
        logprobs=params.logprobs,
    )
