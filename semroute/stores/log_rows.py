"""Turn a `LogEntry` into rows of the log, and rows into summaries and details."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from semroute.bases import Frozen
from semroute.decision import Decision
from semroute.record import Attempt, RequestFeatures
from semroute.stores.interfaces import to_usd
from semroute.stores.log_content import text_to_keep
from semroute.stores.log_entries import LogEntry, pack

COLUMNS = tuple(
    "id at route model tier key_id key_name team feature reason outcome cost saved input_tokens output_tokens "  # noqa: SIM905 - nine lines less
    "cached_tokens estimated attempts latency_ms first_token_ms overhead_ms confidence error escalated "
    "unit experiment arm".split()
)
SUMMARY = (*COLUMNS, "score", "label", "comment", "feedback_at")
INSERT_DECISION = (
    f"INSERT INTO decisions ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))}) ON CONFLICT DO NOTHING"
)
INSERT_BODY = (
    "INSERT INTO bodies (id, body, block, embedding, scores, prompt, answer, features) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO NOTHING"
)
INSERT_BLOCK = "INSERT INTO blocks (id, data) VALUES (?, ?) ON CONFLICT DO NOTHING"
BLOCK = 64
"""How many bodies are compressed together. They are much alike, so this saves space."""

UNREADABLE = (zlib.error, msgspec.DecodeError, struct.error, KeyError, ValueError)
"""What reading a row raises if the row, or the block of its body, is damaged."""

# Names that nearly every body holds. With them, a body of a kilobyte compresses to a third. Never edit them: old
# bodies could not be read any more.
_DICTIONARY_1 = (
    b"provider_server_error provider_timeout provider_rate_limited status failed cancelled error_code error "
    b"semantic default pinned rule explanation the prompt matches with confidence (threshold 0.50) nearest utterance "
    b"similarity candidates route confidence margin threshold reason model plan rejected estimate input_tokens "
    b"output_tokens cost_usd config_version difficulty thrift latency_ms decision attempts status ok first_token_ms "
    b"usage cached_tokens cache_write_tokens reasoning_tokens estimated"
)


class _Attempt(Attempt, frozen=True, kw_only=True):
    """An attempt as it is stored."""

    served: bool = False
    """The former name of `served_anyway`."""

    @property
    def now(self) -> Attempt:
        """Return the same under today's names."""
        fields = {name: getattr(self, name) for name in Attempt.__struct_fields__}
        return Attempt(**{**fields, "served_anyway": self.served or self.served_anyway})


class _Stored(Frozen, frozen=True, kw_only=True):
    """A body as it is stored."""

    decision: Decision
    attempts: tuple[_Attempt, ...]
    encoder: str = ""

    @property
    def now(self) -> RecordDetails:
        """Return the same under today's names."""
        attempts = tuple(attempt.now for attempt in self.attempts)
        return RecordDetails(decision=self.decision, attempts=attempts, encoder=self.encoder)


class RecordDetails(Frozen, frozen=True, kw_only=True):
    """The parts of a record that only its reader needs."""

    decision: Decision
    attempts: tuple[Attempt, ...]
    encoder: str = ""
    """The fingerprint of the encoder that made the vector. Empty: an older version wrote the record."""


_decode_body = msgspec.msgpack.Decoder(_Stored).decode
_decode_features = msgspec.msgpack.Decoder(RequestFeatures).decode
_decode_block = msgspec.msgpack.Decoder(dict[str, _Stored]).decode


def decision_row(entry: LogEntry) -> tuple[Any, ...]:
    """Return the values of `COLUMNS`."""
    sent, gist, attempts, model, first_token_ms, usage, cost, saved = entry
    caller = sent.caller
    return (
        sent.request_id,
        sent.at,
        gist.route,
        model,
        sent.tier,
        caller.id,
        caller.name,
        caller.team,
        sent.feature,
        gist.reason,
        sent.outcome,
        cost,
        saved,
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        int(usage.estimated),
        len(attempts),
        round(sent.latency_ms, 3),
        first_token_ms,
        round(sent.overhead_ms, 3),
        gist.confidence,
        sent.error,
        int(entry.escalated),
        sent.unit,
        sent.experiment,
        sent.arm,
    )


def blocks(batch: Sequence[LogEntry]) -> Iterator[tuple[str, Sequence[LogEntry]]]:
    """Split entries, sorted by id, into blocks. Each is named by its last id, so older blocks have lower names."""
    for first in range(0, len(batch), BLOCK):
        members = batch[first : first + BLOCK]
        yield members[-1].id, members


def block_row(name: str, members: Sequence[LogEntry]) -> tuple[str, bytes]:
    """Return the row of `blocks`."""
    packed = pack({entry.id: entry.body for entry in members})
    press = zlib.compressobj(1, zdict=_DICTIONARY_1)
    return name, b"\x01" + press.compress(packed) + press.flush()


def body_row(name: str, entry: LogEntry) -> tuple[Any, ...]:
    """Return the row of `bodies`: what does not compress, and the name of the block with the rest."""
    sent = entry.sent
    prompt, answer = text_to_keep(sent.prompt, sent.content), text_to_keep(sent.answer, sent.content)
    vector, scores, features = sent.embedding or None, sent.scores or None, sent.features or None
    return sent.request_id, b"", name, vector, scores, prompt, answer, features


def read_block(data: bytes) -> dict[str, RecordDetails]:
    """Return the bodies of a block by the ids of their records."""
    return {name: body.now for name, body in _decode_block(unpacked(data)).items()}


def read_body(data: bytes) -> RecordDetails:
    """Read a body that stands alone, as all bodies did before there were blocks."""
    return _decode_body(unpacked(data)).now


def unpacked(data: bytes) -> bytes:
    """Return the msgpack of a block, or of a body that stands alone. Raises one of `UNREADABLE`."""
    return zlib.decompressobj(zdict=_DICTIONARY_1).decompress(data[1:])


def summary(row: tuple[Any, ...]) -> dict[str, Any]:
    """Turn a row of `SUMMARY` into fields for people and machines."""
    fields = dict(zip(SUMMARY, row, strict=True))
    fields["cost_usd"], fields["saved_usd"] = to_usd(fields.pop("cost")), to_usd(fields.pop("saved"))
    fields |= {name: bool(fields[name]) for name in ("estimated", "escalated")}
    feedback = {name: fields.pop(name) for name in ("score", "label", "comment", "feedback_at")}
    fields["feedback"] = feedback if feedback["feedback_at"] is not None else None
    return fields


def whole(row: tuple[Any, ...], body: RecordDetails, rest: tuple[Any, ...], names: str | None) -> dict[str, Any]:
    """Return a summary with its body.

    `rest`: embedding, scores, prompt, answer, features. `names`: of the scores, as JSON.
    """
    embedding, scores, prompt, answer, features = rest
    return {
        **summary(row),
        "decision": body.decision,
        "attempts": body.attempts,
        "scores": dict(zip(json.loads(names), floats(scores), strict=True)) if names and scores else {},
        "embedding": floats(embedding) if embedding else None,
        "encoder": body.encoder,
        "prompt": prompt,
        "answer": answer,
        "features": _decode_features(features) if features else None,
    }


def floats(data: bytes) -> list[float]:
    """Float16, little-endian -> numbers."""
    return list(struct.unpack(f"<{len(data) // 2}e", data))
