"""Writes streamed answers in the form of Responses.

Source: https://platform.openai.com/docs/api-reference/responses-streaming.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec

from semroute.dialects import sse
from semroute.dialects.openai.content import render_logprobs
from semroute.dialects.responses.client_answer import (
    closed,
    content_part,
    empty_response,
    failed,
    message_item,
    streamed_error,
)
from semroute.dialects.responses.content import NAME, render_reasoning
from semroute.dialects.responses.tools import ITEMS, Origin, Toolbox, render_call, toolbox_of
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
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

_PREFIXES = {"message": "msg", "reasoning": "rs", **dict(ITEMS.values())}
"""Prefixes of ids, by the type of the item."""


class _Passed(msgspec.Struct):
    """The fields that are read of an event that was passed on unchanged."""

    type: str = ""
    sequence_number: int = 0
    output_index: int = -1
    item: dict[str, Any] | None = None
    part: dict[str, Any] | None = None
    response: dict[str, Any] | None = None


class _Item:
    """An output item that is being written."""

    def __init__(self, place: int, kind: str, id_: str = "") -> None:
        self.place = place
        """Its `output_index`."""
        self.kind = kind
        self.id = id_
        """The id that the provider gave. Empty: semroute makes the id."""
        self.closed: list[dict[str, Any]] = []
        """The finished parts of its content or summary, if a provider wrote them."""
        self.text: Text | Refusal | None = None
        self.logprobs: tuple[TokenLogprob, ...] = ()
        self.thought = Thinking()
        self.call = ToolCall()
        self.origin = Origin("function", "")
        """The tool that is called."""
        self.finished: dict[str, Any] | None = None

    @property
    def index(self) -> int:
        """The `content_index` or `summary_index` of the part that is being written."""
        return len(self.closed)

    def follow(self, event: _Passed) -> bool:
        """Follow a provider's event that opens or closes a part of the item. Returns whether it opens one."""
        match event.type:
            case "response.content_part.added" if self.kind == "message":
                self.text = Text(text="")
                return True
            case "response.reasoning_summary_part.added":
                return True
            case "response.content_part.done" if self.kind == "message":
                self.text = None
                self.closed.append(event.part or {})
            case "response.reasoning_summary_part.done":
                self.closed.append(event.part or {})
            case "response.output_item.done":
                self.finished = event.item or {}
        return False


