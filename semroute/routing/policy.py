"""Make the plan from the models that may serve a request: which are tried, in which order, and why not the others.

    may serve -> hard constraints -> order of `select` -> difficulty in front -> the conversation's model in front
              -> what `learn` tries in front -> deployments side by side

A model that a policy, a rule or the request excludes is never in a plan. The difficulty only changes the order: a
simple model is still better than no answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from random import Random

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.schema.models import LEAST_TOKENS, Model, deployment_ids
from semroute.config.schema.policies import Policy
from semroute.config.schema.rules import Rule
from semroute.decision import Belief, PlanEntry, Signals, Tier
from semroute.routing.difficulty import Standing, prefer
from semroute.routing.exploring import Front, explore
from semroute.routing.facts import Facts
from semroute.routing.load_balancing import balanced
from semroute.routing.pricing import Offer, estimate
from semroute.routing.rule_matching import exclusion_reason

TIER_QUALITY: dict[Tier, float] = {"simple": 0.6, "moderate": 0.75, "complex": 0.9}
"""The quality of a model whose entry states none."""
Key = Callable[[Offer], tuple[float | Decimal, ...]]
"""A key to sort offers. The last element is their place in the list."""
SCALE = 1_000_000
_NEEDS = "the request needs about"
THRIFTY = 0.5
"""From this thrift on, the cheapest model comes first, whatever `select` and the difficulty say."""


class Plan(Frozen, frozen=True, kw_only=True):
    """The models to try in order, and those left out."""

    models: tuple[Model, ...] = ()
    entries: tuple[PlanEntry, ...] = ()
    rejected: dict[str, str]
    """By model id, why it was left out."""
    cost_quality: float | None = None
    """The dial that was applied. None: none was."""
    propensity: float | None = None
    """The probability with which the first model was chosen. None: nothing was drawn."""
    instead_of: str | None = None
    """The model that would be first if the first one were not tried to learn its quality. None: that is not so."""


class Terms(Frozen, frozen=True, kw_only=True):
    """The conditions that a plan is made under."""

    policy: Policy
    facts: Facts
    signals: Signals
    route: str | None = None
    narrowing: tuple[Rule, ...] = ()
    stays_on: str | None = None
    """The model that the conversation is on. None: there is none."""
    standing: Standing = Standing()
    seed: str = ""
    """The seed of random draws: the request's id, so that a replay draws the same."""


def make_plan(models: Sequence[Model], registry: Mapping[str, Model], terms: Terms) -> Plan:
    """Keep the models that may serve the request, in the order of the policy, and say why the others may not."""
    rejected: dict[str, str] = {}
    heads: list[Offer] = []
    siblings: dict[str, list[Offer]] = {}
    for place, model in enumerate(models):
        each = with_deployments(model, registry) if model.deployments else (model,)
        kept = [offer for one in each if (offer := _offer(one, place, terms, rejected))]
        if kept:
            head, *others = kept if len(kept) == 1 else _side_by_side(kept, model.balance, terms)
            heads.append(head)
            if others:
                siblings[head.model.id] = others
    if not heads and terms.signals.beliefs:
        # What was learned leaves no model. An answer is better than none, so the stated quality counts.
        return make_plan(models, registry, replace(terms, signals=replace(terms.signals, beliefs={}, explore_usd=None)))
    dial = _dial(terms)
    offers = _select(heads, terms, dial)
    if terms.standing.rule is not None and terms.signals.thrift < THRIFTY:
        offers = prefer(offers, terms.standing, dialled=terms.facts.cost_quality is not None)
    if terms.stays_on is not None:
        offers = _staying(offers, terms.stays_on, terms)
    if terms.signals.exhausted:
        offers = _with_room_first(offers, terms.signals.exhausted)
    front = _explored(offers, terms, dial)
    offers = front.offers
    if siblings:
        offers = [one for head in offers for one in (head, *_beside(head, siblings.get(head.model.id, ())))]
    return Plan(
        models=tuple(offer.model for offer in offers),
        entries=tuple(map(_entry, offers)),
        rejected=rejected,
        cost_quality=dial,
        propensity=front.propensity,
        instead_of=None if front.instead_of is None else front.instead_of.model.id,
    )


def pinned_plan(models: Iterable[Model], registry: Mapping[str, Model], terms: Terms) -> Plan:
    """Plan the models that the caller named. They only have to be callable and allowed by rules: the provider judges
    the rest.
    """
    offers: list[Offer] = []
    rejected: dict[str, str] = {}
    for place, model in enumerate(models):
        kept: list[Offer] = []
        for one in with_deployments(model, registry):
            if reason := away_reason(one.id, terms.signals) or _narrowed(one, terms):
                rejected[one.id] = reason
            else:
                kept.append(_priced(one, place, terms))
        if kept:
            head, *others = kept if len(kept) == 1 else _side_by_side(kept, model.balance, terms)
            why = "the request asks for it" if place == 0 else "the request names it next"
            offers += [replace(head, why=why), *_beside(head, others)]
    return Plan(models=tuple(offer.model for offer in offers), entries=tuple(map(_entry, offers)), rejected=rejected)


