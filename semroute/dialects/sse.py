"""Reads and writes server-sent events. Source: https://html.spec.whatwg.org/multipage/server-sent-events.html.

httpx-sse 0.4.3 takes twice as long for each event and has no limit for its length. It also drops the last event of a
stream that ends without a blank line (2026-11-30, `bench/libraries.py sse`).
"""

from __future__ import annotations

from semroute.bases import Frozen
from semroute.errors import OversizedAnswerError

MAX_EVENT_BYTES = 16 * 1024 * 1024
KEEP_ALIVE = b": keep-alive\n\n"
"""A comment, which keeps a stream alive while there is nothing to send."""
OPENING = b"data: "
"""The start of an event without a name. The data is JSON, so white space may follow."""
END = b"\n\n"
"""The end of an event."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
DONE = b"[DONE]"
"""The last event of OpenAI's streams."""
NOTHING = frozenset({b"", DONE, b"DONE"})
"""Data of events that say nothing. Proxies send them in every dialect, and Gemini ends streams by `DONE`.

Sources: https://github.com/zed-industries/zed/pull/61627, https://github.com/googleapis/java-genai/issues/1084, read on
2026-11-30.
"""
WHOLE_STARTS = (b"{", b"[", b"<")
"""First bytes of bodies that are not streams of events: an answer, a list of pieces of one, an HTML page."""


class Event(Frozen, frozen=True, kw_only=True):
    """One event."""

    data: bytes
    """Its data lines, joined by a line feed."""
    name: str = ""
    """The `event:` field. Empty: it has none."""


class EventParser:
    """Splits bytes into events, at whatever places the bytes are cut.

    Line ends may be LF, CRLF or CR. Comments and the fields `id` and `retry` are ignored. The work is linear in the
    number of bytes, even if one line arrives in many small chunks.
    """

    whole_starts = WHOLE_STARTS

    def __init__(self) -> None:
        self._unfinished: list[bytes] = []
        self._data: list[bytes] = []
        self._held_bytes = 0
        self._name = ""
        self._after_cr = False
        self._first_line = True
        self._between = False
        """Whether the last event is complete and the next one has not begun."""

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that this chunk completes. Raises `OversizedAnswerError` if one is over 16 MiB."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if not chunk:
            return []
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if self._between and chunk.startswith(b"data: ") and chunk.find(b"\n\n") == chunk.find(b"\n") == len(chunk) - 2:
            return [Event(data=chunk[6:-2])]  # the most common case: one whole event
        self._held_bytes += len(chunk)
        events = self._lines(chunk)
        if self._held_bytes > MAX_EVENT_BYTES:
            raise OversizedAnswerError(f"the stream holds an event of over {MAX_EVENT_BYTES} bytes")
        return events

    def close(self) -> list[Event]:
        """Return the last event, if its blank line is missing. A browser would drop it."""
        return self._lines(b"\n\n")

    def _lines(self, chunk: bytes) -> list[Event]:
        first, *others = chunk.split(b"\n")
        self._unfinished.append(first)
        if not others:
            self._between = False
            return []
        lines = [b"".join(self._unfinished), *others]
        self._unfinished = [lines.pop()]
        self._between = not lines[-1] and not self._unfinished[0]
        if self._first_line:
            self._first_line = False
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        events = []
        for line in lines:
            if not line:  # it completes an event
                if self._data:
                    events.append(Event(data=b"\n".join(self._data), name=self._name))
                self._name, self._data, self._held_bytes = "", [], 0
                continue
            field, _, value = line.partition(b":")
            if field == b"data":
                self._data.append(value.removeprefix(b" "))
            elif field == b"event":
                self._name = value.removeprefix(b" ").decode("utf-8", "replace")
        return events


def render(data: bytes, name: str = "") -> bytes:
    """Render one event. `data` may hold line feeds, as in an event of several data lines, but no CR."""
    if b"\n" in data:
        data = data.replace(b"\n", b"\ndata: ")
    head = b"event: " + name.encode() + b"\n" if name else b""
    return head + OPENING + data + END
