"""From the models that may serve a request to the plan: which are tried, in which order, why, and why not the others.

    may serve -> hard constraints -> order of `select` -> difficulty in front -> the conversation's model in front
              -> deployments side by side

What a policy, a rule or the request itself excludes is never in a plan. What the difficulty prefers only comes first:
a simple model is still better than no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random

from semroute.bases import Frozen
from semroute.config.schema.models import LEAST_TOKENS, Model, deployment_ids
from semroute.config.schema.policies import Policy
from semroute.config.schema.rules import Rule
from semroute.decision import PlanEntry, Signals, Tier
from semroute.routing.difficulty import Standing, prefer
from semroute.routing.facts import Facts
from semroute.routing.load_balancing import balanced
from semroute.routing.pricing import Offer, estimate
from semroute.routing.rule_matching import excluded

TIER_QUALITY: dict[Tier, float] = {"simple": 0.6, "moderate": 0.75, "complex": 0.9}
"""What a model is taken to be worth that states no quality."""
Key = Callable[[Offer], tuple[float | Decimal, ...]]
"""What offers are sorted by; last comes their place in the list."""
SCALE = 1_000_000
_NEEDS = "the request needs about"
THRIFTY = 0.5
"""From this thrift on, the cheapest model comes first, whatever `select` and the difficulty say."""


class Plan(Frozen, frozen=True, kw_only=True):
    """The models to try in order, and those left out."""

    models: tuple[Model, ...] = ()
    entries: tuple[PlanEntry, ...] = ()
    rejected: dict[str, str]
    """Model id to the reason."""
    cost_quality: float | None = None
    """The dial that was applied."""


class Terms(Frozen, frozen=True, kw_only=True):
    """Everything that a plan is made under."""

    policy: Policy
    facts: Facts
    signals: Signals
    route: str | None = None
    narrowing: tuple[Rule, ...] = ()
    stays_on: str | None = None
    """The model that the conversation is on."""
    standing: Standing = Standing()
    seed: str = ""
    """What chance comes from: the request's id, so that a replay draws alike."""


def make_plan(models: Iterable[Model], registry: Mapping[str, Model], terms: Terms) -> Plan:
    """Keep what may serve the request, in the order of the policy; say of the others why not."""
    rejected: dict[str, str] = {}
    heads: list[Offer] = []
    siblings: dict[str, list[Offer]] = {}
    for place, model in enumerate(models):
        kept = [offer for one in deployed(model, registry) if (offer := _offer(one, place, terms, rejected))]
        if kept:
            head, *siblings[head.model.id] = _side_by_side(kept, model.balance, terms)
            heads.append(head)
    dial = _dial(terms)
    ordered = _select(heads, terms, dial)
    if terms.signals.thrift < THRIFTY:
        ordered = prefer(ordered, terms.standing, dialled=terms.facts.cost_quality is not None)
    ordered = _with_room_first(_staying(ordered, terms), terms.signals.exhausted)
    offers = [one for head in ordered for one in (head, *_beside(head, siblings[head.model.id]))]
    return Plan(
        models=tuple(offer.model for offer in offers),
        entries=tuple(map(_entry, offers)),
        rejected=rejected,
        cost_quality=dial,
    )


def pinned_plan(models: Iterable[Model], registry: Mapping[str, Model], terms: Terms) -> Plan:
    """What the caller asked for by name is judged by the provider; it only has to be callable, and allowed by rules."""
    offers: list[Offer] = []
    rejected: dict[str, str] = {}
    for place, model in enumerate(models):
        kept: list[Offer] = []
        for one in deployed(model, registry):
            if reason := terms.signals.why_not(one.id) or _narrowed(one, terms):
                rejected[one.id] = reason
            else:
                kept.append(_priced(one, place, terms))
        if kept:
            head, *others = _side_by_side(kept, model.balance, terms)
            why = "the request asks for it" if place == 0 else "the request names it next"
            offers += [head.because(why), *_beside(head, others)]
    return Plan(models=tuple(offer.model for offer in offers), entries=tuple(map(_entry, offers)), rejected=rejected)


def resolve(ids: Iterable[str], registry: Mapping[str, Model]) -> tuple[Model, ...]:
    """The models of a checked configuration's ids, each once."""
    return tuple(registry[model_id] for model_id in dict.fromkeys(ids))


def deployed(model: Model, registry: Mapping[str, Model]) -> tuple[Model, ...]:
    """A model and its further deployments."""
    if not model.deployments:
        return (model,)
    return (model, *(registry[id_] for id_ in deployment_ids(model.id, model)))


# --- hard constraints -------------------------------------------------------------------------------------------------


