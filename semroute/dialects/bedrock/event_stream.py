"""Reads Amazon's event streams: binary frames with checksums. Needs the extra `bedrock`.

Source: https://smithy.io/2.0/aws/amazon-eventstream.html.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import msgspec
from botocore.eventstream import EventStreamBuffer, ParserError

from semroute.dialects.sse import WHOLE_STARTS, Event
from semroute.errors import BadAnswerError

FAILED = "error"
"""The name of events that report an error without an exception type."""
_DAMAGED = (ParserError, struct.error, LookupError, UnicodeDecodeError)


class FrameParser:
    """Splits bytes into events. The name of each is the type of the event, or of the exception."""

    whole_starts = WHOLE_STARTS

    def __init__(self) -> None:
        self._buffer = EventStreamBuffer()

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield the events that this chunk completes. Raises `BadAnswerError` when it reaches a damaged frame."""
        self._buffer.add_data(chunk)
        try:
            for message in self._buffer:
                yield _event(message)
        except _DAMAGED as error:
            raise BadAnswerError(f"the stream holds a damaged frame: {error}") from None

    def close(self) -> tuple[Event, ...]:
        """Return no events: at the end of a stream only part of a frame can be left."""
        return ()


def _event(message: Any) -> Event:
    headers: dict[str, Any] = message.headers
    match headers.get(":message-type"):
        case "exception":
            return Event(name=str(headers.get(":exception-type", FAILED)), data=message.payload)
        case "error":
            said = {"code": headers.get(":error-code"), "message": headers.get(":error-message")}
            return Event(name=FAILED, data=msgspec.json.encode(said))
        case _:
            return Event(name=str(headers.get(":event-type", "")), data=message.payload)