def resolve(ids: Iterable[str], registry: Mapping[str, Model]) -> tuple[Model, ...]:
    """Return the models with these ids, each once. The ids are from a checked configuration."""
    return tuple(registry[model_id] for model_id in dict.fromkeys(ids))


def with_deployments(model: Model, registry: Mapping[str, Model]) -> tuple[Model, ...]:
    """Return a model and its further deployments."""
    if not model.deployments:
        return (model,)
    return (model, *(registry[id_] for id_ in deployment_ids(model.id, model)))


# --- hard constraints -------------------------------------------------------------------------------------------------


def away_reason(model_id: str, signals: Signals) -> str | None:
    """Return why a model cannot be called now, or None if it can."""
    return signals.unavailable.get(model_id) or signals.open_breakers.get(model_id)


def unfit_reason(model: Model, facts: Facts) -> str | None:
    """Return why a model cannot serve the request, or None if it can."""
    missing = [need for need in facts.needs if need not in model.features]
    if missing:
        return f"lacks {', '.join(missing)}"
    needed = facts.input_tokens + min(facts.max_tokens or 0, LEAST_TOKENS)
    if model.context_tokens is not None and needed > model.context_tokens:
        return f"{_NEEDS} {needed} tokens, its window holds {model.context_tokens}"
    return None


def is_too_long(reason: str) -> bool:
    """Return whether a reason of `unfit_reason` is that the request is longer than the model's window."""
    return reason.startswith(_NEEDS)


def broken_constraint(offer: Offer, policy: Policy) -> str | None:
    """Return which constraint of the policy a model breaks, or None."""
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
    return next((reason for rule in terms.narrowing if (reason := exclusion_reason(model, rule))), None)


# --- what is expected of a model --------------------------------------------------------------------------------------


def _offer(model: Model, place: int, terms: Terms, rejected: dict[str, str]) -> Offer | None:
    """Estimate a model for the request. None: it must not be used, and `rejected` says why."""
    reason = away_reason(model.id, terms.signals) or unfit_reason(model, terms.facts)
    if reason is None and terms.narrowing:
        reason = _narrowed(model, terms)
    if reason is None:
        offer = _priced(model, place, terms)
        reason = broken_constraint(offer, terms.policy)
        if reason is None:
            return offer
    rejected[model.id] = reason
    return None


def _priced(model: Model, place: int, terms: Terms) -> Offer:
    facts, quality = terms.facts, _known_quality(model, terms.route, terms.standing)
    belief = _belief(model, terms) if terms.signals.beliefs else None
    if belief is not None and (quality is not None or _is_graded(belief, terms.policy)):
        quality = belief.mean
    return Offer(
        model=model,
        quality=TIER_QUALITY[model.tier] if quality is None else quality,
        known=quality is not None,
        belief=belief,
        cost_usd=estimate(model, terms.policy, facts.input_tokens, facts.max_tokens).cost_usd,
        latency_ms=terms.signals.latency_ms.get(model.id, model.latency_ms),
        place=place,
    )


def _belief(model: Model, terms: Terms) -> Belief | None:
    """Return what grades say of a model. None: `learn` is off, or the quality for this very prompt is known."""
    name = model.group or model.id
    return None if terms.policy.learn is None or name in terms.standing.quality else terms.signals.beliefs.get(name)


def _is_graded(belief: Belief, policy: Policy) -> bool:
    """Return whether a belief rests on more than the prior."""
    return policy.learn is not None and belief.good + belief.bad > policy.learn.prior_weight * (1 + 1e-9)


def expected_quality(model: Model, route: str | None, standing: Standing) -> float:
    """Return the quality learned for this prompt, else that on the route, else that of the model, else that of its
    tier.
    """
    known = _known_quality(model, route, standing)
    return TIER_QUALITY[model.tier] if known is None else known


def _known_quality(model: Model, route: str | None, standing: Standing) -> float | None:
    """Return the learned or stated quality. None: there is neither."""
    learned = standing.quality.get(model.group or model.id)
    return learned if learned is not None else model.quality_by_route.get(route or "", model.quality)


def _side_by_side(offers: list[Offer], how: str, terms: Terms) -> list[Offer]:
    """Sort several deployments of one model: the one to call first comes first."""
    by_id = {offer.model.id: offer for offer in offers}
    models = [offer.model for offer in offers]
    ordered = balanced(models, how, terms.signals, lambda model: by_id[model.id].cost_usd, Random(terms.seed))
    ordered.sort(key=lambda model: (model.id in terms.signals.exhausted, model.id != terms.stays_on))
    return [by_id[model.id] for model in ordered]


