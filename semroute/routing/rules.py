"""Rules: decided from facts alone, before any embedding."""

from __future__ import annotations

from collections.abc import Iterable

from semroute.config.conditions import Compare, Only, Rule, When, left_out
from semroute.config.patterns import found
from semroute.routing.facts import Facts, number
from semroute.routing.wording import any_of, composed
from semroute.types import Model


def aiming(rules: Iterable[Rule], facts: Facts) -> Rule | None:
    """The first rule that holds and names a target; null: none. `rules` stand by priority."""
    return next((rule for rule in rules if rule.targets and holds(rule.when, facts)), None)


def narrowing(rules: Iterable[Rule], facts: Facts) -> tuple[Rule, ...]:
    """All rules that hold and narrow."""
    return tuple(rule for rule in rules if rule.only is not None and holds(rule.when, facts))


def holds(when: When, facts: Facts) -> bool:
    """Whether all conditions hold; without any they do. What is cheap is asked first."""
    return (
        _numbers_hold(when, facts)
        and (not when.metadata or all(_equals(one, facts.metadata.get(key)) for key, one in when.metadata.items()))
        and (not when.headers or all(_equals(one, facts.headers.get(key.lower())) for key, one in when.headers.items()))
        and (not when.has or facts.traits.issuperset(when.has))
        and (not when.script or facts.script in when.script)
        and (not when.language or facts.language in when.language)
        and (not when.keywords or _says(when.keywords, facts))
        and (when.regex is None or found(when.regex, facts.text))
        and (not when.all or all(holds(part, facts) for part in when.all))
        and (not when.any or any(holds(part, facts) for part in when.any))
        and (when.not_ is None or not holds(when.not_, facts))
    )


def _says(words: tuple[str, ...], facts: Facts) -> bool:
    """Whether one of these stands in the text. Mostly none does, and looking for letters alone tells so at once."""
    if facts.text.isascii() and not any(_may_stand_in(facts.lowered, word) for word in words):
        return False
    return found(any_of(words), composed(facts.text))


def _may_stand_in(lowered: str, word: str) -> bool:
    return not word.isascii() or all(piece in lowered for piece in word.lower().split())


def _numbers_hold(when: When, facts: Facts) -> bool:
    return (
        (when.input_tokens is None or within(when.input_tokens, facts.input_tokens))
        and (when.turns is None or within(when.turns, facts.turns))
        and (when.max_tokens is None or within(when.max_tokens, facts.max_tokens))
        and (when.prompt_tokens is None or within(when.prompt_tokens, facts.prompt_tokens))
        and (when.retrieval_score is None or within(when.retrieval_score, facts.retrieval_score))
    )


def within(bounds: Compare, value: float | None) -> bool:
    """Whether a number keeps all bounds that are given; no number keeps none."""
    return (
        value is not None
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.gte is None or value >= bounds.gte)
        and (bounds.lt is None or value < bounds.lt)
        and (bounds.lte is None or value <= bounds.lte)
    )


def _equals(wanted: object, value: object) -> bool:
    """Whether a value is what is wanted, one of several, or within bounds. `true` is not 1."""
    if isinstance(wanted, Compare):
        return within(wanted, number(value))
    if isinstance(wanted, tuple):
        return any(_equals(one, value) for one in wanted)
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


def excluded(model: Model, rule: Rule) -> str | None:
    """Why a narrowing rule leaves a model out; null: it does not."""
    allowed = left_out(rule.only or Only(), {model.id, model.group}, model)
    return None if allowed is None else f"rule {rule.name} allows only {allowed}"
