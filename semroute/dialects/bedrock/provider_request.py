"""Writes requests in Converse's form.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.dialects.anthropic.model_rules import FORCED, FORCED_THINKING
from semroute.dialects.anthropic.thinking import is_on, max_tokens_of, sampling_of, thinking_of
from semroute.dialects.bedrock.content import CLAUDE_ORIGINS, Blocks
from semroute.dialects.bedrock.models import Traits, traits_of
from semroute.dialects.shared.alternating_turns import GO_ON, GO_ON_NOTE, OPENING, alternate, has_results
from semroute.dialects.shared.body_parsing import without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.json_output import way_to_json
from semroute.dialects.shared.thinking import effort_of, wants_thinking
from semroute.messages import ChatRequest, Effort, JsonSchema, Message, Params, Tool, ToolChoice

READ_THIS = "Read the document."
"""A text for turns that hold a document and no text. Converse requires one."""
_LEVELS: dict[Effort, str] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}
_TIERS = ("default", "flex", "priority", "reserved")
_ANY_OBJECT = {"type": "object", "properties": {}}


class Thought(Frozen, frozen=True, kw_only=True):
    """The settings for thinking."""

    on: bool = False
    """The model thinks before it answers."""
    effort: str = ""
    """The effort for the whole output. Empty: not sent."""
    limited: bool = True
    """The token limit and sampling settings may be sent too."""
    fields: dict[str, Any] = {}
    """Fields for `additionalModelRequestFields`."""


def render_body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """Render the body. What this dialect cannot express is noted."""
    params, traits = request.params, traits_of(model.name)
    blocks = Blocks(model.name, traits, dropped)
    system, messages = _messages(request.messages, traits, blocks, dropped)
    thought = (
        _claude_thought(request, model, traits, dropped) if traits.claude else _thought(request, model, traits, dropped)
    )
    may_force = traits.forced == "tool" and not thought.on and not request.tools
    tool = params.json_schema is not None and may_force and not has_results(request.messages)
    way = way_to_json(params, setting=traits.schemas, tool=tool)
    if way.instruction:
        system.append({"text": way.instruction})
    tools = _tools(request, messages, way.tool, traits, blocks, dropped)
    if tools:
        tools |= _tool_choice(request.tool_choice, way.tool, traits, thought, dropped)
    inference, fields = _inference(params, model, traits, thought, dropped)
    output = without_empty(
        {"textFormat": _text_format(way.schema) if way.schema else None, "effort": thought.effort or None}
    )
    _note_the_rest(params, dropped)
    return without_empty(
        {
            "messages": messages,
            "system": system,
            "inferenceConfig": inference or None,
            "toolConfig": tools or None,
            "additionalModelRequestFields": {**fields, **thought.fields} or None,
            "outputConfig": output or None,
            "requestMetadata": {"user": params.user} if params.user else None,
            "serviceTier": {"type": params.service_tier} if params.service_tier in _TIERS else None,
        }
    )


# --- the conversation -------------------------------------------------------------------------------------------------


def _messages(
    messages: tuple[Message, ...], traits: Traits, blocks: Blocks, dropped: Dropped
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the system prompt, and the alternating turns of user and assistant. The first turn is the user's."""

    def render(message: Message) -> list[dict[str, Any]]:
        rendered = blocks.render(message.parts)
        return _system(rendered, dropped) if message.role == "system" else rendered

    system, alternating = alternate(messages, render, dropped)
    turns: list[dict[str, Any]] = [{"role": role, "content": content} for role, content in alternating]
    turns = turns or [{"role": "user", "content": [{"text": OPENING}]}]
    if traits.claude is not None and turns[-1]["role"] == "assistant":
        _end_in_text(turns[-1]["content"], dropped)
        if not traits.claude.prefill:
            dropped.add(GO_ON_NOTE)
            turns.append({"role": "user", "content": [{"text": GO_ON}]})
    for turn in turns:
        kinds = {kind for block in turn["content"] for kind in block}
        if "document" in kinds and "text" not in kinds:
            turn["content"].append({"text": READ_THIS})
    return system, turns


def _end_in_text(content: list[dict[str, Any]], dropped: Dropped) -> None:
    """Remove white space from the end of a last turn that Claude continues. It refuses it there.

    Source: public code, which looks for "final assistant content cannot end with trailing whitespace", 2026-11-30.
    """
    text = content[-1].get("text")
    if isinstance(text, str) and text != text.rstrip():
        dropped.adapt("white space at the end of the last turn: left out")
        content[-1]["text"] = text.rstrip()


def _system(blocks: list[dict[str, Any]], dropped: Dropped) -> list[dict[str, Any]]:
    """Keep only the texts and cache points of a system message. Other blocks are noted."""
    for block in blocks:
        dropped.add_given(**{f"{kind} of a system message": kind not in ("text", "cachePoint") for kind in block})
    return [block for block in blocks if "text" in block or "cachePoint" in block]


# --- tools ------------------------------------------------------------------------------------------------------------