def unfit(model: Model, facts: Facts) -> str | None:
    """Why a model cannot serve the request; None: it can."""
    missing = [need for need in facts.needs if need not in model.features]
    if missing:
        return f"lacks {', '.join(missing)}"
    needed = facts.input_tokens + min(facts.max_tokens or 0, LEAST_TOKENS)
    if model.context_tokens is not None and needed > model.context_tokens:
        return f"{_NEEDS} {needed} tokens, its window holds {model.context_tokens}"
    return None


def is_too_long(reason: str) -> bool:
    """Whether `unfit` says that the request is longer than the model's window."""
    return reason.startswith(_NEEDS)


def barred(offer: Offer, policy: Policy) -> str | None:
    """Which constraint of the policy a model breaks; None: none."""
    model = offer.model
    missing = [feature for feature in policy.requires if feature not in model.features]
    if missing:
        return f"lacks {', '.join(missing)}, which the policy requires"
    if policy.regions and set(policy.regions).isdisjoint(model.regions):
        return f"in {_names(model.regions)}, the policy allows {_names(policy.regions)}"
    if policy.min_quality is not None and (not offer.known or offer.quality < policy.min_quality):
        got = f"{offer.quality:.2f}" if offer.known else "is not stated"
        return f"quality {got}, the policy wants {policy.min_quality:.2f}"
    if policy.max_cost_usd is not None and offer.cost_usd > policy.max_cost_usd:
        return f"would cost about {offer.cost_usd:.6f} USD, the policy allows {policy.max_cost_usd}"
    if policy.max_latency_ms is not None and (offer.latency_ms or 0) > policy.max_latency_ms:
        return f"takes about {offer.latency_ms:.0f} ms, the policy allows {policy.max_latency_ms:.0f}"
    return None


def _names(regions: Sequence[str]) -> str:
    return ", ".join(regions) or "no region"


def _narrowed(model: Model, terms: Terms) -> str | None:
    if not terms.narrowing:
        return None
    return next((reason for rule in terms.narrowing if (reason := excluded(model, rule))), None)


# --- what is expected of a model --------------------------------------------------------------------------------------


def _offer(model: Model, place: int, terms: Terms, rejected: dict[str, str]) -> Offer | None:
    """What is expected of a model; None, with the reason in `rejected`, where it must not be used."""
    reason = terms.signals.why_not(model.id) or unfit(model, terms.facts) or _narrowed(model, terms)
    if reason is None:
        offer = _priced(model, place, terms)
        reason = barred(offer, terms.policy)
        if reason is None:
            return offer
    rejected[model.id] = reason
    return None


def _priced(model: Model, place: int, terms: Terms) -> Offer:
    facts, quality = terms.facts, _known_quality(model, terms.route, terms.standing)
    return Offer(
        model=model,
        quality=TIER_QUALITY[model.tier] if quality is None else quality,
        known=quality is not None,
        cost_usd=estimate(model, terms.policy, facts.input_tokens, facts.max_tokens).cost_usd,
        latency_ms=terms.signals.latency_ms.get(model.id, model.latency_ms),
        place=place,
    )


def expected_quality(model: Model, route: str | None, standing: Standing) -> float:
    """Of this prompt where that was learned, else of the route, else of the model, else of its tier."""
    known = _known_quality(model, route, standing)
    return TIER_QUALITY[model.tier] if known is None else known


def _known_quality(model: Model, route: str | None, standing: Standing) -> float | None:
    """Learned or stated; None: neither."""
    learned = standing.quality.get(model.group or model.id)
    return learned if learned is not None else model.quality_by_route.get(route or "", model.quality)


def _side_by_side(offers: list[Offer], how: str, terms: Terms) -> list[Offer]:
    """The deployments of one model, the one to be called first in front."""
    if len(offers) < 2:
        return offers
    by_id = {offer.model.id: offer for offer in offers}
    models = [offer.model for offer in offers]
    ordered = balanced(models, how, terms.signals, lambda model: by_id[model.id].cost_usd, Random(terms.seed))
    ordered.sort(key=lambda model: (model.id in terms.signals.exhausted, model.id != terms.stays_on))
    return [by_id[model.id] for model in ordered]


def _with_room_first(offers: list[Offer], full: Mapping[str, str]) -> list[Offer]:
    """A model whose limit leaves no room comes after those that have some."""
    if not full:
        return offers
    waiting = [
        one.because(f"after those with room: {full[one.model.id]}; {one.why}") for one in offers if one.model.id in full
    ]
    return [*(one for one in offers if one.model.id not in full), *waiting] if waiting else offers


def _beside(head: Offer, others: Iterable[Offer]) -> list[Offer]:
    group = head.model.group or head.model.id
    return [offer.because(f"another deployment of {group}") for offer in others]


