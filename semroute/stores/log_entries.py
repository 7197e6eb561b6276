"""A `Record` in the form that the log writes. What rows and rollups need is decoded once; the rest stays packed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from semroute.bases import Frozen
from semroute.decision import Reason
from semroute.messages import Usage
from semroute.record import Attempt, Content, Outcome, Record, cost_usd, escalated, first_answer, served, total_usage
from semroute.stores.interfaces import to_pico


class PackedBody(Frozen, frozen=True, kw_only=True):
    """The parts that only a reader of the single record needs, still packed."""

    decision: msgspec.Raw
    attempts: msgspec.Raw
    encoder: str


class DecisionSummary(Frozen, frozen=True, kw_only=True):
    """The parts of a decision that rows and rollups need."""

    route: str | None
    reason: Reason
    confidence: float
    config_version: str


class PlannedModel(Frozen, frozen=True, kw_only=True):
    """The parts of a planned model that rows and rollups need."""

    model: str
    tier: str


class PlanEvidence(Frozen, frozen=True, kw_only=True):
    """The plan of a decision. It is read only if an answer failed a check."""

    plan_details: tuple[PlannedModel, ...] = ()


class CallerSummary(Frozen, frozen=True, kw_only=True):
    """The parts of a caller that rows and rollups need."""

    id: str
    name: str
    team: str


class PackedRecord(Frozen, frozen=True, kw_only=True):
    """A packed `Record`."""

    request_id: str
    decision: msgspec.Raw
    attempts: msgspec.Raw
    outcome: Outcome
    overhead_ms: float
    at: float
    latency_ms: float
    caller: CallerSummary
    tier: str
    feature: str
    unit: str
    experiment: str
    arm: str
    saved_usd: Decimal
    error: str | None
    embedding: bytes
    encoder: str
    scores: bytes
    routes: msgspec.Raw
    features: bytes
    content: Content
    prompt: str | None
    answer: str | None


class LogEntry(NamedTuple):
    """A record that is about to be written."""

    sent: PackedRecord
    gist: DecisionSummary
    attempts: tuple[Attempt, ...]
    model: str | None
    first_token_ms: float | None
    usage: Usage
    """The usage of all attempts together."""
    cost: int
    """10^-12 USD, as in the next field."""
    saved: int

    @property
    def id(self) -> str:
        """The id of the request."""
        return self.sent.request_id

    @property
    def body(self) -> PackedBody:
        """The part of the record that a block holds."""
        return PackedBody(decision=self.sent.decision, attempts=self.sent.attempts, encoder=self.sent.encoder)

    @property
    def escalated(self) -> bool:
        """Return whether an answer failed a check."""
        return escalated(self.attempts)

    @property
    def routed(self) -> tuple[str, str]:
        """Return the model that answered first, and its tier."""
        model = first_answer(self.attempts)
        plan = _decode_plan(self.sent.decision).plan_details
        tier = next((planned.tier for planned in plan if planned.model == model), self.sent.tier)
        return model or self.model or "", tier

    @property
    def routes(self) -> list[str]:
        """Return the names of the routes that the scores belong to."""
        return _decode_names(self.sent.routes)


pack = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[PackedRecord]).decode
_decode_gist = msgspec.msgpack.Decoder(DecisionSummary).decode
_decode_plan = msgspec.msgpack.Decoder(PlanEvidence).decode
_decode_attempts = msgspec.msgpack.Decoder(tuple[Attempt, ...]).decode
_decode_names = msgspec.msgpack.Decoder(list[str]).decode


def unpack(packed: bytes | msgspec.Raw) -> list[LogEntry]:
    """Unpack a list of `Record`s. Raises `msgspec.ValidationError`."""
    return list(map(_entry, _decode(packed)))


def entries(batch: Sequence[Record]) -> list[LogEntry]:
    """Turn records into the form that is written. Raises `UnicodeError` if one cannot be packed."""
    return unpack(pack(batch))


def _entry(sent: PackedRecord) -> LogEntry:
    attempts = _decode_attempts(sent.attempts)
    answer = served(attempts)
    return LogEntry(
        sent,
        _decode_gist(sent.decision),
        attempts,
        answer.model if answer is not None else None,
        answer.first_token_ms if answer is not None else None,
        total_usage(attempts),
        to_pico(cost_usd(attempts)),
        to_pico(sent.saved_usd) if sent.saved_usd else 0,
    )
