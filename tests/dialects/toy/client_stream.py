"""Streamed answers of the toy dialect."""

from __future__ import annotations

import msgspec

from semroute.errors import SemrouteError
from semroute.messages import Chunk, Text
from semroute.record import Record
from tests.dialects.toy.client_answer import words


class ToyStream:
    """A line of JSON for each piece; the last one says that it is over."""

    keep_alive = b""

    def chunk(self, chunk: Chunk) -> bytes:
        text = "".join(part.text for part in chunk.parts if isinstance(part, Text))
        return msgspec.json.encode({"piece": text}) + b"\n" if text else b""

    def end(self, record: Record) -> bytes:
        return msgspec.json.encode({"over": True, "words": words(record.usage)}) + b"\n"

    def error(self, error: SemrouteError, status: int) -> bytes:
        return msgspec.json.encode({"oops": str(error), "how_bad": status}) + b"\n"