def _entry(offer: Offer) -> PlanEntry:
    return PlanEntry(
        model=offer.model.id,
        why=offer.why,
        tier=offer.model.tier,
        quality=round(offer.quality, 4),
        cost_usd=offer.cost_usd,
        latency_ms=offer.latency_ms,
    )


# --- order ------------------------------------------------------------------------------------------------------------


def _dial(terms: Terms) -> float | None:
    """The request's dial, else the policy's where it selects by it; thrift turns it toward cheap."""
    given = terms.facts.cost_quality
    if given is None and terms.policy.select == "balanced":
        given = terms.policy.cost_quality
    return None if given is None else given * (1 - min(1.0, max(0.0, terms.signals.thrift)))


def _select(offers: Sequence[Offer], terms: Terms, dial: float | None) -> list[Offer]:
    """In the order of the policy, or of the request's dial, each with why it stands there."""
    if dial is not None:
        key, what = _balance(offers, dial), f"quality against cost at {dial:.2f}"
    elif terms.signals.thrift >= THRIFTY:
        key, what = _ORDERS["cheapest"][0], "cost, for the budget runs low"
    else:
        key, what = _ORDERS[terms.policy.select]
    ordered = _whole_first(sorted(offers, key=key), key, terms.facts)
    return [offer.because(_why(number, what)) for number, offer in enumerate(ordered)]


def _whole_first(ordered: list[Offer], key: Key, facts: Facts) -> list[Offer]:
    """A model that gives all that is asked for comes before those that are as good and give less."""
    if facts.max_tokens is None or all(_gives_all(offer, facts) for offer in ordered):
        return ordered
    placed: list[Offer] = []
    for offer in ordered:
        as_good = (n for n, one in enumerate(placed) if not _gives_all(one, facts) and _as_good(one, offer, key))
        placed.insert(next(as_good, len(placed)) if _gives_all(offer, facts) else len(placed), offer)
    return placed


def _gives_all(offer: Offer, facts: Facts) -> bool:
    limit = offer.model.room(facts.input_tokens)
    return facts.max_tokens is None or limit is None or facts.max_tokens <= limit


def _as_good(one: Offer, other: Offer, key: Key) -> bool:
    """By all that the order goes by but the place in the list; where it goes by that alone, by quality."""
    mine, theirs = key(one)[:-1], key(other)[:-1]
    return mine == theirs if mine else one.quality == other.quality


def _staying(offers: list[Offer], terms: Terms) -> list[Offer]:
    """The conversation's model in front: what it was told is in its cache, and its answers are of one kind.

    Not where the request brings its own dial or money runs low, nor where its difficulty asks for a better model.
    """
    if terms.stays_on is None:
        return offers
    home = next((offer for offer in offers if offer.model.id == terms.stays_on), None)
    asked = terms.facts.cost_quality is not None or terms.signals.thrift >= THRIFTY
    if home is None or asked or (terms.standing.rule is not None and home.quality < offers[0].quality):
        return offers
    others = (offer for offer in offers if offer is not home)
    return [home.because(f"the conversation is on it; {home.why}"), *others]


def _why(number: int, what: str) -> str:
    return f"first by {what}" if number == 0 else f"next by {what}"


_ORDERS: dict[str, tuple[Key, str]] = {
    "ordered": (lambda o: (o.place,), "the order given"),
    "cheapest": (lambda o: (o.cost_usd, -o.quality, o.place), "cost"),
    "fastest": (lambda o: (math.inf if o.latency_ms is None else o.latency_ms, o.cost_usd, o.place), "latency"),
    "best": (lambda o: (-o.quality, o.cost_usd, o.place), "quality"),
}


def _balance(offers: Sequence[Offer], dial: float) -> Key:
    """By `dial * quality - (1 - dial) * cost`, both on a scale of 0 to 1 over these models.

    Cost counts by its logarithm: twice the price is as much at any price. In whole numbers, so that no rounding can
    turn the order: with a higher dial the first model's quality is never lower.
    """
    qualities = [offer.quality for offer in offers]
    costs = [_log_cost(offer) for offer in offers]
    weight = round(dial * SCALE)

    def key(offer: Offer) -> tuple[float | Decimal, ...]:
        good = _within(offer.quality, qualities)
        dear = _within(_log_cost(offer), costs)
        return (-(weight * good - (SCALE - weight) * dear), -offer.quality, offer.cost_usd, offer.place)

    return key


def _log_cost(offer: Offer) -> float:
    return math.log1p(float(offer.cost_usd) * SCALE)


def _within(value: float, values: Sequence[float]) -> int:
    low, high = min(values), max(values)
    return round((value - low) / (high - low) * SCALE) if high > low else 0
