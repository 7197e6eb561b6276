"""What a decision is made of, and what it says."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from semroute.bases import Frozen

ThresholdSource = Literal["tuned", "route", "abstain", "calibrated"]
"""Who set a threshold: `semroute tune`, the route, `abstain: {threshold: …}`, or the calibration on the utterances."""

Reason = Literal["rule", "semantic", "default", "pinned", "sticky", "classifier"]

Tier = Literal["simple", "moderate", "complex"]

TIERS: tuple[Tier, ...] = ("simple", "moderate", "complex")
"""From the least to the most demanding."""


class Signals(Frozen, frozen=True, kw_only=True):
    """Facts of the moment that a decision may depend on, gathered before it."""

    unavailable: dict[str, str] = {}
    """Models that cannot be called now, and why."""
    open_breakers: dict[str, str] = {}
    """Models that failed too often of late, and since when."""
    exhausted: dict[str, str] = {}
    """Models whose rate or concurrency limit leaves no room for this request, and which."""
    latency_ms: dict[str, float] = {}
    """How long each model takes to the first content or the whole answer: a moving average; absent: not measured."""
    in_flight: dict[str, int] = {}
    """Calls under way, by model; those without are absent."""
    thrift: float = 0.0
    """How much a budget that runs low should weigh, 0 to 1: it turns the dial toward cheap."""

    def why_not(self, model_id: str) -> str | None:
        """Why a model cannot be called now; None: it can."""
        return self.unavailable.get(model_id) or self.open_breakers.get(model_id)


class Nearest(Frozen, frozen=True, kw_only=True):
    """The utterance most like the prompt."""

    utterance: str
    similarity: float
    """Cosine, -1 to 1."""


class Candidate(Frozen, frozen=True, kw_only=True):
    """A route that was considered."""

    route: str
    confidence: float
    """0 to 1: how likely it is that the prompt belongs to this route."""
    threshold: float = 0.0
    """What the confidence has to reach for the route to be taken."""
    threshold_from: ThresholdSource = "calibrated"
    nearest: Nearest | None = None


class Match(Frozen, frozen=True, kw_only=True):
    """How a prompt compares with the routes."""

    candidates: tuple[Candidate, ...] = ()
    """Best first."""
    in_scope: float = 0.0
    """0 to 1: how likely it is that the prompt belongs to any route."""


class Estimate(Frozen, frozen=True, kw_only=True):
    """What the planned call is likely to cost."""

    input_tokens: int
    output_tokens: int
    """Assumed: the policy's `expected_output_tokens`, or the request's `max_tokens` where that is less."""
    cost_usd: Decimal


class PlanEntry(Frozen, frozen=True, kw_only=True):
    """A model of the plan."""

    model: str
    why: str
    """Why it stands in this place."""
    tier: Tier
    quality: float
    """Expected, 0 to 1: of this prompt where learned, else of the route, of the model, or of its tier."""
    cost_usd: Decimal
    """Estimated."""
    latency_ms: float | None
    """Measured, else declared; None: unknown."""


class Word(Frozen, frozen=True, kw_only=True):
    """A word of the prompt, or a few together where the prompt is long."""

    text: str
    effect: float
    """How much confidence the best candidate loses without it; negative: it gains."""
    route_without: str | None
    """The route that the prompt would take without it; None: none."""


class Flip(Frozen, frozen=True, kw_only=True):
    """The smallest change of confidence that would have decided otherwise, and a sentence about it for people."""

    route: str | None
    """What would have been taken; None: no route."""
    gap: float
    """How much confidence it takes."""
    explanation: str


class Details(Frozen, frozen=True, kw_only=True):
    """What a decision says when it is asked to explain itself, and only then."""

    words: tuple[Word, ...]
    """In the order of the prompt; empty where nothing was compared."""
    flip: Flip | None
    """None: something else than confidence decided."""


class Decision(Frozen, frozen=True, kw_only=True):
    """Where a request goes, and why."""

    id: str
    route: str | None
    """None: no route was confident enough, or the model was pinned."""
    reason: Reason
    explanation: str
    """One sentence for people."""
    confidence: float
    """0 to 1: how sure the best candidate is; 1 for rules and pins."""
    threshold: float
    """What the confidence had to reach."""
    margin: float
    """Confidence of the best candidate less that of the next."""
    model: str | None
    """The first of the plan; None: none can be called."""
    plan: tuple[str, ...]
    """Model ids in the order in which they are tried."""
    plan_details: tuple[PlanEntry, ...] = ()
    """The same, each with why it stands there and what is expected of it."""
    rejected: dict[str, str]
    """Models left out of the plan, and why."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    in_scope: float | None = None
    """0 to 1: how likely it is that the prompt belongs to any route; None: it was not matched."""
    threshold_from: ThresholdSource | None = None
    """Who set the threshold; None: the prompt was not matched."""
    estimate: Estimate
    config_version: str
    rule: str | None = None
    """The rule that decided."""
    narrowed_by: tuple[str, ...] = ()
    """The rules that left out models."""
    not_compared: tuple[str, ...] = ()
    """What rules ask of the request's metadata and could not compare with what it says, the first ten, in words."""
    difficulty: float | None = None
    """How hard the request is, by what the policy goes by: complexity 0 to 1, confidence in the wanted tier, or the
    learned gain of the best model over the cheapest; None: it does not matter, or there is no telling."""
    wants: Tier | None = None
    """The tier that the difficulty asks for; None: none."""
    contributions: dict[str, float] = {}
    """What adds up to the difficulty."""
    cost_quality: float | None = None
    """The dial that was applied; None: none."""
    thrift: float = 0.0
    """How far a budget past its soft limit has slid the dial toward cheap, 0 to 1."""
    latency_ms: float = 0.0
    details: Details | None = None
