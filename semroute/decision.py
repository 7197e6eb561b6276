"""A decision, and the values that it is made from."""

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


class Belief(Frozen, frozen=True, kw_only=True):
    """What is believed of a model's quality: a Beta distribution."""

    good: float
    """The weight of what speaks for it, and in the next field against it. Both together count as so many grades."""
    bad: float

    @property
    def mean(self) -> float:
        """Return the expected quality, 0 to 1."""
        return self.good / (self.good + self.bad)


class Signals(Frozen, frozen=True, kw_only=True):
    """Facts of the moment that a decision may depend on, gathered before it."""

    unavailable: dict[str, str] = {}
    """Models that cannot be called now, and why."""
    open_breakers: dict[str, str] = {}
    """Models that failed too often recently, and since when."""
    exhausted: dict[str, str] = {}
    """Models whose rate or concurrency limit leaves no room for this request, and the limit."""
    latency_ms: dict[str, float] = {}
    """How long each model takes to the first content or the whole answer: a moving average. A missing model was not
    measured."""
    in_flight: dict[str, int] = {}
    """Calls under way, by model. A missing model has none."""
    thrift: float = 0.0
    """How far a budget that runs low moves the dial toward cheap, 0 to 1."""
    beliefs: dict[str, Belief] = {}
    """What is learned of each model's quality on the chosen route. Empty: nothing is learned, the stated quality
    counts."""
    explore_usd: float | None = None
    """How much more than the best choice a choice made to learn may cost. None: nothing is tried to learn."""


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
    """The assumed number: the policy's `expected_output_tokens`, or the request's `max_tokens` if that is less."""
    cost_usd: Decimal


class PlanEntry(Frozen, frozen=True, kw_only=True):
    """A model of the plan."""

    model: str
    why: str
    """Why it stands in this place."""
    tier: Tier
    quality: float
    """Expected quality, 0 to 1. It is learned for this prompt, or else that of the route, the model or its tier."""
    cost_usd: Decimal
    """Estimated."""
    latency_ms: float | None
    """Measured latency, else declared. None: unknown."""


class Word(Frozen, frozen=True, kw_only=True):
    """A word of the prompt, or a few together where the prompt is long."""

    text: str
    effect: float
    """How much confidence the best candidate loses without the word. Negative: it gains."""
    route_without: str | None
    """The route that the prompt would take without the word. None: no route."""


class Flip(Frozen, frozen=True, kw_only=True):
    """The smallest change of confidence that would have changed the decision, and a sentence about it for people."""

    route: str | None
    """The route that would have been taken. None: no route."""
    gap: float
    """The change of confidence that would be enough."""
    explanation: str


class Piece(Frozen, frozen=True, kw_only=True):
    """A piece of what the user wrote."""

    text: str
    """A long piece of material is shortened."""
    asked: bool
    """Whether it counted as ask. Otherwise it is material."""
    earlier: bool = False
    """Whether it is from an earlier turn, which this one follows up."""


class Details(Frozen, frozen=True, kw_only=True):
    """Details that a decision has only if the request asks it to explain itself."""

    words: tuple[Word, ...]
    """In the order of the prompt. Empty: nothing was compared."""
    flip: Flip | None
    """The smallest change. None: something else than confidence decided."""
    pieces: tuple[Piece, ...] = ()
    """What the user wrote, cut into asks and material, in order."""


class Decision(Frozen, frozen=True, kw_only=True):
    """Where a request goes, and why."""

    id: str
    route: str | None
    """The route. None: no route was confident enough, or the model was pinned."""
    reason: Reason
    explanation: str
    """One sentence for people."""
    confidence: float
    """0 to 1: how sure the best candidate is; 1 for rules and pins."""
    threshold: float
    """What the confidence had to reach."""
    margin: float
    """Confidence of the best candidate minus that of the next."""
    model: str | None
    """The first of the plan. None: none can be called, or none is needed."""
    plan: tuple[str, ...]
    """Model ids in the order in which they are tried."""
    answer: str | None = None
    """The text that the route has ready, with its variables. No model is called then, and `plan` is empty. None: a
    model answers."""
    plan_details: tuple[PlanEntry, ...] = ()
    """The models of `plan`, each with the reason for its place and what is expected of it."""
    rejected: dict[str, str]
    """Models left out of the plan, and why."""
    candidates: tuple[Candidate, ...]
    """Best first."""
    in_scope: float | None = None
    """0 to 1: how likely it is that the prompt belongs to any route. None: it was not matched."""
    threshold_from: ThresholdSource | None = None
    """Who set the threshold. None: the prompt was not matched."""
    estimate: Estimate
    config_version: str
    asks: tuple[str | None, ...] = ()
    """Where each of several asks belongs, in the order of the prompt. None: to no route. Empty: there is only one
    ask, or nothing was matched. `route` is that of the most demanding one."""
    rule: str | None = None
    """The rule that decided."""
    narrowed_by: tuple[str, ...] = ()
    """The rules that left out models."""
    not_compared: tuple[str, ...] = ()
    """The first ten conditions of rules that could not be compared with the request's metadata, in words."""
    difficulty: float | None = None
    """How hard the request is. The policy chooses the scale: complexity from 0 to 1, confidence in the wanted tier, or
    the
    learned gain of the best model over the cheapest. None: it does not matter, or it is not known."""
    wants: Tier | None = None
    """The tier that the difficulty asks for. None: none."""
    contributions: dict[str, float] = {}
    """The parts that add up to the difficulty."""
    cost_quality: float | None = None
    """The dial that was applied. None: none."""
    thrift: float = 0.0
    """How far a budget past its soft limit has slid the dial toward cheap, 0 to 1."""
    propensity: float | None = None
    """The probability with which `model` was chosen. None: nothing was left to chance."""
    explored: bool = False
    """Whether another model than the best known one was chosen, to learn how good it is."""
    instead_of: str | None = None
    """The best known model, if `explored`."""
    latency_ms: float = 0.0
    details: Details | None = None
