"""Check rules: unknown names, and rules that never hold, are never reached or contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from semroute.config.condition_logic import NUMBERS, implies, impossible, interval
from semroute.config.config import Draft
from semroute.config.error_wording import listed
from semroute.config.problems import check_pattern, error, incomplete, problem_of, uncertain, unknown, warning
from semroute.config.schema.rules import SECRET_HEADERS, Compare, Only, Rule, When, left_out
from semroute.errors import Problem


def check_rules(draft: Draft) -> Iterator[Problem]:
    """Return every error and warning about the rules."""
    rules = draft.merged.rules
    references = {f"rules.{rule.name}.route": rule.route for rule in rules if rule.route is not None}
    yield from unknown(draft, "routes", references)
    for rule in rules:
        key = f"rules.{rule.name}"
        yield from _check_target(draft, key, rule)
        if rule.when == When() and not incomplete(draft, f"{key}.when"):
            message = "got no condition: this rule takes every request"
            yield warning(draft, f"{key}.when", message, "catch-all", "add a condition, or use `default` instead")
        whole = list(_check_when(draft, f"{key}.when", rule.when))
        yield from whole
        if not whole and not incomplete(draft, f"{key}.when") and (reason := impossible(rule.when)):
            yield error(draft, f"{key}.when", f"got conditions that never hold together: {reason}")
    yield from _check_order(draft, sorted(rules, key=lambda rule: -rule.priority))
    yield from _check_narrowing(draft, rules)


def _check_target(draft: Draft, key: str, rule: Rule) -> Iterator[Problem]:
    given = [name for name in ("models", "route", "tier") if getattr(rule, name)]
    if incomplete(draft, key):
        given = []
    elif len(given) > 1:
        named = " and ".join(f"`{name}`" for name in given)
        yield error(draft, key, f"got both {named}, expected one of them")
    elif not given and rule.only is None:
        yield error(draft, key, "got no target, expected one of `models`, `route`, `tier` or `only`")
    tiers = {model.tier for model in draft.merged.models.values()}
    if rule.tier is not None and rule.tier not in tiers and not uncertain(draft, "models"):
        yield error(draft, f"{key}.tier", f'got "{rule.tier}", but no model has this tier, expected a tier in use')
    if rule.only is not None:
        only = f"{key}.only"
        yield from unknown(draft, "models", {f"{only}.models[{i}]": m for i, m in enumerate(rule.only.models)})
        yield from unknown(draft, "providers", {f"{only}.providers[{i}]": p for i, p in enumerate(rule.only.providers)})
        if rule.only == Only() and not incomplete(draft, only):
            yield error(draft, only, "got no restriction, expected one or more of `models`, `providers`, `regions`, …")


def _check_when(draft: Draft, key: str, when: When) -> Iterator[Problem]:
    yield from _check_bounds(draft, key, when)
    if when.regex is not None:
        yield from check_pattern(draft, f"{key}.regex", when.regex)
    if when.look_at != "ask" and when.regex is None and not when.keywords:
        yield error(draft, f"{key}.look_at", "has no effect here, expected it beside `keywords` or `regex`")
    if when.system is not None:
        yield from check_pattern(draft, f"{key}.system", when.system)
    for number, word in enumerate(when.keywords):
        if not word.strip():
            yield error(draft, f"{key}.keywords[{number}]", "got white space, expected a word or a phrase")
    for name in when.headers:
        if name.lower() in SECRET_HEADERS:
            yield error(draft, f"{key}.headers.{name}", "got a header that holds a secret, which rules never see")
    for part, place in _parts(when, key):
        yield from _check_when(draft, place, part)


def _check_bounds(draft: Draft, key: str, when: When) -> Iterator[Problem]:
    bounds: dict[str, Compare | None] = {f"{key}.{name}": getattr(when, name) for name in NUMBERS}
    for name, wanted in when.metadata.items():
        if isinstance(wanted, Compare):
            bounds[f"{key}.metadata.{name}"] = wanted
        elif wanted == ():
            yield error(draft, f"{key}.metadata.{name}", "got an empty list, expected the values it may have")
    for place, compare in bounds.items():
        if compare == Compare() and not incomplete(draft, place):
            yield error(draft, place, "got no bound, expected one of `gt`, `gte`, `lt`, `lte`")
        elif compare is not None and interval(compare).empty:
            yield error(draft, place, "got bounds that no number can meet, expected a range")


def _parts(when: When, key: str) -> Iterator[tuple[When, str]]:
    for name, parts in (("all", when.all), ("any", when.any)):
        for index, part in enumerate(parts):
            yield part, f"{key}.{name}[{index}]"
    if when.not_ is not None:
        yield when.not_, f"{key}.not"


def _check_order(draft: Draft, rules: Sequence[Rule]) -> Iterator[Problem]:
    """Find rules that an earlier rule always precedes. `rules` are sorted by priority."""
    targeting = [rule for rule in rules if rule.targets and not incomplete(draft, f"rules.{rule.name}")]
    for place, rule in enumerate(targeting):
        if impossible(rule.when):
            continue
        earlier = next((one for one in targeting[:place] if implies(rule.when, one.when)), None)
        if earlier is None:
            continue
        source = draft.sources.get(f"rules.{earlier.name}")
        there = f"`{earlier.name}`" + (f" at {source.file}:{source.line}" if source else "")
        if implies(earlier.when, rule.when) and _target(earlier) != _target(rule):
            message = f"contradicts {there}, which has the same conditions and another target, and comes first"
            yield warning(draft, f"rules.{rule.name}", message, "contradiction", "keep one of the two")
        else:
            message = f"never decides: {there} holds whenever this rule does, and comes first"
            advice = "put the narrower rule first, or give it a higher `priority`"
            yield warning(draft, f"rules.{rule.name}", message, "unreachable", advice)


def _target(rule: Rule) -> tuple[object, ...]:
    return (rule.models, rule.route, rule.tier)


def _check_narrowing(draft: Draft, rules: Sequence[Rule]) -> Iterator[Problem]:
    """Find rules whose `only` allows no model, alone or together with another rule that holds at the same time."""
    if uncertain(draft, "models"):
        return
    narrowing = [rule for rule in rules if rule.only is not None and rule.only != Only()]
    narrowing = [rule for rule in narrowing if not incomplete(draft, f"rules.{rule.name}")]
    left = {rule.name: _admitted(draft, rule) for rule in narrowing}
    for place, rule in enumerate(narrowing):
        key = f"rules.{rule.name}.only"
        if not left[rule.name]:
            yield error(draft, key, "no model meets this, expected at least one that does")
            continue
        target, aimed_at = _aims_at(draft, rule)
        if aimed_at and not left[rule.name] & aimed_at:
            yield error(draft, key, f"no model of the rule's own `{target}` meets this, expected one or more that do")
        elif not rule.targets and (emptied := _emptied(draft, left[rule.name])):
            message = f"allows no model of {listed(emptied)}: while this rule holds, other models answer their requests"
            advice = "give each of these routes a model that the rule allows"
            yield problem_of(draft, key, message, "info", "substitutes", advice)
        for other in narrowing[:place]:
            together = implies(rule.when, other.when) or implies(other.when, rule.when)
            if together and left[other.name] and not left[rule.name] & left[other.name]:
                message = f"contradicts `{other.name}`: when both hold, no model is left"
                yield warning(draft, key, message, "contradiction", "let both rules allow at least one common model")


def _emptied(draft: Draft, left: set[str]) -> list[str]:
    """Return the routes that have none of these models."""
    return [route.name for route in draft.merged.routes if route.models and left.isdisjoint(route.models)]


def _aims_at(draft: Draft, rule: Rule) -> tuple[str, set[str]]:
    """Return the kind of a rule's target and the models it stands for. No models: the rule names no target."""
    merged = draft.merged
    if rule.route is not None:
        return "route", {id_ for route in merged.routes if route.name == rule.route for id_ in route.models}
    if rule.tier is not None:
        return "tier", {id_ for id_, entry in merged.models.items() if entry.tier == rule.tier}
    return "models", set(rule.models)


def _admitted(draft: Draft, rule: Rule) -> set[str]:
    """Return the models that a rule allows. A model is allowed if one of its deployments is."""
    assert rule.only is not None  # see `_check_narrowing`
    admitted = set()
    for id_, entry in draft.merged.models.items():
        places = [entry] + [
            msgspec.structs.replace(
                entry,
                provider=place.provider,
                regions=entry.regions if place.regions is None else place.regions,
            )
            for place in entry.deployments
        ]
        if any(left_out(rule.only, {id_}, place) is None for place in places):
            admitted.add(id_)
    return admitted
