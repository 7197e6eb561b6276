"""Reads streamed answers of a provider. Source: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.config.presets import PLAIN, Preset
from semroute.dialects.gemini.content import call_id
from semroute.dialects.openai.provider_answer import (
    OWN_WORDS,
    ChatSaid,
    GroqSaid,
    calls_of,
    ended_by,
    logprobs_of,
    parts_of,
    tells_arguments_as_text,
    usage_of,
)
from semroute.dialects.shared.error_bodies import (
    describe,
    refuses,
    streamed_error,
)
from semroute.dialects.shared.finish_and_token_counts import finish_reason_of
from semroute.dialects.sse import NOTHING, Event
from semroute.errors import MalformedChunkError, ProviderError
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    Chunk,
    FinishReason,
    Part,
    ToolCall,
)


class ChoicePiece(msgspec.Struct):
    """A piece of one choice."""

    index: int = 0
    delta: ChatSaid | None = None
    message: ChatSaid | None = None
    """The whole message, as some servers send it in one piece."""
    finish_reason: str | None = None
    logprobs: Any = None
    usage: Any = None
    """Moonshot tells the usage here. Source: public code, whose tests quote such a stream, 2026-11-30."""


class ChatEvent(msgspec.Struct):
    """One event."""

    id: str | None = None
    object: str | None = None
    model: str | None = None
    choices: list[ChoicePiece] | None = None
    usage: Any = None
    service_tier: str | None = None
    error: Any = None
    x_groq: GroqSaid | None = None


decode_piece = msgspec.json.Decoder(ChatEvent, strict=False).decode


class OpenAIStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self, preset: Preset = PLAIN) -> None:
        self._preset = preset
        self.finished = False
        """Whether every choice has said why it ended."""
        self._open: set[int] = set()
        """Choices that have begun and not ended."""
        self._calls: CallPieces | None = None
        """The calls of tools. None: none has come yet."""
        self._calling: set[int] = set()
        """Choices other than the first that call tools."""
        self._closed: set[int] = set()
        """Choices that have ended. Later events, such as usage, do not open them again."""
        self._said = False
        self._several = False
        """The caller asked for several choices."""
        self._anew = False
        """An event was not as OpenAI writes it, so its clients could not read it. The rest is rendered anew."""

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event, if any. Raises a `ProviderError` for an error or malformed data."""
        data = event.data.strip()
        if data[:1] != b"{" and data in NOTHING:
            return None
        try:
            piece = decode_piece(data)
        except UNREADABLE as error:
            raise _unreadable(data, error) from error
        odd = not piece.choices or piece.error or piece.object == "error" or event.name == "error"
        if odd and _says_nothing(piece, event.name, data):
            return None
        said_reason: FinishReason | None = None
        first, raw = ChoicePiece(), event.data
        for choice in piece.choices or ():
            reason = self._follow(choice)
            if choice.index == 0:
                first, said_reason = choice, reason
            else:
                raw = self._beside(choice, reason, raw)
        said = first.delta
        whole = first.message is not None and not self._said and not parts_of(said or ChatSaid())
        said = first.message if whole else said
        parts: tuple[Part, ...] = ()
        if said is not None:
            parts = parts_of(said)
            if type(said.content) is list or said.tool_calls or said.function_call is not None:
                parts = self._ordered(said, parts, piece.id or "")
        self._said = self._said or bool(parts)
        used = piece.usage
        if said_reason is not None:
            parts, said_reason, raw = self._end(first, parts, said_reason, raw)
        if piece.x_groq is not None or first.usage is not None:
            used = self._usage_elsewhere(piece, first)
        anew = whole or (self._anew and not self._several)  # of several choices, only the first could be rendered
        return Chunk(
            parts=parts,
            logprobs=logprobs_of(first.logprobs) if first.logprobs is not None else (),
            finish_reason=said_reason,
            usage=None if used is None else usage_of(used, self._preset),
            service_tier=piece.service_tier or "",
            model=piece.model or "",
            id=piece.id or "",
            dialect="" if anew else "openai",
            raw=b"" if anew else raw,
        )

    def _beside(self, choice: ChoicePiece, reason: FinishReason | None, raw: bytes) -> bytes:
        """Return the event with the right finish reason for a choice that is not the first."""
        said = choice.delta or choice.message
        if said is not None and (said.tool_calls or said.function_call is not None):
            self._calling.add(choice.index)
        if reason is None:
            return raw
        return ended_by(reason, raw, calls=choice.index in self._calling, index=choice.index)[1]

    def _ordered(self, said: ChatSaid, parts: tuple[Part, ...], answer: str) -> tuple[Part, ...]:
        """Return the parts with their calls in OpenAI's form, and note whether the server's own form is another."""
        self._calls = self._calls or CallPieces()
        parts, odd = self._calls.ordered(said, parts, answer)
        self._anew = self._anew or odd or type(said.content) is list
        return parts

    def _end(
        self, first: ChoicePiece, parts: tuple[Part, ...], reason: FinishReason, raw: bytes
    ) -> tuple[tuple[Part, ...], FinishReason, bytes]:
        """Return the last parts, why the answer ended, and the event with both."""
        calls = self._calls is not None and self._calls.any
        if self._calls is not None and calls and first.finish_reason != "function_call":
            empty = self._calls.empty()
            parts, self._anew = (*parts, *empty), self._anew or bool(empty)
        self._anew = self._anew or first.finish_reason not in OWN_WORDS
        return parts, *ended_by(reason, raw, calls=calls)

    def _usage_elsewhere(self, piece: ChatEvent, first: ChoicePiece) -> Any:
        """Return the usage that Moonshot tells in the choice, and Groq in a field of its own."""
        if piece.x_groq is not None and piece.x_groq.error:
            raise streamed_error(msgspec.json.encode({"error": piece.x_groq.error}))
        self._anew = self._anew or first.usage is not None
        return piece.usage or first.usage or (piece.x_groq.usage if piece.x_groq is not None else None)

    def _follow(self, choice: ChoicePiece) -> FinishReason | None:
        self._several = self._several or choice.index > 0
        if not choice.finish_reason:
            self._anew = self._anew or choice.finish_reason == ""
            if choice.index not in self._closed:
                self._open.add(choice.index)
                self.finished = False
            return None
        self._closed.add(choice.index)
        self._open.discard(choice.index)
        self.finished = not self._open
        return finish_reason_of(choice.finish_reason)


