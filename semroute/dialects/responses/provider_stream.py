"""Reads streamed responses. Text comes as deltas, and once more whole in `done` events and in the last event.

Most servers send both, and some only the whole text. So the parser takes what it has not had yet.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from semroute.dialects.openai.content import parse_citations, parse_logprobs
from semroute.dialects.responses.content import NAME, parse_reasoning
from semroute.dialects.responses.provider_answer import ResponsesAnswer, finish_reason_of, usage_of
from semroute.dialects.responses.tools import KINDS, Toolbox, parse_call
from semroute.dialects.shared.body_parsing import objects_of
from semroute.dialects.shared.error_bodies import (
    refuses,
    streamed_error,
    unreadable,
)
from semroute.dialects.sse import NOTHING, Event
from semroute.json_errors import UNREADABLE
from semroute.messages import (
    Chunk,
    Opaque,
    Part,
    Refusal,
    Text,
    Thinking,
    ToolCall,
)

Kind = Literal["text", "refusal", "thought", "arguments"]
_DELTAS: dict[str, Kind] = {
    "response.output_text.delta": "text",
    "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "thought",
    "response.reasoning_text.delta": "thought",
    "response.function_call_arguments.delta": "arguments",
}
_DONE: dict[str, Kind] = {kind.replace(".delta", ".done"): what for kind, what in _DELTAS.items()}
_OF_CALLS = frozenset(name for name, kind in (_DELTAS | _DONE).items() if kind == "arguments")
_BLOCKS: dict[str, tuple[Kind, str]] = {
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "summary_text": ("thought", "text"),
    "reasoning_text": ("thought", "text"),
}
"""The kind of each type of content, and the field that holds its text."""


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
    item_id: str = ""
    response: ResponsesAnswer | None = None


_decode_piece = msgspec.json.Decoder(_Piece, strict=False).decode


class ResponsesStreamParser:
    """Reads the events of one streamed answer."""

    def __init__(self) -> None:
        self.finished = False
        """Whether the answer has said why it ended."""
        self._told = ResponseFollower()
        self._id = self._model = ""

    def event(self, event: Event) -> Chunk | None:
        """Return the chunk in an event. Raises a `ProviderError` for an error or malformed data."""
        try:
            piece = _decode_piece(event.data)
        except UNREADABLE as error:
            if event.data.strip() in NOTHING:
                return None
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
        if piece.type in _OF_CALLS:
            item, part = told.number(item, piece.item_id), 0
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

    def _response(self, kind: str, answer: ResponsesAnswer) -> dict[str, Any]:
        self._id, self._model = answer.id or self._id, answer.model or self._model
        if kind == "response.failed":
            raise streamed_error(msgspec.json.encode({"error": answer.error or {"message": "the response failed"}}))
        if kind not in ("response.completed", "response.incomplete"):
            return {}
        self.finished = True
        return {
            "finish_reason": finish_reason_of(answer, self._told.has_calls),
            "usage": usage_of(answer.usage),
            "service_tier": answer.service_tier or "",
        }


class ResponseFollower:
    """Knows what one response has sent so far. `item` and `part` are indices: of an item, and of a part in it.

    Some servers give all items one index. So calls are numbered here, and found by their ids first.
    """

    def __init__(self) -> None:
        self._chars: Counter[tuple[Kind, int, int]] = Counter()
        self._in_all: Counter[Kind] = Counter()
        self._parted: set[tuple[int, int]] = set()
        self._cited: set[tuple[int, int]] = set()
        self._signed: set[str] = set()
        self._calls: dict[str, int] = {}
        """The number of each call, by its id and by that of its item."""
        self._latest: dict[int, int] = {}
        """The number of the call that began last at each index."""
        self._begun = 0

    @property
    def has_calls(self) -> bool:
        """Whether a function was called."""
        return self._begun > 0

    def number(self, item: int, *ids: object) -> int:
        """Return the number of a call. `ids`: those that may be its own, or its item's."""
        known = next((self._calls[id_] for id_ in ids if isinstance(id_, str) and id_ in self._calls), None)
        return self._latest.get(item, 0) if known is None else known

    def piece(self, kind: Kind, item: int, part: int, text: str) -> tuple[Part, ...]:
        """Return the next piece of a text. `item`: if it is that of arguments, the number of their call."""
        if not text:
            return ()
        self._chars[kind, item, part] += len(text)
        self._in_all[kind] += len(text)
        match kind:
            case "text":
                return (Text(text=text),)
            case "refusal":
                return (Refusal(text=text),)
            case "thought":
                return (Thinking(text=text),)
            case "arguments":
                return (ToolCall(arguments=text, index=item),)

    def whole(self, kind: Kind, item: int, part: int, text: str) -> tuple[Part, ...]:
        """Return what is new in a text that comes whole."""
        before = self._chars[kind, item, part]
        rest = self.piece(kind, item, part, text[before:])
        return (*self.parted(item, part), *rest) if kind == "thought" and rest and not before else rest

    def parted(self, item: int, part: int) -> tuple[Part, ...]:
        """Return a blank line between parts of a thought, once."""
        if part == 0 or (item, part) in self._parted:
            return ()
        self._parted.add((item, part))
        return (Thinking(text="\n\n"),)

    def begin(self, item: int, said: dict[str, Any]) -> tuple[Part, ...]:
        """Begin an item. A call has its id and name here."""
        match said:
            case {"type": str(kind), "call_id": str(id_)} if kind in KINDS and id_ not in self._calls:
                number, self._begun = self._begun, self._begun + 1
                self._latest[item] = self._calls[id_] = self._calls[str(said.get("id") or id_)] = number
                return (ToolCall(id=id_, name=str(said.get("name") or KINDS[kind]), index=number),)
            case {"type": str(kind)} if kind not in ("message", "reasoning") and not (
                kind in KINDS and isinstance(said.get("call_id"), str)
            ):
                return (Opaque(kind=kind),)
            case _:
                return ()

    def cite(self, item: int, part: int, annotations: object) -> tuple[Part, ...]:
        """Return the citations of a text."""
        citations = parse_citations(annotations)
        self._cited.add((item, part))
        return (Text(text="", citations=citations),) if citations else ()

    def block(self, item: int, part: int, said: object) -> Iterator[Part]:
        """Yield what is new in a part that comes whole. Its citations are new if none came before."""
        if not isinstance(said, dict) or (found := _BLOCKS.get(str(said.get("type")))) is None:
            return
        kind, field = found
        yield from self.whole(kind, item, part, str(said.get(field) or ""))
        if said.get("annotations") and (item, part) not in self._cited:
            yield from self.cite(item, part, said["annotations"])

    def end(self, item: int, said: dict[str, Any]) -> Iterator[Part]:
        """Yield what is new in an item that comes whole."""
        match said:
            case {"type": "message", "content": list(content)}:
                for number, block in enumerate(content):
                    yield from self.block(item, number, block)
            case {"type": "function_call", "arguments": str(arguments)}:
                yield from self.begin(item, said)
                if said.get("call_id") in self._calls:
                    yield from self.whole("arguments", self._calls[said["call_id"]], 0, arguments)
            case {"type": str(kind)} if kind in KINDS and (call := parse_call(said, Toolbox({}))) is not None:
                yield from self.begin(item, said)
                yield from self.whole("arguments", self._calls[call.id], 0, call.arguments)
            case {"type": "reasoning"}:
                for number, block in enumerate(_blocks(said)):
                    yield from self.block(item, number, block)
                yield from self._signature(said)

    def all(self, output: list[dict[str, Any]]) -> Iterator[Part]:
        """Yield what is new in the whole response.

        Some servers give all items the same index. So the lengths of all texts of a kind are compared first.
        """
        in_full: Counter[Kind] = Counter()
        for block in (block for said in output for block in _blocks(said)):
            if (found := _BLOCKS.get(str(block.get("type")))) is not None:
                in_full[found[0]] += len(str(block.get(found[1]) or ""))
        lacks = {kind for kind, chars in in_full.items() if self._in_all[kind] < chars}
        for item, said in enumerate(output):
            match said.get("type"):
                case "message" if not lacks & {"text", "refusal"}:
                    pass
                case "reasoning" if "thought" not in lacks:
                    yield from self._signature(said)
                case _:
                    yield from self.end(item, said)

    def _signature(self, said: dict[str, Any]) -> Iterator[Part]:
        """Yield the signature of a thought, once."""
        sealed = said.get("encrypted_content")
        if isinstance(sealed, str) and sealed and sealed not in self._signed:
            self._signed.add(sealed)
            yield msgspec.structs.replace(parse_reasoning(said), text="")


def _blocks(said: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message or of a thought."""
    content = (said.get("summary") if said.get("type") == "reasoning" else None) or said.get("content")
    return objects_of(content)
