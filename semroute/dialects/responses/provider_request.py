"""Writes requests in the form of Responses.

Source: https://platform.openai.com/docs/api-reference/responses/create.
"""

from __future__ import annotations

from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.openai.content import render_function, render_schema
from semroute.dialects.openai.model_rules import LOGPROBS
from semroute.dialects.responses.content import render_input
from semroute.dialects.responses.tools import render_tool_choice
from semroute.dialects.shared.body_parsing import without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.thinking import effort_of, wants_thinking
from semroute.messages import (
    ChatRequest,
    Params,
    Tool,
)


def render_body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    """Render the body, without `model` and `stream`. What this dialect cannot express is noted."""
    params = request.params
    _note_the_rest(params, dropped)
    choice = request.tool_choice if request.tools else None
    return without_empty(
        {
            "input": render_input(request.messages, dropped),
            "tools": [_tool(tool, dropped) for tool in request.tools],
            "tool_choice": render_tool_choice(choice) if choice else None,
            "parallel_tool_calls": params.parallel_tool_calls if request.tools else None,
            "max_output_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "top_logprobs": params.top_logprobs,
            "text": {"format": _text_format(params)} if params.json_output else None,
            **_reasoning(request, model, dropped),
            "user": params.user or None,
            "service_tier": params.service_tier or None,
            "store": False,
        }
    )


def _tool(tool: Tool, dropped: Dropped) -> dict[str, Any]:
    """Render a tool. It is strict only if the caller asked for that. In Responses the default is strict."""
    dropped.add_given(**{"cache_control": tool.cache})
    return {"type": "function", **render_function(tool), "strict": bool(tool.strict)}


def _text_format(params: Params) -> dict[str, Any]:
    if params.json_schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", **render_schema(params.json_schema)}


def _reasoning(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    include = [LOGPROBS] if request.params.logprobs else []
    if not wants_thinking(request, model, dropped):
        return {"include": include}
    summary = "auto" if request.params.show_thinking else None
    reasoning = without_empty({"effort": effort_of(request.params), "summary": summary})
    return {"reasoning": reasoning or None, "include": [*include, "reasoning.encrypted_content"]}


def _note_the_rest(params: Params, dropped: Dropped) -> None:
    dropped.add_chat_sampling(params)
    dropped.add_given(
        top_k=params.top_k is not None,
        **{"stop": params.stop},
    )
