"""OpenAI Chat Completions, as spoken to a provider. Source: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import quote

import msgspec

from semroute.config.presets import PLAIN, Preset
from semroute.config.schema.models import Model
from semroute.dialects.dialect import EMBEDDINGS, WireRequest, endpoint_of
from semroute.dialects.gemini.embeddings import openai_body
from semroute.dialects.openai.content import parse_logprobs
from semroute.dialects.openai.model_rules import carried, suit_chat
from semroute.dialects.openai.provider_answer import (
    ChatAnswer,
    ChatSaid,
    ChoicePiece,
    decode_answer,
    decode_piece,
    finish_reason_of,
    parts_of,
    usage_of,
)
from semroute.dialects.openai.provider_request import HEADERS, adapt, render_body
from semroute.dialects.shared.body_parsing import as_said, has_calls
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.error_bodies import (
    answered_error,
    describe,
    no_answer,
    refuses,
    snippet,
    streamed_error,
    unreadable,
)
from semroute.dialects.shared.field_limits import fitted
from semroute.dialects.shared.forwarded_headers import travelling
from semroute.dialects.shared.summarization import as_chat
from semroute.dialects.sse import Event, EventParser
from semroute.errors import MalformedChunkError, ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import ChatRequest, Chunk, Completion, FinishReason, Opaque, Part, ToolCall


class OpenAIProviderDialect:
    """Chat Completions of OpenAI and of the many servers that are compatible with it."""

    name = "openai"
    events = EventParser

    def __init__(self, preset: Preset = PLAIN, api_version: str = "") -> None:
        self._preset = preset
        self._api_version = api_version or preset.api_version

    def headers(self, api_key: str | None) -> dict[str, str]:
        """The key, where there is one; as a bearer token unless the server wants it elsewhere."""
        if not api_key:
            return {}
        header = self._preset.key_header
        return {header: f"Bearer {api_key}" if header == "authorization" else api_key}

    def render_request(self, request: ChatRequest, model: Model) -> WireRequest:
        """The caller's own body where it is OpenAI's, so that fields unknown here reach the provider, or a new one."""
        if endpoint_of(request) == EMBEDDINGS:
            return self._embeddings(request, model)
        request = as_chat(request, self.name)
        if request.dialect == self.name:
            dropped = Dropped()
            body = {key: value for key, value in request.raw.items() if key not in ("models", "strict")}
        else:
            fields, unread = carried(request, to=self.name) if self._preset.of_openai else ({}, request.unread)
            dropped = Dropped(unread)
            body = render_body(request, model, self._preset, dropped) | fields
        options = body.pop("stream_options", None)
        if isinstance(options, dict) and not self._preset.of_openai:
            dropped.add_given(include_obfuscation=options.get("include_obfuscation"))
            options = {name: value for name, value in options.items() if name != "include_obfuscation"}
        body["model"] = model.name
        body["stream"] = request.stream
        if request.params.logprobs:
            body["logprobs"] = True
        if request.stream and self._preset.stream_options:
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        adapt(body, self._preset, model, dropped)
        suit_chat(body, self._preset.name, model, dropped)
        path = self._path(self._preset.path, model)
        headers = travelling(request, self.name, HEADERS, dropped)
        wire = fitted("openai", body, request, model, dropped, path=path, server=self._preset.name)
        return msgspec.structs.replace(wire, headers=headers) if headers else wire

    def _embeddings(self, request: ChatRequest, model: Model) -> WireRequest:
        dropped = Dropped()
        body = {**openai_body(request, dropped), "model": model.name}
        return WireRequest(
            path=self._path(self._preset.embeddings_path, model),
            body=msgspec.json.encode(body),
            endpoint=EMBEDDINGS,
            dropped=dropped.notes,
        )

    def _path(self, path: str, model: Model) -> str:
        return _path(path, model.name, self._api_version)

    def parse_completion(self, body: bytes) -> Completion:
        """Read a whole answer of status 200. Raises a `ProviderError` where it is none."""
        try:
            answer = decode_answer(body)
        except UNREADABLE as error:
            raise unreadable(body, "a completion", error) from error
        if answer.error or answer.object == "error":
            raise no_answer(body)
        if answer.object == "list":  # of embeddings: passed through
            opaque = Opaque(kind=EMBEDDINGS)
            return self._completion(answer, (opaque,), "stop", body)
        if not answer.choices:
            raise no_answer(body, f"expected a completion, got one without choices: {snippet(body)}")
        choice = answer.choices[0]
        parts = parts_of(choice.message or ChatSaid())
        logprobs = parse_logprobs(choice.logprobs.content if choice.logprobs is not None else None)
        reason, body = _ended_by(finish_reason_of(choice.finish_reason or "stop"), body, calls=has_calls(parts))
        completion = self._completion(answer, parts, reason, body)
        if choice.message is not None and isinstance(choice.message.content, list):
            completion = msgspec.structs.replace(completion, dialect="", raw=b"")  # OpenAI's clients expect text
        return msgspec.structs.replace(completion, logprobs=logprobs) if logprobs else completion

    def _completion(self, answer: ChatAnswer, parts: tuple[Part, ...], reason: FinishReason, body: bytes) -> Completion:
        return Completion(
            parts=parts,
            finish_reason=reason,
            usage=usage_of(answer.usage, self._preset),
            model=answer.model or "",
            id=answer.id or "",
            service_tier=answer.service_tier or "",
            dialect=self.name,
            raw=body,
        )

    def stream_parser(self) -> OpenAIStreamParser:
        """A parser for one streamed answer."""
        return OpenAIStreamParser(self._preset)

    def parse_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
        """The error that an answer of another status means."""
        return answered_error(status, headers, body)


@lru_cache(1024)
def _path(path: str, name: str, api_version: str) -> str:
    return path.format(model=quote(name, safe=""), api_version=api_version)


class OpenAIStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self, preset: Preset = PLAIN) -> None:
        self._preset = preset
        self._open: set[int] = set()
        self._ended = False
        self._ids: dict[int, str] = {}
        """Of the calls, by the index that they are given here."""
        self._places: dict[int, int] = {}
        """That index, by the server's."""
        self._closed: set[int] = set()
        """Choices that have ended: what comes after that, such as usage, opens none again."""
        self._said = False
        self._anew = False
        """The content comes in chunks, and not as text: the rest is rendered anew."""

    @property
    def finished(self) -> bool:
        """Whether every choice has said why it ended."""
        return self._ended and not self._open

    def event(self, event: Event) -> Chunk | None:
        """The chunk that an event holds; none for `[DONE]`. Raises a `ProviderError` for an error or malformed data."""
        data = event.data.strip()
        if not data or data == b"[DONE]":
            return None
        try:
            piece = decode_piece(data)
        except UNREADABLE as error:
            if refuses(data):
                raise streamed_error(data) from error
            got = describe(data, error)
            raise MalformedChunkError(f"expected a chunk of a completion, got {got}", body=data) from error
        if piece.error or piece.object == "error" or event.name == "error":
            raise streamed_error(data)
        if piece.choices is None and piece.usage is None and refuses(data):
            raise streamed_error(data)
        said_reason: FinishReason | None = None
        first = ChoicePiece()
        for choice in piece.choices or ():
            reason = self._follow(choice)
            if choice.index == 0:
                first, said_reason = choice, reason
        self._anew = self._anew or (first.delta is not None and type(first.delta.content) is list)
        whole = first.message is not None and not self._said and not parts_of(first.delta or ChatSaid())
        said = first.message if whole else first.delta
        parts = parts_of(said) if said is not None else ()
        if said is not None and (said.tool_calls or said.function_call is not None):
            parts = tuple(self._numbered(part) for part in parts)
        self._said = self._said or bool(parts)
        finish_reason, raw = said_reason, event.data
        if said_reason is not None:
            finish_reason, raw = _ended_by(said_reason, raw, calls=bool(self._ids))
        return Chunk(
            parts=parts,
            logprobs=parse_logprobs(first.logprobs.content) if first.logprobs is not None else (),
            finish_reason=finish_reason,
            usage=None if piece.usage is None else usage_of(piece.usage, self._preset),
            service_tier=piece.service_tier or "",
            model=piece.model or "",
            id=piece.id or "",
            dialect="" if whole or self._anew else "openai",  # clients would not read the server's own event
            raw=b"" if whole or self._anew else raw,
        )

    def _numbered(self, part: Part) -> Part:
        """Some servers, such as Ollama, give all calls one index: a name with a new id begins another call."""
        if not isinstance(part, ToolCall):
            return part
        place = self._places.get(part.index)
        if place is None or (part.name and part.id not in ("", self._ids[place])):
            place = part.index if part.index not in self._ids else max(self._ids) + 1
            self._places[part.index] = place
            self._ids[place] = part.id
        return part if place == part.index else msgspec.structs.replace(part, index=place)

    def _follow(self, choice: ChoicePiece) -> FinishReason | None:
        if not choice.finish_reason:
            if choice.index not in self._closed:
                self._open.add(choice.index)
            return None
        self._closed.add(choice.index)
        self._open.discard(choice.index)
        self._ended = True
        return finish_reason_of(choice.finish_reason)


def _ended_by(said: FinishReason, data: bytes, *, calls: bool) -> tuple[FinishReason, bytes]:
    """Return why an answer ended, by what it holds, and the server's own words with that reason in them."""
    reason = as_said(said, calls=calls)
    if reason == said:
        return said, data
    answer = msgspec.json.decode(data)
    for choice in answer["choices"]:
        if choice.get("index", 0) == 0:
            choice["finish_reason"] = reason
    return reason, msgspec.json.encode(answer)
