"""A `Record` as rows of the log, and back."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
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
    "INSERT INTO bodies (id, body, block, embedding, scores, prompt, answer) VALUES (?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
INSERT_BLOCK = "INSERT INTO blocks (id, data) VALUES (?, ?) ON CONFLICT DO NOTHING"
BLOCK = 64
"""Records whose bodies are compressed together: they are much alike."""

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
_decode_body = msgspec.msgpack.Decoder(Body).decode
_decode_block = msgspec.msgpack.Decoder(dict[str, Body]).decode


def decision_row(record: Record) -> tuple[Any, ...]:
    """The values of `COLUMNS`."""
    decision, caller, attempts = record.decision, record.caller, record.attempts
    usage = record.total_usage
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
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        int(usage.estimated),
        len(attempts),
        round(record.latency_ms, 3),
        record.first_token_ms,
        round(record.overhead_ms, 3),
        decision.confidence,
        record.error,
    )


def blocks(batch: Sequence[Record]) -> Iterator[tuple[str, Sequence[Record]]]:
    """Records in the order of their ids -> blocks, each named by its last: older blocks have lower names."""
    for first in range(0, len(batch), BLOCK):
        members = batch[first : first + BLOCK]
        yield members[-1].request_id, members


def block_row(name: str, members: Sequence[Record]) -> tuple[str, bytes]:
    """The row of `blocks`."""
    packed = _encoder.encode(
        {record.request_id: Body(decision=record.decision, attempts=record.attempts) for record in members}
    )
    press = zlib.compressobj(1, zdict=_DICTIONARY_1)
    return name, b"\x01" + press.compress(packed) + press.flush()


def body_row(name: str, record: Record) -> tuple[Any, ...]:
    """The row of `bodies`: what does not compress, and the name of the block that has the rest."""
    prompt, answer = kept(record.prompt, record.content), kept(record.answer, record.content)
    return record.request_id, b"", name, record.embedding or None, record.scores or None, prompt, answer


def read_block(data: bytes) -> dict[str, Body]:
    """The bodies of a block, by their records' ids."""
    return _decode_block(_unpacked(data))


def read_body(data: bytes) -> Body:
    """A body that stands alone, as they all did before there were blocks."""
    return _decode_body(_unpacked(data))


def _unpacked(data: bytes) -> bytes:
    return zlib.decompressobj(zdict=_DICTIONARY_1).decompress(data[1:])


def summary(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row of `SUMMARY`, for people and machines."""
    fields = dict(zip(SUMMARY, row, strict=True))
    fields["cost_usd"], fields["saved_usd"] = to_usd(fields.pop("cost")), to_usd(fields.pop("saved"))
    fields["estimated"] = bool(fields["estimated"])
    feedback = {name: fields.pop(name) for name in ("score", "label", "comment", "feedback_at")}
    fields["feedback"] = feedback if feedback["feedback_at"] is not None else None
    return fields


def whole(row: tuple[Any, ...], body: Body, rest: tuple[Any, ...], names: str | None) -> dict[str, Any]:
    """A summary with its body, the rest: (embedding, scores, prompt, answer), and the names of the scores as JSON."""
    embedding, scores, prompt, answer = rest
    return {
        **summary(row),
        "decision": body.decision,
        "attempts": body.attempts,
        "scores": dict(zip(json.loads(names), floats(scores), strict=True)) if names and scores else {},
        "embedding": floats(embedding) if embedding else None,
        "prompt": prompt,
        "answer": answer,
    }


def floats(data: bytes) -> list[float]:
    """Float16, little-endian -> numbers."""
    return list(struct.unpack(f"<{len(data) // 2}e", data))
