"""OpenAI Responses, as spoken to a provider. Source: https://platform.openai.com/docs/api-reference/responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.dialect import COMPACT, WireRequest, refuse_embeddings
from semroute.dialects.openai.content import parse_citation, parse_logprobs, render_function, render_schema
from semroute.dialects.openai.model_rules import LOGPROBS, carried, suit_responses
from semroute.dialects.openai.provider_request import HEADERS
from semroute.dialects.responses.content import NAME, keep_own_thoughts, parse_reasoning, render_input
from semroute.dialects.responses.provider_stream import Kind, ResponseFollower
from semroute.dialects.responses.tools import KINDS, Toolbox, parse_call
from semroute.dialects.shared.body_parsing import given, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    no_answer,
    refuses,
    snippet,
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.field_limits import fitted
from semroute.dialects.shared.forwarded_headers import travelling
from semroute.dialects.shared.thinking import effort_of, wants_thinking
from semroute.dialects.shared.token_counts import Count, InputDetails, read_counts
from semroute.dialects.sse import Event, EventParser
from semroute.errors import ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    ChatRequest,
    Chunk,
    Completion,
    FinishReason,
    Opaque,
    Params,
    Part,
    Refusal,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    Usage,
)

_DELTAS: dict[str, Kind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "thought",
    "response.reasoning_text.delta": "thought",
    "response.function_call_arguments.delta": "arguments",
}
_DONE: dict[str, Kind] = {kind.replace(".delta", ".done"): what for kind, what in _DELTAS.items()}
_INCOMPLETE: dict[str, FinishReason] = {"max_output_tokens": "length", "content_filter": "content_filter"}


class ResponsesProviderDialect:
    """The Responses API. Nothing is asked to be stored, except by a caller of this dialect."""

    name = NAME
    events = EventParser

    def headers(self, api_key: str | None) -> dict[str, str]:
        """A bearer token, where there is a key."""
        return {"authorization": f"Bearer {api_key}"} if api_key else {}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """The caller's own body where it is of this dialect, so that fields unknown here reach it, or a new one."""
        refuse_embeddings(request, self.name)
        if request.dialect == COMPACT:
            return self._compact(request, model)
        if request.dialect == NAME:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in ("models", "strict")}
            keep_own_thoughts(body, dropped)
        else:
            fields, unread = carried(request, to=NAME)
            dropped = Dropped(unread)
            body = _body(request, model, dropped)
            if (verbosity := fields.pop("verbosity", None)) is not None:
                body["text"] = {**(body.get("text") or {}), "verbosity": verbosity}
            body |= fields
        body |= {"model": model.name, "stream": request.stream}
        if request.params.logprobs:
            body["include"] = list(dict.fromkeys((*(body.get("include") or ()), LOGPROBS)))
        headers = travelling(request, NAME, HEADERS, dropped)
        suit_responses(body, model, dropped)
        wire = fitted(NAME, body, request, model, dropped, path="/responses")
        return msgspec.structs.replace(wire, headers=headers) if headers else wire

    def _compact(self, request: ChatRequest, model: Model) -> WireRequest:
        dropped = Dropped()
        body = {key: value for key, value in request.raw.items() if key not in ("models", "strict")}
        keep_own_thoughts(body, dropped)
        body["model"] = model.name
        wire = fitted(NAME, body, request, model, dropped, path="/responses/compact")
        return msgspec.structs.replace(wire, endpoint=COMPACT)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises a `ProviderError` where it is none."""
        try:
            answer = _decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a response", error) from error
        if answer.error:
            raise no_answer(body)
        if answer.output is None:
            raise no_answer(body, f"expected a response, got one without output: {snippet(body)}")
        parts, logprobs = _parts(answer.output)
        return Completion(
            parts=parts,
            finish_reason=_finish_reason(answer, has_calls(parts)),
            usage=_usage(answer.usage),
            model=answer.model or "",
            id=answer.id or "",
            logprobs=logprobs,
            service_tier=answer.service_tier or "",
            dialect=NAME,
            raw=body,
        )

    def stream_parser(self) -> ResponsesStreamParser:
        """A parser for one streamed answer."""
        return ResponsesStreamParser()

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means."""
        return answered_error(status, headers, body)


class ResponsesStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self._finished = False
        self._told = ResponseFollower()
        self._id = self._model = ""

    @property
    def finished(self) -> bool:
        """Whether the answer has said why it ended."""
        return self._finished

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds. Raises a `ProviderError` for an error or malformed data."""
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            raise unreadable(event.data, "an event of a response", error) from error
        if piece.type == "error" or event.name == "error" or (not piece.type and refuses(event.data)):
            raise streamed_error(event.data)
        fields: dict[str, Any] = {"parts": self._parts(piece)}
        if piece.type == "response.output_text.delta":
            fields["logprobs"] = parse_logprobs(piece.logprobs)
        if piece.response is not None:
            fields |= self._response(piece.type, piece.response)
        return Chunk(**fields, model=self._model, id=self._id, dialect=NAME, raw=event.data, event=event.name)

    def _parts(self, piece: _Piece) -> tuple[Part, ...]:
        told, item, part = self._told, piece.output_index, piece.summary_index or piece.content_index
        if (kind := _DELTAS.get(piece.type)) is not None:
            return told.piece(kind, item, part, piece.delta or "")
        if (kind := _DONE.get(piece.type)) is not None:
            return told.whole(kind, item, part, piece.text or piece.refusal or piece.arguments or "")
        match piece.type:
            case "response.reasoning_summary_part.added":
                return told.parted(item, part)
            case "response.content_part.done" | "response.reasoning_summary_part.done":
                return tuple(told.block(item, part, piece.part))
            case "response.output_text.annotation.added":
                return told.cite(item, part, [piece.annotation])
            case "response.output_item.added":
                return told.begin(item, piece.item or {})
            case "response.output_item.done":
                return tuple(told.end(item, piece.item or {}))
            case "response.completed" | "response.incomplete" if piece.response is not None:
                return tuple(told.all(piece.response.output or []))
        return ()

    def _response(self, kind: str, answer: _Answer) -> dict[str, Any]:
        self._id, self._model = answer.id or self._id, answer.model or self._model
        if kind == "response.failed":
            raise streamed_error(msgspec.json.encode({"error": answer.error or {"message": "the response failed"}}))
        if kind not in ("response.completed", "response.incomplete"):
            return {}
        self._finished = True
        return {
            "finish_reason": _finish_reason(answer, self._told.has_calls),
            "usage": _usage(answer.usage),
            "service_tier": answer.service_tier or "",
        }


# --- what is read of an answer; the rest of it stays in `raw` --------------------------------------------------------


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: Count | None = None


class _Usage(msgspec.Struct):
    input_tokens: Count = 0
    input_tokens_details: InputDetails | None = None
    output_tokens: Count = 0
    output_tokens_details: _OutputDetails | None = None


class _Incomplete(msgspec.Struct):
    reason: str | None = None


class _Answer(msgspec.Struct):
    id: str | None = None
    model: str | None = None
    status: str | None = None
    output: list[dict[str, Any]] | None = None
    incomplete_details: _Incomplete | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None


class _Piece(msgspec.Struct):
    type: str = ""
    delta: str | None = None
    logprobs: list[Any] | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    part: dict[str, Any] | None = None
    summary_index: int = 0
    content_index: int = 0
    output_index: int = 0
    annotation: dict[str, Any] | None = None
    item: dict[str, Any] | None = None
    response: _Answer | None = None


_decode_answer = msgspec.json.Decoder(_Answer, strict=False).decode
_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode


def _parts(output: list[dict[str, Any]]) -> tuple[tuple[Part, ...], tuple[TokenLogprob, ...]]:
    parts: list[Part] = []
    logprobs: list[TokenLogprob] = []
    for item in output:
        match item:
            case {"type": "message", "content": list(content)}:
                for block in content:
                    parts += _said(block)
                    logprobs += parse_logprobs(block.get("logprobs") if isinstance(block, dict) else None)
            case {"type": str(kind)} if kind in KINDS and (call := parse_call(item, Toolbox({}))) is not None:
                index = sum(isinstance(part, ToolCall) for part in parts)
                parts.append(msgspec.structs.replace(call, index=index))
            case {"type": "reasoning"}:
                parts.append(parse_reasoning(item))
            case {"type": str(kind)}:
                parts.append(Opaque(kind=kind))
    return tuple(parts), tuple(logprobs)


def _said(block: object) -> tuple[Part, ...]:
    match block:
        case {"type": "output_text", "text": str(text), **more}:
            annotations = more.get("annotations")
            found = [parse_citation(each) for each in (annotations if isinstance(annotations, list) else ())]
            return (Text(text=text, citations=tuple(citation for citation in found if citation is not None)),)
        case {"type": "refusal", "refusal": str(text)}:
            return (Refusal(text=text),)
        case _:
            return ()


def _finish_reason(answer: _Answer, has_calls: bool) -> FinishReason:
    incomplete = answer.incomplete_details
    if answer.status == "incomplete" and incomplete is not None:
        return _INCOMPLETE.get(incomplete.reason or "", "length")
    return "tool_calls" if has_calls else "stop"


def _usage(said: object) -> Usage | None:
    usage = read_counts(said, _Usage)
    if usage is None:
        return None
    read = usage.input_tokens_details or InputDetails()
    return Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=read.cached_tokens or 0,
        cache_write_tokens=read.written,
        cache_write_1h_tokens=read.written_1h,
        reasoning_tokens=(usage.output_tokens_details or _OutputDetails()).reasoning_tokens or 0,
    )


# --- a body for a request that came in another dialect ---------------------------------------------------------------


def _body(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    params = request.params
    _note_the_rest(params, dropped)
    choice = request.tool_choice if request.tools else None
    return given(
        {
            "input": render_input(request.messages, dropped),
            "tools": [_tool(tool, dropped) for tool in request.tools],
            "tool_choice": _tool_choice(choice) if choice else None,
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
    """Not strict unless it was asked for: here that is not the default."""
    dropped.add_given(**{"cache mark": tool.cache})
    return {"type": "function", **render_function(tool), "strict": bool(tool.strict)}


def _tool_choice(choice: ToolChoice) -> str | dict[str, Any]:
    return {"type": "function", "name": choice.name} if choice.mode == "tool" else choice.mode


def _text_format(params: Params) -> dict[str, Any]:
    if params.json_schema is None:
        return {"type": "json_object"}
    return {"type": "json_schema", **render_schema(params.json_schema)}


def _reasoning(request: ChatRequest, model: Model, dropped: Dropped) -> dict[str, Any]:
    include = [LOGPROBS] if request.params.logprobs else []
    if not wants_thinking(request, model, dropped):
        return {"include": include}
    summary = "auto" if request.params.show_thinking else None
    reasoning = given({"effort": effort_of(request.params), "summary": summary})
    return {"reasoning": reasoning or None, "include": [*include, "reasoning.encrypted_content"]}


def _note_the_rest(params: Params, dropped: Dropped) -> None:
    dropped.add_chat_sampling(params)
    dropped.add_given(
        top_k=params.top_k is not None,
        **{"stop sequences": params.stop},
    )
