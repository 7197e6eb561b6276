"""Check models, policies, tiers and the classifier together: names, prices, thresholds, plans that are always empty."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from semroute.config.answer_variables import unknown_variables
from semroute.config.check_experiments import overlay_policies
from semroute.config.config import Draft
from semroute.config.error_wording import quote
from semroute.config.json_schemas import SchemaFaultError, usable
from semroute.config.problems import check_pattern, error, incomplete, nameless, names, uncertain, unknown, warning
from semroute.config.schema.models import ModelEntry, deployment_ids
from semroute.config.schema.policies import Cascade, Checks, Difficulty, Learn, Policy
from semroute.config.schema.routes import CannedAnswer, Route
from semroute.errors import Problem

MAX_PRICE_AGE_DAYS = 180


def check_strategies(draft: Draft, today: datetime.date) -> Iterator[Problem]:
    """Return every error and warning about how models are chosen."""
    yield from _check_deployments(draft)
    yield from _check_route_qualities(draft)
    for key, policy in _policies(draft).items():
        yield from _check_policy(draft, key, policy)
    yield from _check_reach(draft, today)
    for route in draft.merged.routes:
        if route.output is not None and route.output.json_schema is not None:
            yield from _check_schema(draft, f"routes.{route.name}.output.json_schema", route.output.json_schema)
        yield from _check_answer(draft, route)
    classifier = draft.merged.classifier
    if classifier is not None:
        yield from unknown(draft, "models", {"classifier.model": classifier.model})
        places = {f"classifier.routes[{index}]": name for index, name in enumerate(classifier.routes)}
        yield from unknown(draft, "routes", places)


def _check_answer(draft: Draft, route: Route) -> Iterator[Problem]:
    """Find answers of routes that cannot be given."""
    if route.answer is None:
        return
    key = f"routes.{route.name}.answer"
    text = route.answer.text if isinstance(route.answer, CannedAnswer) else route.answer
    if route.output is not None:
        yield error(draft, key, "got an answer for a route with `output`, expected only one of them")
    if not text.strip():
        yield error(draft, key, f"got {quote(text)}, expected a text that is not empty")
    for name in unknown_variables(text):
        yield error(draft, key, f"got {{{name}}}, expected {{date}}, {{user}} or {{metadata.NAME}}")


def check_price_dates(draft: Draft, today: datetime.date) -> Iterator[Problem]:
    """Find price dates that are long past or in the future."""
    dates = {"prices_as_of": draft.merged.prices_as_of}
    dates |= {f"models.{id_}.prices_as_of": model.prices_as_of for id_, model in draft.merged.models.items()}
    for key, date in dates.items():
        if date is None:
            continue
        age = (today - date).days
        if age < 0:
            message = f"got {date}, expected no date after today, {today}"
            yield warning(draft, key, message, "prices-as-of", "write the day on which you checked the prices")
        elif age > MAX_PRICE_AGE_DAYS:
            message = f"got {date}, {age} days ago, expected at most {MAX_PRICE_AGE_DAYS}"
            advice = "compare the prices with the provider's, and update the date"
            yield warning(draft, key, message, "prices-as-of", advice)


# --- models -----------------------------------------------------------------------------------------------------------


def _check_deployments(draft: Draft) -> Iterator[Problem]:
    models = names(draft, "models")
    for id_, model in draft.merged.models.items():
        key = f"models.{id_}.deployments"
        places = {f"{key}[{index}].provider": place.provider for index, place in enumerate(model.deployments)}
        yield from unknown(draft, "providers", places)
        for index, name in enumerate(deployment_ids(id_, model)):
            if name in models:
                message = f"this deployment would be called `{name}`, but a model has that name"
                yield error(draft, f"{key}[{index}]", message)


def _check_route_qualities(draft: Draft) -> Iterator[Problem]:
    for id_, model in draft.merged.models.items():
        places = {f"models.{id_}.quality_by_route.{route}": route for route in model.quality_by_route}
        yield from unknown(draft, "routes", places)


# --- policies ---------------------------------------------------------------------------------------------------------


def _policies(draft: Draft) -> dict[str, Policy]:
    """Return every policy, by its key."""
    merged = draft.merged
    found = {"policy": merged.policy, "default.policy": merged.default.policy if merged.default else None}
    found |= {f"routes.{route.name}.policy": route.policy for route in merged.routes}
    return {key: policy for key, policy in found.items() if policy is not None} | overlay_policies(draft)


def _check_policy(draft: Draft, key: str, policy: Policy) -> Iterator[Problem]:
    if policy.max_cost_usd is not None and not (policy.max_cost_usd.is_finite() and policy.max_cost_usd >= 0):
        yield error(draft, f"{key}.max_cost_usd", f"got {policy.max_cost_usd}, expected an amount of at least 0")
    if policy.difficulty is not None and not incomplete(draft, f"{key}.difficulty"):
        yield from _check_difficulty(draft, f"{key}.difficulty", policy.difficulty)
    if policy.learn is not None:
        yield from _check_learn(draft, f"{key}.learn", policy, policy.learn)
    if policy.cascade is not None:
        yield from _check_cascade(draft, f"{key}.cascade", policy.cascade)


def _check_difficulty(draft: Draft, key: str, difficulty: Difficulty) -> Iterator[Problem]:
    share, retained = difficulty.strong_share is not None, difficulty.min_quality_retained is not None
    if share and retained:
        yield error(draft, key, "got both `strong_share` and `min_quality_retained`, expected one of them")
    if (share or retained) and difficulty.by != "learned":
        given = "strong_share" if share else "min_quality_retained"
        yield error(draft, f"{key}.{given}", "has no effect here, expected it with `by: learned` only")
    if difficulty.by == "learned" and not (share or retained):
        message = "got no `strong_share` and no `min_quality_retained`: `select` alone orders the plan"
        yield warning(draft, key, message, "no-effect", "give one of them")
    if difficulty.moderate_from > difficulty.complex_from:
        got = f"got {difficulty.moderate_from:g}"
        yield error(
            draft, f"{key}.moderate_from", f"{got}, expected at most `complex_from`, {difficulty.complex_from:g}"
        )
    unread = "tiers" in draft.broken or nameless(draft.broken, "tiers")
    if difficulty.by == "exemplars" and not draft.merged.tiers and not unread:
        yield error(draft, f"{key}.by", "got exemplars without `tiers`, expected `tiers` with example utterances")


def _check_learn(draft: Draft, key: str, policy: Policy, learn: Learn) -> Iterator[Problem]:
    if not (learn.explore_usd_per_day.is_finite() and learn.explore_usd_per_day >= 0):
        got = f"got {learn.explore_usd_per_day}, expected an amount of at least 0"
        yield error(draft, f"{key}.explore_usd_per_day", got)
    if incomplete(draft, key.removesuffix(".learn")):
        return
    if policy.difficulty is not None and policy.difficulty.by == "learned":
        message = "got `learn` beside `difficulty: {by: learned}`, which decides by itself: no model is tried"
        yield warning(draft, key, message, "no-effect", "remove one of the two")
    elif policy.select not in ("best", "balanced") and policy.min_quality is None:
        message = f"got `learn` with `select: {policy.select}`, which does not look at quality: no model is tried"
        yield warning(draft, key, message, "no-effect", "write `select: best` or `select: balanced`")


def _check_cascade(draft: Draft, key: str, cascade: Cascade) -> Iterator[Problem]:
    if cascade.max_cost_usd is not None and not (cascade.max_cost_usd.is_finite() and cascade.max_cost_usd >= 0):
        yield error(draft, f"{key}.max_cost_usd", f"got {cascade.max_cost_usd}, expected an amount of at least 0")
    checks = cascade.checks
    asked = checks.judge is not None or checks.callback is not None or checks.min_certainty is not None
    if cascade.on_judge_error is not None and not asked and not incomplete(draft, f"{key}.checks"):
        message = f"got {cascade.on_judge_error}, but nothing grades the answers"
        advice = "remove it, or add `judge`, `callback` or `min_certainty`"
        yield warning(draft, f"{key}.on_judge_error", message, "no-effect", advice)
    yield from _check_checks(draft, f"{key}.checks", checks)


def _check_checks(draft: Draft, key: str, checks: Checks) -> Iterator[Problem]:
    if checks.regex is not None:
        yield from check_pattern(draft, f"{key}.regex", checks.regex)
    if checks.json_schema is not None:
        yield from _check_schema(draft, f"{key}.json_schema", checks.json_schema)
    if checks.judge is not None:
        yield from unknown(draft, "models", {f"{key}.judge.model": checks.judge.model})
    if both := {text.casefold() for text in checks.contains} & {text.casefold() for text in checks.forbids}:
        yield error(draft, f"{key}.forbids", f"got {', '.join(sorted(both))}, which `contains` requires")


def _check_schema(draft: Draft, key: str, schema: dict[str, object]) -> Iterator[Problem]:
    try:
        usable(schema)
    except SchemaFaultError as fault:
        yield error(draft, key, f"got an invalid JSON Schema: {fault}")


def _check_reach(draft: Draft, today: datetime.date) -> Iterator[Problem]:
    """Find plans that a policy leaves empty for every request, and cascades that begin with an expensive model."""
    merged = draft.merged
    if uncertain(draft, "models"):
        return
    general = merged.policy or Policy()
    plans = [("default", "", merged.default.models, merged.default.policy)] if merged.default else []
    plans += [(f"routes.{route.name}", route.name, route.models, route.policy) for route in merged.routes]
    for key, route, ids, own in plans:
        if any(incomplete(draft, part) for part in (f"{key}.models", f"{key}.policy", "policy")):
            continue
        policy = own or general
        entries = [merged.models[id_] for id_ in ids if id_ in merged.models]
        if policy.cascade is not None and _dear_first(entries, policy, today):
            message = "got a cascade with an expensive model first, expected the cheapest first"
            advice = "list the cheapest model first, or set `select: cheapest`"
            yield warning(draft, f"{key}.models", message, "cascade-order", advice)
        if entries and all(_never(entry, policy, route) for entry in entries):
            message = "the policy allows none of these models, for any request"
            advice = "add a model that meets the policy, or relax the policy"
            yield warning(draft, f"{key}.models", message, "empty-plan", advice)


def _dear_first(entries: list[ModelEntry], policy: Policy, today: datetime.date) -> bool:
    """Return whether a plan begins with a model that costs more than another, and no `difficulty` explains it."""
    costs = [priced.input_price + priced.output_price for priced in (entry.on(today) for entry in entries)]
    if policy.difficulty is not None or len(set(costs)) < 2:
        return False
    return policy.select == "best" or (policy.select == "ordered" and costs[0] > min(costs))


def _never(entry: ModelEntry, policy: Policy, route: str) -> bool:
    """Return whether a model breaks a constraint of this route that no request changes. An empty `route`: the
    default.
    """
    regions = {*entry.regions, *(region for place in entry.deployments for region in place.regions or ())}
    quality = entry.quality_by_route.get(route, entry.quality)
    learned = policy.difficulty is not None and policy.difficulty.by == "learned"
    return (
        not set(policy.requires) <= set(entry.features)
        or (bool(policy.regions) and regions.isdisjoint(policy.regions))
        or (policy.min_quality is not None and not learned and (quality is None or quality < policy.min_quality))
    )
