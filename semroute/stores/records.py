"""A `Record` as rows of the log, and back."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import msgspec

from semroute.record import Record
from semroute.stores.base import to_pico, to_usd
from semroute.stores.content import kept
from semroute.types import Attempt, Decision, Frozen

COLUMNS = tuple(
    "id at route model tier key_id key_name team feature reason outcome cost saved input_tokens output_tokens "  # noqa: SIM905 - nine lines less
    "cached_tokens estimated attempts latency_ms first_token_ms overhead_ms confidence error".split()
)
SUMMARY = (*COLUMNS, "score", "label", "comment", "feedback_at")
INSERT_DECISION = (
    f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"
)
INSERT_BODY = (
    "INSERT INTO bodies (id, body, embedding, scores, prompt, answer) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING"
)

# Names that nearly every body holds: with them, a body of a kilobyte compresses to a third. Never edit: old bodies
# could no longer be read.
_DICTIONARY_1 = (
    b"provider_server_error provider_timeout provider_rate_limited status failed cancelled error_code error "
    b"semantic default pinned rule explanation the prompt matches with confidence (threshold 0.50) nearest utterance "
    b"similarity candidates route confidence margin threshold reason model plan rejected estimate input_tokens "
    b"output_tokens cost_usd config_version difficulty thrift latency_ms decision attempts status ok first_token_ms "
    b"usage cached_tokens cache_write_tokens reasoning_tokens estimated"
)


class Body(Frozen, frozen=True, kw_only=True):
    """What only a single record's reader wants."""

    decision: Decision
    attempts: tuple[Attempt, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Body)


def decision_row(record: Record) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    decision, caller, attempts = record.decision, record.caller, record.attempts
    usages = [attempt.usage for attempt in attempts]
    return (
        record.request_id,
        record.at,
        decision.route,
        record.model,
        record.tier,
        caller.id,
        caller.name,
        caller.team,
        record.feature,
        decision.reason,
        record.outcome,
        to_pico(record.cost_usd),
        to_pico(record.saved_usd),
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.cached_tokens for usage in usages),
        int(any(usage.estimated for usage in usages)),
        len(attempts),
        round(record.latency_ms, 3),
        record.first_token_ms,
        round(record.overhead_ms, 3),
        decision.confidence,
        record.error,
    )


def body_row(record: Record) -> tuple[Any, ...]:
    """The row of `bodies`."""
    packed = _encoder.encode(Body(decision=record.decision, attempts=record.attempts))
    press = zlib.compressobj(1, zdict=_DICTIONARY_1)
    body = b"\x01" + press.compress(packed) + press.flush()
    prompt, answer = kept(record.prompt, record.content), kept(record.answer, record.content)
    return record.request_id, body, record.embedding or None, record.scores or None, prompt, answer


def read_body(data: bytes) -> Body:
    """What `body_row` wrote."""
    return _decoder.decode(zlib.decompressobj(zdict=_DICTIONARY_1).decompress(data[1:]))


def summary(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of `SUMMARY`, for people and machines."""
    fields = dict(zip(SUMMARY, row, strict=True))
    fields["cost_usd"], fields["saved_usd"] = to_usd(fields.pop("cost")), to_usd(fields.pop("saved"))
    fields["estimated"] = bool(fields["estimated"])
    feedback = {name: fields.pop(name) for name in ("score", "label", "comment", "feedback_at")}
    fields["feedback"] = feedback if feedback["feedback_at"] is not None else None
    return fields


def whole(row: tuple[Any, ...], body: tuple[Any, ...], names: str | None) -> dict[str, Any]:
    """A summary with its body: (body, embedding, scores, prompt, answer), and the names of the scores as JSON."""
    data, embedding, scores, prompt, answer = body
    content = read_body(data)
    return {
        **summary(row),
        "decision": content.decision,
        "attempts": content.attempts,
        "scores": dict(zip(json.loads(names), floats(scores), strict=True)) if names and scores else {},
        "embedding": floats(embedding) if embedding else None,
        "prompt": prompt,
        "answer": answer,
    }


def floats(data: bytes) -> list[float]:
    """Float16, little-endian -> numbers."""
    return list(struct.unpack(f"<{len(data) // 2}e", data))
