"""Writes requests of other dialects in the form of Chat Completions.

Source: https://platform.openai.com/docs/api-reference/chat/create.
"""

from __future__ import annotations

from typing import Any

from semroute.config.presets import Preset
from semroute.config.schema.models import Model
from semroute.dialects.openai.content import (
    render_function,
    render_schema,
    render_signature,
    thinking_chunk,
)
from semroute.dialects.shared.body_parsing import without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.forwarded_headers import NAMES, Header
from semroute.dialects.shared.thinking import effort_of, wants_thinking
from semroute.messages import (
    CacheTtl,
    ChatRequest,
    Document,
    Image,
    Message,
    Opaque,
    Params,
    Part,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

SIGNED = {"anthropic", "bedrock", "gemini", "responses"}
"""Origins of thoughts that cannot come from a server of this dialect."""
UNSIGNED = ("", "unsigned")
"""Origins of thoughts in plain text, which may come from a server that signs none."""
HEADERS = (Header("openai-beta", NAMES, "https://github.com/openai/openai-python: 3.57.0", "2026-11-30", joins=True),)
"""Headers of callers that are forwarded, in Responses too."""


def render_body(request: ChatRequest, model: Model, preset: Preset, dropped: Dropped) -> dict[str, Any]:
    """Render the body, without `model` and `stream`. What this dialect cannot express is noted."""
    params = request.params
    effort = effort_of(params) if wants_thinking(request, model, dropped) else None
    dropped.add_given(top_k=params.top_k is not None, n=params.n is not None and params.n > 1)
    choice = request.tool_choice if request.tools else None
    return without_empty(
        {
            "messages": _Messages(preset, model, dropped).render(request),
            "tools": [_tool(tool, preset, dropped) for tool in request.tools],
            "tool_choice": _tool_choice(choice) if choice else None,
            "parallel_tool_calls": params.parallel_tool_calls if request.tools else None,
            "max_tokens": params.max_tokens,
            "temperature": params.temperature,
            "top_p": params.top_p,
            "frequency_penalty": params.frequency_penalty,
            "presence_penalty": params.presence_penalty,
            "stop": list(params.stop),
            "seed": params.seed,
            "response_format": _response_format(params),
            "reasoning_effort": effort,
            "logprobs": params.logprobs or None,
            "top_logprobs": params.top_logprobs,
            "user": params.user or None,
            "service_tier": params.service_tier or None,
        }
    )


def _tool(tool: Tool, preset: Preset, dropped: Dropped) -> dict[str, Any]:
    return {"type": "function", "function": render_function(tool), **_mark(tool.cache, preset, dropped, tool=True)}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "tool" else choice.mode


def _response_format(params: Params) -> dict[str, Any] | None:
    if not params.json_output:
        return None
    if params.json_schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": render_schema(params.json_schema)}


def _mark(cache: CacheTtl | None, preset: Preset, dropped: Dropped, *, tool: bool = False) -> dict[str, Any]:
    """Render a cache mark as the server knows it."""
    if cache is None:
        return {}
    if preset.cache == "cache_control":
        return {"cache_control": {"type": "ephemeral", **({"ttl": cache} if cache != "5m" else {})}}
    if preset.cache == "prompt_cache_breakpoint" and not tool:
        dropped.add_given(**{"cache_control.ttl": cache != "5m"})
        return {"prompt_cache_breakpoint": {"mode": "explicit"}}
    dropped.add("cache_control")
    return {}


class _Messages:
    """Renders a conversation."""

    def __init__(self, preset: Preset, model: Model, dropped: Dropped) -> None:
        self._preset = preset
        self._reasons = "reasoning" in model.features
        self._dropped = dropped
        self._rendered: list[dict[str, Any]] = []
        self._media: list[Part] = []

    def render(self, request: ChatRequest) -> list[dict[str, Any]]:
        """Render the messages."""
        for message in request.messages:
            self._message(message)
        self._flush_media()
        return self._rendered

    def _message(self, message: Message) -> None:
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        for result in results:
            self._result(result)
        rest = tuple(part for part in message.parts if not isinstance(part, ToolResult))
        if rest or not results:
            self._flush_media()
            turn = self._turn(message, rest)
            if message.role != "assistant" or turn["content"] or len(turn) > 2:  # an empty turn is left out
                self._rendered.append(turn)

    def _result(self, result: ToolResult) -> None:
        """Render a tool result. A tool message takes only text, so its files follow in a user message."""
        self._dropped.add_given(**{"is_error": result.is_error, "cache_control": result.cache})
        self._rendered.append({"role": "tool", "tool_call_id": result.id, "content": result.text})
        self._media += result.media

    def _flush_media(self) -> None:
        content, self._media = self._content(tuple(self._media)), []
        if content:
            self._dropped.add("place of a tool result's file: sent as the user's")
            self._rendered.append({"role": "user", "content": content})

    def _turn(self, message: Message, parts: tuple[Part, ...]) -> dict[str, Any]:
        calls = [self._call(part) for part in parts if isinstance(part, ToolCall)]
        refusal = "".join(part.text for part in parts if isinstance(part, Refusal))
        thinking, parts = self._thoughts(parts)
        content = self._content(parts)
        turn: dict[str, Any] = {"role": message.role, "content": content or None if calls or refusal else content}
        fields = {
            "name": message.name or None,
            "refusal": refusal or None,
            "reasoning_content": thinking or None,
            "tool_calls": calls,
        }
        return {**turn, **without_empty(fields)}

    def _thoughts(self, parts: tuple[Part, ...]) -> tuple[str, tuple[Part, ...]]:
        """Return the text for `reasoning_content`, and the parts of the content. Some servers take thoughts there."""
        thoughts = [part for part in parts if isinstance(part, Thinking)]
        said = tuple(part for part in parts if not isinstance(part, Thinking))
        if self._preset.thoughts == "chunks" and self._reasons:
            own = [thought for thought in thoughts if thought.origin in UNSIGNED and thought.text]
            if len(own) < len(thoughts):
                self._dropped.add("thinking of another provider")
            return "", tuple(part for part in parts if part in own or part in said)
        if self._preset.thoughts != "reasoning_content":
            self._dropped.add_given(**{"thinking in the conversation": bool(thoughts)})
            return "", said
        own = [thought for thought in thoughts if thought.origin not in SIGNED]
        if len(own) < len(thoughts):
            self._dropped.add("thinking of another provider")
        return "\n".join(thought.text for thought in own), said

    def _call(self, part: ToolCall) -> dict[str, Any]:
        self._dropped.add_given(**{"cache_control": part.cache})
        function = {"name": part.name, "arguments": part.arguments or "{}"}
        return {"id": part.id, "type": "function", "function": function, **render_signature(part.signature)}

    def _content(self, parts: tuple[Part, ...]) -> str | list[dict[str, Any]]:
        """Render content as plain text if possible, because some compatible servers do not take a list."""
        content = [block for part in parts if (block := self._part(part)) is not None]
        if all(block.keys() == {"type", "text"} for block in content):
            return "\n".join(block["text"] for block in content)
        return content

    def _part(self, part: Part) -> dict[str, Any] | None:
        match part:
            case Text(text=text, cache=cache):
                return {"type": "text", "text": text, **_mark(cache, self._preset, self._dropped)}
            case Image(url=url, detail=detail, cache=cache):
                image = {"url": url, **({"detail": detail} if detail else {})}
                return {"type": "image_url", "image_url": image, **_mark(cache, self._preset, self._dropped)}
            case Document():
                return self._document(part)
            case Thinking(text=text):
                return thinking_chunk(text)
            case Opaque(kind=kind):
                self._dropped.add(kind)
        return None

    def _document(self, part: Document) -> dict[str, Any] | None:
        self._dropped.add_given(citations=part.cite)
        if not part.url.startswith("data:"):
            self._dropped.add("document by address")
            return None
        file = {"filename": part.name or "document", "file_data": part.url}
        return {"type": "file", "file": file, **_mark(part.cache, self._preset, self._dropped)}