def _unreadable(data: bytes, error: Exception) -> ProviderError:
    """Return the error for an event that is no chunk. It may be a refusal."""
    if refuses(data):
        return streamed_error(data)
    return MalformedChunkError(f"expected a chunk of a completion, got {describe(data, error)}", body=data)


def _says_nothing(piece: ChatEvent, name: str, data: bytes) -> bool:
    """Return whether an event says nothing, such as `{"type": "ping"}` of a proxy. OpenAI's clients cannot read it.

    Raises the error in an event, if it is one. An event without choices may be one, although it does not say so.
    """
    if piece.error or piece.object == "error" or name == "error":
        raise streamed_error(data)
    empty = piece.choices is None and piece.usage is None
    if empty and refuses(data):
        raise streamed_error(data)
    return empty and piece.x_groq is None


class _Begun(msgspec.Struct):
    """What has come of a call."""

    id: str
    """The id that the server gave it first. Empty: none."""
    name: str
    end: str = ""
    """The last piece of its arguments. Empty: none has come."""


class CallPieces:
    """Brings the pieces of tool calls into the form of OpenAI's own.

    There each piece has the number of its call, and only the first piece has the id, the name and the type. Other
    servers leave numbers or ids out, give all calls one number, or repeat the name or the id in each piece. Clients
    join what comes in the pieces, so a repeated name becomes another one.
    """

    def __init__(self) -> None:
        self._begun: dict[int, _Begun] = {}
        """The calls, by the number that callers get."""
        self._places: dict[int, int] = {}
        """The number that callers get, by the server's number."""
        self._with_id: dict[str, int] = {}
        """The first call with each id of the server."""
        self._unused = 0
        """A number above that of every call so far."""
        self._last = 0

    @property
    def any(self) -> bool:
        """Whether a call has begun."""
        return bool(self._begun)

    def ordered(self, said: ChatSaid, parts: tuple[Part, ...], answer: str) -> tuple[tuple[Part, ...], bool]:
        """Return the parts with their calls in order, and whether OpenAI's clients could not read the event itself.

        `answer` is the id of the answer. Calls without an id get one that is made from it.
        """
        several = len(calls_of(said)) > 1
        calls = iter(calls_of(said))
        odd = not isinstance(said.tool_calls, list | None)
        ordered: list[Part] = []
        for part in parts:
            if not isinstance(part, ToolCall):
                ordered.append(part)
                continue
            call = next(calls, None)
            number = part.index if call is None or several else call.index
            fixed, first = self._ordered(part, number, answer)
            ordered.append(fixed)
            if call is not None:
                named = call.index is not None and not (first and call.type is None)
                odd = odd or fixed != part or not named or not tells_arguments_as_text(call)
        return tuple(ordered), odd

    def empty(self) -> tuple[ToolCall, ...]:
        """Return the missing pieces of calls without arguments. Clients cannot read an empty text as JSON."""
        missing = [place for place, begun in self._begun.items() if not begun.end]
        for place in missing:
            self._begun[place].end = "{}"
        return tuple([ToolCall(index=place, arguments="{}") for place in missing])

    def _ordered(self, part: ToolCall, number: int | None, answer: str) -> tuple[ToolCall, bool]:
        """Return the piece as OpenAI would send it, and whether it is the first one of its call."""
        place = self._place(part, number)
        first = place is None
        if place is None:
            place = number if number is not None and number not in self._begun else self._unused
            self._unused = max(self._unused, place + 1)
            self._begun[place] = _Begun(part.id, part.name)
            if number is not None:
                self._places[number] = place
        begun, self._last = self._begun[place], place
        id_, name = "", ""
        if first:
            is_new = self._with_id.setdefault(part.id, place) == place
            id_ = part.id if part.id and is_new else call_id(part.name, answer, place)
            name = part.name
        elif part.name != begun.name:  # it comes late, or in fragments
            name = part.name
            begun.name += name
        begun.end = part.arguments or begun.end
        return msgspec.structs.replace(part, id=id_, name=name, index=place), first

    def _place(self, part: ToolCall, number: int | None) -> int | None:
        """Return the number of the call that a piece goes on with. None: the piece begins another call."""
        if number is not None:
            place = self._places.get(number)
            return None if place is None or _begins(part, self._begun[place]) else place
        if part.id and part.id in self._with_id:
            return self._with_id[part.id]
        if not self._begun or (part.name and part.id) or _begins(part, self._begun[self._last]):
            return None
        return self._last


def _begins(part: ToolCall, begun: _Begun) -> bool:
    """Whether a piece with the number of a call that has begun begins another one.

    It does if it has another id, or another name after arguments. JSON that has ended does not go on.
    """
    if not part.name or not begun.name or (part.id and part.id == begun.id):
        return False
    ended = begun.end.rstrip().endswith("}") and part.arguments.lstrip()[:1] in ("", "{")
    if part.id and begun.id:
        return part.name != begun.name or not begun.end or ended
    return (part.name != begun.name and begun.end != "") or (ended and part.arguments != "")
