"""Answers in Ollama's form: whole, or a JSON object a line. Source: https://docs.ollama.com/api."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from semroute.dialects.shared.body_parsing import object_of
from semroute.dialects.shared.thinking import signed_id
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
    Completion,
    FinishReason,
    Part,
    Refusal,
    Text,
    Thinking,
    TokenLogprob,
    ToolCall,
    Usage,
)
from semroute.record import Record

NAME: Final = "ollama"
LINES: Final = "application/x-ndjson"
"""The media type of a streamed answer."""
SILENT: Final = (
    b'{"model":"","created_at":"1970-01-01T00:00:00Z","message":{"role":"assistant","content":""},"response":"",'
    b'"done":false}\n'
)
"""A line that says nothing, in both kinds of answers: it keeps a connection alive."""
NS_PER_MS = 1_000_000

Said = Callable[[str, str, list[dict[str, Any]]], dict[str, Any]]
"""What an answer says: from the text, the thoughts and the calls of tools."""


def said_in_chat(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """As `/api/chat` says it."""
    message: dict[str, Any] = {"role": "assistant", "content": text}
    return {
        "message": message | ({"thinking": thinking} if thinking else {}) | ({"tool_calls": calls} if calls else {})
    }


def said_in_text(text: str, thinking: str, calls: list[dict[str, Any]]) -> dict[str, Any]:
    """As `/api/generate` says it."""
    return {"response": text} | ({"thinking": thinking} if thinking else {})


def answer(said: Said, completion: Completion, record: Record, request: ChatRequest) -> dict[str, Any]:
    """A whole answer."""
    text, thinking = _texts(completion.parts)
    calls = [part for part in completion.parts if isinstance(part, ToolCall)]
    head: dict[str, Any] = {"model": completion.model, "created_at": _now()}
    head |= said(text, thinking, [_call(call) for call in calls])
    if completion.logprobs:
        head["logprobs"] = _logprobs(completion.logprobs)
    return head | _end(completion.finish_reason, completion.usage or record.usage, record)


def loaded(model: str, said: Said, *, unload: bool) -> dict[str, Any]:
    """The answer to a request without a prompt, by which clients load a model, or unload it."""
    reason = "unload" if unload else "load"
    return {"model": model, "created_at": _now(), **said("", "", []), "done": True, "done_reason": reason}


def embeddings_of(completion: Completion, record: Record) -> dict[str, Any]:
    """The vectors of OpenAI's answer."""
    found = msgspec.json.decode(completion.raw).get("data") or []
    usage = completion.usage or record.usage
    return {
        "model": record.model or completion.model,
        "embeddings": [row.get("embedding") for row in sorted(found, key=lambda row: row.get("index") or 0)],
        "total_duration": _ns(record.latency_ms),
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
    }


class OllamaStream:
    """A JSON object a line; the last one has `done` and the account. Calls of tools are told whole."""

    keep_alive = SILENT

    def __init__(self, request: ChatRequest, said: Said) -> None:
        self._said = said
        self._model = ""
        self._calls: dict[int, ToolCall] = {}
        self._usage: Usage | None = None
        self._finish_reason: FinishReason = "stop"

    def chunk(self, chunk: Chunk) -> bytes:
        """A line for what the chunk says."""
        self._usage = chunk.usage or self._usage
        self._model = chunk.model or self._model
        self._finish_reason = chunk.finish_reason or self._finish_reason
        for part in chunk.parts:
            if isinstance(part, ToolCall):
                begun = self._calls.get(part.index, ToolCall(index=part.index))
                self._calls[part.index] = ToolCall(
                    id=begun.id or part.id,
                    name=begun.name or part.name,
                    arguments=begun.arguments + part.arguments,
                    index=part.index,
                    signature=begun.signature or part.signature,
                )
        text, thinking = _texts(chunk.parts)
        if not text and not thinking:
            return b""
        logprobs = {"logprobs": _logprobs(chunk.logprobs)} if chunk.logprobs else {}
        return self._line(self._said(text, thinking, []) | logprobs | {"done": False})

    def end(self, record: Record) -> bytes:
        """The calls, and the account."""
        calls = [_call(call) for _, call in sorted(self._calls.items())]
        lines = self._line(self._said("", "", calls) | {"done": False}) if calls else b""
        account = _end(self._finish_reason, self._usage or record.usage, record)
        return lines + self._line(self._said("", "", []) | account)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """A line with the error, and none that is `done`."""
        return msgspec.json.encode({"error": str(error)}) + b"\n"

    def _line(self, fields: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"model": self._model, "created_at": _now(), **fields}) + b"\n"


def _texts(parts: Iterable[Part]) -> tuple[str, str]:
    """What is said, refusals included, and what is thought."""
    text = "".join([part.text for part in parts if isinstance(part, Text | Refusal)])
    return text, "".join([part.text for part in parts if isinstance(part, Thinking)])


def _call(call: ToolCall) -> dict[str, Any]:
    function = {"index": call.index, "name": call.name, "arguments": object_of(call.arguments)}
    return {"id": signed_id(call), "function": function} if call.id else {"function": function}


def _logprobs(logprobs: Iterable[TokenLogprob]) -> list[dict[str, Any]]:
    return [
        {
            "token": each.token,
            "logprob": each.logprob,
            "bytes": list(each.token.encode("utf-8", "surrogatepass")),
            "top_logprobs": [{"token": other.token, "logprob": other.logprob} for other in each.top],
        }
        for each in logprobs
    ]


def _end(reason: FinishReason, usage: Usage, record: Record) -> dict[str, Any]:
    """The account. Clients divide by the durations, so none is 0."""
    first_ms = record.first_token_ms or 0.0
    return {
        "done": True,
        "done_reason": "stop" if reason == "tool_calls" else reason,
        "total_duration": _ns(record.latency_ms),
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
        "prompt_eval_duration": _ns(first_ms),
        "eval_count": usage.output_tokens,
        "eval_duration": _ns(record.latency_ms - first_ms),
    }


def _ns(milliseconds: float) -> int:
    return max(1, round(milliseconds * NS_PER_MS))


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z")
