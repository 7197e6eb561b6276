"""Server-sent events, both ways. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from semroute.errors import BadAnswerError
from semroute.types import Frozen

MAX_EVENT_BYTES = 16 * 1024 * 1024


class Event(Frozen, frozen=True, kw_only=True):
    """One event."""

    data: bytes
    """Its data lines, joined by a line feed."""
    name: str = ""
    """The `event:` field; empty: none."""


class EventParser:
    """Cuts bytes, however they are chunked, into events.

    Line ends may be LF, CRLF or CR. Comments, `id` and `retry` fields are passed over.
    """

    def __init__(self) -> None:
        self._pending = b""
        self._data: list[bytes] = []
        self._name = ""
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that are complete with this chunk. Raises `BadAnswerError` past 16 MiB without one."""
        if not chunk:
            return []
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r") if chunk else False
        text = self._pending + chunk
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = text.split(b"\n")
        self._pending = lines.pop()
        events = [event for line in lines if (event := self._line(line)) is not None]
        if len(self._pending) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise BadAnswerError(f"the stream holds an event of over {MAX_EVENT_BYTES} bytes")
        return events

    def close(self) -> list[Event]:
        """What is left when the stream ends. Unlike a browser, an event that lacks its blank line counts."""
        event = self._line(self._pending) if self._pending else None
        last = self._dispatch()
        self._pending = b""
        return [e for e in (event, last) if e is not None]

    def _line(self, line: bytes) -> Event | None:
        if self._first:
            self._first = False
            line = line.removeprefix(b"\xef\xbb\xbf")
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        name, data = self._name, self._data
        self._name, self._data = "", []
        return Event(data=b"\n".join(data), name=name) if data else None


def render(data: bytes, name: str = "") -> bytes:
    """One event on the wire. `data` holds no line break, as compact JSON does not."""
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + b"data: " + data + b"\n\n"