def _with_room_first(offers: list[Offer], full: Mapping[str, str]) -> list[Offer]:
    """Put models whose limits leave no room behind the others."""
    waiting = [
        replace(one, why=f"after the others, because {full[one.model.id]}; {one.why}")
        for one in offers
        if one.model.id in full
    ]
    return [*(one for one in offers if one.model.id not in full), *waiting] if waiting else offers


def _beside(head: Offer, others: Iterable[Offer]) -> list[Offer]:
    group = head.model.group or head.model.id
    return [replace(offer, why=f"another deployment of {group}") for offer in others]


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
    """Return the request's dial, else the policy's if it selects by one. Thrift turns it toward cheap."""
    given = terms.facts.cost_quality
    if given is None and terms.policy.select == "balanced":
        given = terms.policy.cost_quality
    return None if given is None else given * (1 - min(1.0, max(0.0, terms.signals.thrift)))


def _select(offers: Sequence[Offer], terms: Terms, dial: float | None) -> list[Offer]:
    """Sort by the policy, or by the request's dial, each model with the reason for its place."""
    if dial is not None:
        key, what = _balance(offers, dial), f"quality against cost at {dial:.2f}"
    elif terms.signals.thrift >= THRIFTY:
        key, what = _ORDERS["cheapest"][0], "cost, because the budget runs low"
    else:
        key, what = _ORDERS[terms.policy.select]
    ordered = sorted(offers, key=key)
    if terms.facts.max_tokens is not None:
        ordered = _whole_first(ordered, key, terms.facts)
    return [replace(offer, why=f"{'next' if place else 'first'} by {what}") for place, offer in enumerate(ordered)]


def _whole_first(ordered: list[Offer], key: Key, facts: Facts) -> list[Offer]:
    """Put a model that can give the whole answer before models that are as good but must cut it short."""
    if all(_gives_all(offer, facts) for offer in ordered):
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
    """Compare by the sort key without the place in the list. If the key holds only the place, compare by quality."""
    mine, theirs = key(one)[:-1], key(other)[:-1]
    return mine == theirs if mine else one.quality == other.quality


def _explored(offers: list[Offer], terms: Terms, dial: float | None) -> Front:
    """Let `learn` choose the first model among those that suit the request as well as the first one does.

    The order stays if something else decides: the conversation's model, the request's own dial, money that runs low,
    a difficulty that is unknown or learned for each prompt, or a `select` that does not look at quality.
    """
    learn, rule = terms.policy.learn, terms.standing.rule
    if (
        learn is None
        or not offers
        or terms.policy.select not in ("best", "balanced")
        or terms.facts.cost_quality is not None
        or terms.signals.thrift >= THRIFTY
        or offers[0].model.id == terms.stays_on
        or (rule is not None and terms.standing.wants is None)
    ):
        return Front(offers)
    tier, full = offers[0].model.tier, terms.signals.exhausted
    able = [one for one in offers if rule is None or one.model.tier == tier]
    able = [one for one in able if one.model.id not in full] or offers[:1]
    return explore(offers, able, learn, dial=dial, room_usd=terms.signals.explore_usd, seed=terms.seed)


def _staying(offers: list[Offer], stays_on: str, terms: Terms) -> list[Offer]:
    """Put the conversation's model in front: its cache holds what was said, and its answers keep one style.

    The order stays if the request has its own dial, money runs low, or the difficulty asks for a better model.
    """
    home = next((offer for offer in offers if offer.model.id == stays_on), None)
    asked = terms.facts.cost_quality is not None or terms.signals.thrift >= THRIFTY
    if home is None or asked or (terms.standing.rule is not None and home.quality < offers[0].quality):
        return offers
    others = (offer for offer in offers if offer is not home)
    return [replace(home, why=f"the conversation already uses it; {home.why}"), *others]


_ORDERS: dict[str, tuple[Key, str]] = {
    "ordered": (lambda o: (o.place,), "the order of the list"),
    "cheapest": (lambda o: (o.cost_usd, -o.quality, o.place), "cost"),
    "fastest": (lambda o: (math.inf if o.latency_ms is None else o.latency_ms, o.cost_usd, o.place), "latency"),
    "best": (lambda o: (-o.quality, o.cost_usd, o.place), "quality"),
}


def _balance(offers: Sequence[Offer], dial: float) -> Key:
    """Return a key that sorts by `dial * quality - (1 - dial) * cost`, both scaled from 0 to 1 over these models.

    Cost counts by its logarithm: doubling the price counts the same at any price. Whole numbers keep rounding from
    changing the order: with a higher dial the first model's quality is never lower.
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
