"""Apply rules. They need facts only, and are decided before any embedding."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from semroute.config.error_wording import got
from semroute.config.regular_expressions import contains_match
from semroute.config.schema.models import Model
from semroute.config.schema.rules import Compare, Only, Rule, Wanted, When, left_out
from semroute.routing.facts import Facts, number
from semroute.routing.lexical_cues import any_of, composed

RETRIEVAL_SCORE = "retrieval_score"
"""The key of the metadata for which rules have a condition of its own."""
MAX_TOLD = 10
"""The most conditions that a decision lists as not comparable."""


def targeting_rule(rules: Iterable[Rule], facts: Facts) -> Rule | None:
    """Return the first rule that holds and names a target, or None. `rules` are sorted by priority."""
    return next((rule for rule in rules if rule.targets and _held(rule, facts)), None)


def narrowing_rules(rules: Iterable[Rule], facts: Facts) -> tuple[Rule, ...]:
    """Return all rules that hold and leave out models."""
    return tuple(rule for rule in rules if rule.only is not None and _held(rule, facts))


def _held(rule: Rule, facts: Facts) -> bool:
    known = facts.verdicts.get(rule.name)
    return holds(rule.when, facts) if known is None else known


def holds(when: When, facts: Facts) -> bool:
    """Return whether all conditions hold. Without conditions they do. Cheap conditions are checked first."""
    return (
        _numbers_hold(when, facts)
        and (not when.metadata or all(_equals(one, facts.metadata.get(key)) for key, one in when.metadata.items()))
        and (not when.headers or all(_equals(one, facts.headers.get(key.lower())) for key, one in when.headers.items()))
        and (not when.has or facts.traits.issuperset(when.has))
        and (not when.script or facts.script in when.script)
        and (not when.language or facts.language in when.language)
        and (not when.harness or facts.harness in when.harness)
        and (when.system is None or contains_match(when.system, facts.system))
        and (not when.keywords or _says(when, facts))
        and (when.regex is None or contains_match(when.regex, facts.searched(when.look_at)))
        and (not when.all or all(holds(part, facts) for part in when.all))
        and (not when.any or any(holds(part, facts) for part in when.any))
        and (when.not_ is None or not holds(when.not_, facts))
    )


def _says(when: When, facts: Facts) -> bool:
    """Return whether the text contains one of the keywords. Usually none does, and a search for plain letters shows
    that fast.
    """
    text = facts.searched(when.look_at)
    if text.isascii():
        lowered = facts.lowered if text is facts.text else text.lower()
        if not any(_may_stand_in(lowered, word) for word in when.keywords):
            return False
    return contains_match(any_of(when.keywords), composed(text))


def _may_stand_in(lowered: str, word: str) -> bool:
    return not word.isascii() or all(piece in lowered for piece in word.lower().split())


def _numbers_hold(when: When, facts: Facts) -> bool:
    return (
        (when.input_tokens is None or is_within(when.input_tokens, facts.input_tokens))
        and (when.turns is None or is_within(when.turns, facts.turns))
        and (when.max_tokens is None or is_within(when.max_tokens, facts.max_tokens))
        and (when.prompt_tokens is None or is_within(when.prompt_tokens, facts.prompt_tokens))
        and (when.retrieval_score is None or _equals(when.retrieval_score, facts.metadata.get(RETRIEVAL_SCORE)))
    )


def is_within(bounds: Compare, value: float | None) -> bool:
    """Return whether a number meets all bounds that are given. None meets no bound."""
    return (
        value is not None
        and (bounds.gt is None or value > bounds.gt)
        and (bounds.gte is None or value >= bounds.gte)
        and (bounds.lt is None or value < bounds.lt)
        and (bounds.lte is None or value <= bounds.lte)
    )


def _equals(wanted: Wanted, value: object) -> bool:
    """Return whether a value is the wanted one, one of several, or within bounds. Of a list, one element is enough."""
    return any(_is(wanted, one) for one in value) if isinstance(value, list) else _is(wanted, value)


def _is(wanted: Wanted, value: object) -> bool:
    """Return whether a single value is the wanted one. `true` is not 1."""
    if isinstance(wanted, Compare):
        return is_within(wanted, number(value))
    if isinstance(wanted, tuple):
        return any(_is(one, value) for one in wanted)
    return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)


def incomparable(rules: Iterable[Rule], metadata: Mapping[str, object]) -> tuple[str, ...]:
    """List conditions on the metadata that cannot be compared with its values, in words. Such a condition does not
    hold.
    """
    told: dict[str, None] = {}
    for rule in rules:
        for key, wanted in _asked(rule.when):
            value = metadata.get(key)
            every = value if isinstance(value, list) else [value]
            if value is not None and every and not any(_comparable(wanted, one) for one in every):
                shown = got(every[0] if len(every) == 1 else value)
                told[f"rule {rule.name}: metadata.{key}: got {shown}, expected {_expected(wanted)}"] = None
                if len(told) == MAX_TOLD:
                    return tuple(told)
    return tuple(told)


def keys_read(rules: Iterable[Rule]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the keys of the metadata, and the names of the headers, that rules read."""
    conditions = [rule.when for rule in rules]
    headers: set[str] = set()
    metadata = {key for when in conditions for key, _ in _asked(when)}
    while conditions:
        when = conditions.pop()
        headers.update(map(str.lower, when.headers))
        conditions += (*when.all, *when.any, *([] if when.not_ is None else [when.not_]))
    return frozenset(metadata), frozenset(headers)


def digest(when: When) -> str:
    """Return a short name for conditions. Equal conditions have the same."""
    return hashlib.blake2b(msgspec.json.encode(when), digest_size=6).hexdigest()


def _asked(when: When) -> Iterator[tuple[str, Wanted]]:
    """Yield every condition on the metadata, at any depth."""
    yield from when.metadata.items()
    if when.retrieval_score is not None:
        yield RETRIEVAL_SCORE, when.retrieval_score
    for part in (*when.all, *when.any, *([] if when.not_ is None else [when.not_])):
        yield from _asked(part)


def _comparable(wanted: Wanted, value: object) -> bool:
    """Return whether a value has the kind of the wanted one."""
    if isinstance(wanted, Compare):
        return number(value) is not None
    return any(_kind(one) == _kind(value) for one in (wanted if isinstance(wanted, tuple) else (wanted,)))


def _expected(wanted: Wanted) -> str:
    if isinstance(wanted, Compare):
        return "a number"
    return " or ".join(dict.fromkeys(_kind(one) for one in (wanted if isinstance(wanted, tuple) else (wanted,))))


def _kind(value: object) -> str:
    """Name the kind of a value. Only values of one kind can be equal. Empty: rules have no values of this kind."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, str):
        return "a text"
    return "a number" if isinstance(value, int | float) else ""


def exclusion_reason(model: Model, rule: Rule) -> str | None:
    """Return why a narrowing rule leaves a model out, or None if it does not."""
    allowed = left_out(rule.only or Only(), {model.id, model.group}, model)
    return None if allowed is None else f"rule {rule.name} allows only {allowed}"