class ResponsesStream:
    """Writes events with a `sequence_number`. Several items may be open at once, such as parallel calls."""

    keep_alive = sse.KEEP_ALIVE

    def __init__(self, request: ChatRequest) -> None:
        self._request = request
        self._number = -1
        self._response: dict[str, Any] | None = None
        self._native = False
        self._passed: list[tuple[bytes, int]] = []
        """The provider's own events except deltas, each with the number of parts up to it."""
        self._heard: list[Part] = []
        """The parts of the provider's own events."""
        self._last = b""
        """The last of the provider's own events."""
        self._ended = False
        self._items: list[_Item] = []
        self._calls: dict[int, _Item] = {}
        self._open: _Item | None = None
        self._usage: Usage | None = None
        self._tier = ""
        self._finish_reason: FinishReason = "stop"

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk. A provider's event in this dialect is passed on unchanged."""
        self._usage = chunk.usage or self._usage
        self._tier = chunk.service_tier or self._tier
        self._finish_reason = chunk.finish_reason or self._finish_reason
        if chunk.dialect == NAME:
            self._native = True
            self._ended = self._ended or chunk.finish_reason is not None
            self._last = chunk.raw
            self._number += 1
            self._heard += chunk.parts
            if b'.delta"' not in chunk.raw:
                self._passed.append((chunk.raw, len(self._heard)))
            return sse.render(chunk.raw, chunk.event)
        if self._native:
            if not chunk.parts and chunk.finish_reason is None:
                return b""
            head = self._go_on(chunk.model)
        else:
            head = self._start(chunk.model) if self._response is None else b""
        return head + b"".join([self._part(part, chunk.logprobs) for part in chunk.parts])

    def end(self, record: Record) -> bytes:
        """Render the end of each item, and of the answer. Empty if the provider has sent them itself."""
        if self._native:
            return b""
        head = self._start(record.model or "")
        head += self._close_open() + b"".join(self._close_call(item) for item in self._calls.values())
        output = [item.finished for item in self._items if item.finished is not None]
        body = closed(self._response or {}, output, self._finish_reason, self._usage or record.usage, self._tier)
        return head + self._event(f"response.{body['status']}", response=body)

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render `response.failed`, which Codex reads, and then `error`, on which the official clients raise."""
        told = streamed_error(error, status)
        head = b"" if self._native else self._start("")
        output = [item.finished for item in self._items if item.finished is not None]
        body = failed(self._begun(), output, told, self._usage)
        failure = self._event("response.failed", response=body)
        # The documentation has the fields at the top. The real service sends them in `error`.
        flat = {name: told[name] for name in ("code", "message", "param")}
        return head + failure + self._event("error", **flat, error=told)

    def _begun(self) -> dict[str, Any]:
        """Return the answer as it was at the start, whether the provider or semroute opened it."""
        if self._native:
            self._number = max(self._number, msgspec.json.decode(self._last, type=_Passed).sequence_number)
            opened = (msgspec.json.decode(raw, type=_Passed).response for raw, _ in self._passed)
            self._response = next((response for response in opened if response is not None), self._response)
        return self._response or empty_response(self._request, "")

    # --- going on from the provider's own events ----------------------------------------------------------------------

    def _go_on(self, model: str) -> bytes:
        """Prepare for another model, which goes on with the next number, in the open item or in a new one."""
        self._native = False
        self._number = max(self._number, msgspec.json.decode(self._last, type=_Passed).sequence_number)
        items: dict[int, _Item] = {}
        begun = len(self._heard)
        for raw, before in self._passed:
            event = msgspec.json.decode(raw, type=_Passed)
            self._response = event.response or self._response
            if event.type == "response.output_item.added":
                added = event.item or {}
                items[event.output_index] = _Item(
                    event.output_index, str(added.get("type")), str(added.get("id") or "")
                )
            elif event.output_index in items:
                begun = before if items[event.output_index].follow(event) else begun
        self._response = self._response or empty_response(self._request, model)
        self._items = [item for _, item in sorted(items.items())]
        self._open = next((item for item in self._items if item.finished is None), None)
        return self._reopen(self._open, self._heard[begun:]) if self._open is not None else b""

    def _reopen(self, item: _Item, said: list[Part]) -> bytes:
        """Reopen an item for another model. `said` is the content of its open part so far."""
        item.thought = Thinking(text="".join(part.text for part in said if isinstance(part, Thinking)))
        if item.kind != "message":
            return b""
        begun = item.text is not None
        texts = [part for part in said if isinstance(part, Text)] if begun else []
        item.text = Text(
            text="".join(part.text for part in texts),
            citations=tuple(citation for part in texts for citation in part.citations),
        )
        return b"" if begun else self._add_part(item, item.text)

    # --- the answer ---------------------------------------------------------------------------------------------------

    def _start(self, model: str) -> bytes:
        if self._response is not None:
            return b""
        self._response = empty_response(self._request, model)
        created = self._event("response.created", response=self._response)
        return created + self._event("response.in_progress", response=self._response)

    def _part(self, part: Part, logprobs: tuple[TokenLogprob, ...]) -> bytes:
        match part:
            case Text() | Refusal():
                return self._said(part, logprobs)
            case Thinking():
                return self._thinking(part)
            case ToolCall():
                return self._call(part)
            case _:
                return b""

    # --- messages -----------------------------------------------------------------------------------------------------

    def _said(self, part: Text | Refusal, logprobs: tuple[TokenLogprob, ...]) -> bytes:
        head = b""
        item = self._open
        if item is None or type(item.text) is not type(part):
            head, item = self._open_message(part)
        before = item.text.text if item.text else ""
        if isinstance(part, Refusal):
            item.text = Refusal(text=before + part.text)
            return head + self._in_item(item, "response.refusal.delta", content_index=item.index, delta=part.text)
        cited = item.text.citations if isinstance(item.text, Text) else ()
        events = head
        if part.text:
            item.logprobs += logprobs
            shown = render_logprobs(logprobs) if logprobs else []
            events += self._in_item(
                item, "response.output_text.delta", content_index=item.index, delta=part.text, logprobs=shown
            )
        item.text = Text(text=before + part.text, citations=cited + part.citations)
        if not part.citations:
            return events
        annotations = content_part(item.text, [])["annotations"]
        for place in range(len(cited), len(annotations)):
            events += self._in_item(
                item,
                "response.output_text.annotation.added",
                content_index=item.index,
                annotation_index=place,
                annotation=annotations[place],
            )
        return events

    def _open_message(self, part: Text | Refusal) -> tuple[bytes, _Item]:
        head = self._close_open()
        item = self._open = self._new("message")
        item.text = type(part)(text="")
        added = message_item(self._request, item.place, "in_progress")
        head += self._event("response.output_item.added", output_index=item.place, item=added)
        return head + self._add_part(item, item.text), item

    def _add_part(self, item: _Item, said: Text | Refusal) -> bytes:
        empty = content_part(said, [])
        return self._in_item(item, "response.content_part.added", content_index=item.index, part=empty)

    def _close_message(self, item: _Item, said: Text | Refusal) -> bytes:
        part = content_part(said, render_logprobs(item.logprobs))
        if isinstance(said, Refusal):
            events = self._in_item(item, "response.refusal.done", content_index=item.index, refusal=said.text)
        else:
            events = self._in_item(
                item,
                "response.output_text.done",
                content_index=item.index,
                text=said.text,
                logprobs=part["logprobs"],
            )
        events += self._in_item(item, "response.content_part.done", content_index=item.index, part=part)
        finished = {**message_item(self._request, item.place), "id": self._id(item), "content": [*item.closed, part]}
        return events + self._done(item, finished)

    # --- thoughts -----------------------------------------------------------------------------------------------------

    def _thinking(self, part: Thinking) -> bytes:
        events = b""
        item = self._open
        if item is None or item.kind != "reasoning" or item.thought.redacted or part.redacted:
            events = self._close_open()
            item = self._open = self._new("reasoning")
            added = render_reasoning(Thinking(), self._id(item))
            events += self._event("response.output_item.added", output_index=item.place, item=added)
        before = item.thought
        item.thought = Thinking(
            text=before.text + part.text,
            signature=part.signature or before.signature,
            origin=part.origin or before.origin,
            redacted=part.redacted,
        )
        if not part.text:
            return events
        if not before.text:
            empty = {"type": "summary_text", "text": ""}
            events += self._in_item(item, "response.reasoning_summary_part.added", summary_index=item.index, part=empty)
        return events + self._in_item(
            item, "response.reasoning_summary_text.delta", summary_index=item.index, delta=part.text
        )

    def _close_thinking(self, item: _Item) -> bytes:
        events, text = b"", item.thought.text
        if text:
            part = {"type": "summary_text", "text": text}
            events += self._in_item(item, "response.reasoning_summary_text.done", summary_index=item.index, text=text)
            events += self._in_item(item, "response.reasoning_summary_part.done", summary_index=item.index, part=part)
        finished = render_reasoning(item.thought, self._id(item))
        return events + self._done(item, {**finished, "summary": [*item.closed, *finished["summary"]]})

    # --- calls --------------------------------------------------------------------------------------------------------

    def _call(self, part: ToolCall) -> bytes:
        events = self._close_open()
        item = self._calls.get(part.index)
        if item is None:
            origin = self._toolbox.origin(part.name)
            item = self._calls[part.index] = self._new(ITEMS[origin.kind][0])
            item.origin, item.call = origin, ToolCall(id=part.id, name=part.name, signature=part.signature)
            added = self._call_item(item, "in_progress")
            events += self._event("response.output_item.added", output_index=item.place, item=added)
        if not part.arguments:
            return events
        arguments = item.call.arguments + part.arguments
        item.call = msgspec.structs.replace(item.call, arguments=arguments)
        if item.origin.kind != "function":  # its form differs, so it is sent when it is whole
            return events
        return events + self._in_item(item, "response.function_call_arguments.delta", delta=part.arguments)

    def _close_call(self, item: _Item) -> bytes:
        call = item.call
        item.call = msgspec.structs.replace(call, arguments=call.arguments or "{}")
        finished, events = self._call_item(item, "completed"), b""
        if item.origin.kind == "function":
            events = self._in_item(
                item,
                "response.function_call_arguments.done",
                name=item.origin.name,
                arguments=finished["arguments"],
            )
        elif item.origin.kind == "custom":
            text = finished["input"]
            events = self._in_item(item, "response.custom_tool_call_input.delta", delta=text) if text else b""
            events += self._in_item(item, "response.custom_tool_call_input.done", input=text)
        return events + self._done(item, finished)

    def _call_item(self, item: _Item, status: str) -> dict[str, Any]:
        return render_call(item.place, self._request.id, item.call, item.origin, status)

    @cached_property
    def _toolbox(self) -> Toolbox:
        return toolbox_of(self._request)

    # --- events -------------------------------------------------------------------------------------------------------

    def _new(self, kind: str) -> _Item:
        self._items.append(_Item(self._items[-1].place + 1 if self._items else 0, kind))
        return self._items[-1]

    def _id(self, item: _Item) -> str:
        if item.id:
            return item.id
        prefix = _PREFIXES[item.kind]
        return f"{prefix}_{self._request.id}_{item.place}"

    def _close_open(self) -> bytes:
        item, self._open = self._open, None
        if item is None:
            return b""
        return self._close_message(item, item.text) if item.text is not None else self._close_thinking(item)

    def _done(self, item: _Item, finished: dict[str, Any]) -> bytes:
        item.finished = finished
        return self._event("response.output_item.done", output_index=item.place, item=finished)

    def _in_item(self, item: _Item, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._id(item), output_index=item.place, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        self._number += 1
        event = {"type": kind, "sequence_number": self._number, **fields}
        return sse.render(msgspec.json.encode(event), kind)
