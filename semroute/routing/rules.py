"""Rules: decided from facts alone, before any embedding."""

from __future__ import annotations

from collections.abc import Iterable

from semroute.config.schema import Compare, Rule, When
from semroute.routing.facts import Facts


def first_match(rules: Iterable[Rule], facts: Facts) -> Rule | None:
    """The first rule whose conditions all hold."""
    return next((rule for rule in rules if holds(rule.when, facts)), None)


def holds(when: When, facts: Facts) -> bool:
    """Whether all conditions hold; without any they do."""
    if when.input_tokens is not None and not within(when.input_tokens, facts.input_tokens):
        return False
    return all(facts.metadata.get(key) == value for key, value in when.metadata.items())


def within(bounds: Compare, value: float) -> bool:
    """Whether a number keeps all bounds that are given."""
    return (
        (bounds.gt is None or value > bounds.gt)
        and (bounds.gte is None or value >= bounds.gte)
        and (bounds.lt is None or value < bounds.lt)
        and (bounds.lte is None or value <= bounds.lte)
    )
