"""Answers that come whole where a stream was asked for, as servers give them that know no streams."""

from __future__ import annotations

import msgspec

from semroute.dialects.failures import UNDECODABLE, describe
from semroute.errors import BadAnswerError
from semroute.types import Chunk, Completion

NO_EVENTS = (b"{", b"[", b"<")
"""How a body begins that is no stream of events: an answer, a list of its pieces, a page."""


def as_chunk(completion: Completion) -> Chunk:
    """A whole answer as the only piece of a streamed one. Its body is no event: it is rendered anew."""
    return Chunk(
        parts=completion.parts,
        finish_reason=completion.finish_reason,
        usage=completion.usage,
        model=completion.model,
        id=completion.id,
        stop_sequence=completion.stop_sequence,
        logprobs=completion.logprobs,
        service_tier=completion.service_tier,
    )


def items(body: bytes) -> list[bytes]:
    """The pieces of an answer that came as a list, as Gemini's API sends them to who does not ask for events."""
    try:
        return [bytes(item) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
    except UNDECODABLE as error:
        raise BadAnswerError(f"expected a stream, got {describe(body, error)}", body=body) from error
