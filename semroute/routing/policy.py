"""From the models that may serve a request to the plan: which are tried, in which order, and why not the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from semroute.routing.facts import Facts
from semroute.types import Frozen, Model, Signals


class Plan(Frozen, frozen=True, kw_only=True):
    """The models to try in order, and those left out."""

    models: tuple[Model, ...]
    rejected: dict[str, str]
    """Model id to the reason."""


def make_plan(models: Iterable[Model], facts: Facts, signals: Signals) -> Plan:
    """Keep the given order; leave out what cannot serve the request, or cannot be called now."""
    kept: list[Model] = []
    rejected: dict[str, str] = {}
    for model in models:
        reason = unfit(model, facts) or signals.why_not(model.id)
        if reason is None:
            kept.append(model)
        else:
            rejected[model.id] = reason
    if signals.exhausted:  # a model without room comes after those that have some
        kept.sort(key=lambda model: model.id in signals.exhausted)
    return Plan(models=tuple(kept), rejected=rejected)


def pinned_plan(models: Iterable[Model], signals: Signals) -> Plan:
    """What the caller asked for by name is judged by the provider, not here; it only has to be callable."""
    asked = tuple(models)
    rejected = {m.id: reason for m in asked if (reason := signals.why_not(m.id)) is not None}
    return Plan(models=tuple(m for m in asked if m.id not in rejected), rejected=rejected)


def unfit(model: Model, facts: Facts) -> str | None:
    """Why a model cannot serve the request; null: it can."""
    missing = [need for need in facts.needs if need not in model.features]
    if missing:
        return f"lacks {', '.join(missing)}"
    needed = facts.input_tokens + (facts.max_tokens or 0)
    if model.context_tokens is not None and needed > model.context_tokens:
        return f"the request needs about {needed} tokens, its window holds {model.context_tokens}"
    return None


def resolve(ids: Iterable[str], registry: Mapping[str, Model]) -> tuple[Model, ...]:
    """The models of a checked configuration's ids, each once."""
    return tuple(registry[model_id] for model_id in dict.fromkeys(ids))