def _tools(
    request: ChatRequest,
    messages: list[dict[str, Any]],
    forced: Tool | None,
    traits: Traits,
    blocks: Blocks,
    dropped: Dropped,
) -> dict[str, Any]:
    """Render the tools. A conversation with tool calls must declare tools, even if none may be called."""
    called = dict.fromkeys(
        block["toolUse"]["name"] for turn in messages for block in turn["content"] if "toolUse" in block
    )
    answers = any("toolResult" in block for turn in messages for block in turn["content"])
    offered = [forced] if forced else list(request.tools)
    if request.tool_choice is not None and request.tool_choice.mode == "none" and not forced:
        if not called and not answers:
            return {}
        dropped.add_given(**{"tool_choice none": bool(offered)})
    if not offered and (called or answers):
        dropped.add("tools: those that the conversation calls are declared")
        offered = [Tool(name=name) for name in called or ("tool",)]
    rendered: list[dict[str, Any]] = []
    for tool in offered:
        strict = tool.strict if traits.schemas else None
        dropped.add_given(**{"tools.function.strict": tool.strict and not strict})
        fields = without_empty({"description": tool.description or None, "strict": strict})
        schema = {"json": tool.parameters or _ANY_OBJECT}
        rendered.append({"toolSpec": {"name": tool.name, **fields, "inputSchema": schema}})
        rendered += blocks.cache_point(tool.cache, after_tool=True)
    return {"tools": rendered} if rendered else {}


def _tool_choice(
    choice: ToolChoice | None, forced: Tool | None, traits: Traits, thought: Thought, dropped: Dropped
) -> dict[str, Any]:
    if forced is not None:
        return {"toolChoice": {"tool": {"name": forced.name}}}
    if choice is None or choice.mode not in ("required", "tool"):
        return {}  # automatic
    if thought.on and traits.claude and traits.forced:
        dropped.add(FORCED_THINKING)
        return {}
    if not traits.forced:
        dropped.add(FORCED)
        return {}
    if choice.mode == "required":
        return {"toolChoice": {"any": {}}}
    if traits.forced == "any":
        dropped.add("tool_choice: the model can be forced to call a tool, but not a certain one")
        return {"toolChoice": {"any": {}}}
    return {"toolChoice": {"tool": {"name": choice.name}}}


# --- thinking ---------------------------------------------------------------------------------------------------------


def _claude_thought(request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> Thought:
    assert traits.claude is not None
    thinking, effort = thinking_of(request, model, traits.claude, CLAUDE_ORIGINS, dropped)
    return Thought(on=is_on(thinking), effort=effort or "", fields={"thinking": thinking} if thinking else {})


def _thought(request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> Thought:
    if not wants_thinking(request, model, dropped):
        return Thought()
    effort = effort_of(request.params)
    if effort is None:  # as much as the model likes
        return Thought()
    if not traits.thinking:
        dropped.add("reasoning_effort: the model has no setting for it")
        return Thought()
    if effort == "none" and traits.thinking == "reasoningConfig":
        return Thought(fields={"reasoningConfig": {"type": "disabled"}})
    level = _LEVELS.get(effort, "low")
    if level != effort:
        dropped.add(f"reasoning_effort {effort}: sent as {level}")
    if traits.thinking == "reasoning_effort":
        return Thought(on=True, fields={"reasoning_effort": level})
    config = {"type": "enabled", "maxReasoningEffort": level}
    return Thought(on=True, limited=level != "high", fields={"reasoningConfig": config})


# --- settings ---------------------------------------------------------------------------------------------------------


def _inference(
    params: Params, model: Model, traits: Traits, thought: Thought, dropped: Dropped
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the settings that all models take, and those of this model alone."""
    if traits.claude:
        settings = sampling_of(params, traits.claude, thought.on, dropped)
    else:
        settings = _sampling(params, traits, dropped)
    limit = params.max_tokens
    if limit is not None or "budget_tokens" in thought.fields.get("thinking", ()):
        limit = max_tokens_of(params, model)
    temperature, top_p, top_k = (settings.get(name) for name in ("temperature", "top_p", "top_k"))
    if not thought.limited:
        dropped.add_given(max_tokens=limit, temperature=temperature is not None, top_p=top_p is not None)
        limit = temperature = top_p = None
    stop = [stop for stop in params.stop if (stop.strip() if traits.claude else stop)]
    dropped.add_given(**{"stop: texts of white space alone": len(stop) < len(params.stop)})
    inference = without_empty({"maxTokens": limit, "temperature": temperature, "topP": top_p, "stopSequences": stop})
    return inference, {} if top_k is None else _nested(traits.top_k, top_k)


def _nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    name, *rest = path
    return {name: _nested(tuple(rest), value) if rest else value}


def _sampling(params: Params, traits: Traits, dropped: Dropped) -> dict[str, Any]:
    """Return the sampling settings of a model other than Claude."""
    top_k = params.top_k if traits.top_k else None
    dropped.add_given(top_k=params.top_k is not None and top_k is None)
    return {"temperature": params.temperature, "top_p": params.top_p, "top_k": top_k}


def _text_format(schema: JsonSchema) -> dict[str, Any]:
    document = msgspec.json.encode(schema.document).decode()
    fields = without_empty({"schema": document, "name": schema.name, "description": schema.description or None})
    return {"type": "json_schema", "structure": {"jsonSchema": fields}}


def _note_the_rest(params: Params, dropped: Dropped) -> None:
    tier = params.service_tier
    dropped.add_chat_sampling(params)
    dropped.add_given(
        logprobs=params.logprobs,
        parallel_tool_calls=params.parallel_tool_calls is False,
        **{f"service_tier {tier}": bool(tier) and tier not in ("auto", *_TIERS)},
    )
