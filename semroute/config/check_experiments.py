"""Check experiments: names that do not exist, guards, times, and experiments that would overlap."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from semroute.config.check_accounting import MAX_BUDGET
from semroute.config.config import Draft
from semroute.config.error_wording import did_you_mean, listed, quote, render
from semroute.config.overlays import DEFAULT, arm_key
from semroute.config.problems import error, incomplete, unknown, warning
from semroute.config.schema.experiments import Arm, Experiment, ExperimentScope, Overlay
from semroute.config.schema.policies import Policy
from semroute.errors import Problem

NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
RISE, FALL = re.compile(r"\+(\d+(?:\.\d+)?)%"), re.compile(r"-(\d+(?:\.\d+)?)%")
GUARDS = {"error_rate": RISE, "p95_ms": RISE, "cost_usd": RISE, "quality": FALL}


def allowance(text: str) -> float:
    """Return what a guard allows, as a fraction: `+1%` is 0.01."""
    return float(text.strip("+-%")) / 100


def overlay_policies(draft: Draft) -> dict[str, Policy]:
    """Return the policies of all overlays by their keys, to check them like others."""
    found = {f"{key}.policy": overlay.policy for key, overlay in _overlays(draft).items()}
    return {key: policy for key, policy in found.items() if policy is not None}


def check_experiments(draft: Draft) -> Iterator[Problem]:
    """Return every error and warning about experiments."""
    for key, overlay in _overlays(draft).items():
        yield from _check_overlay(draft, key, overlay)
    for name, experiment in draft.merged.experiments.items():
        if not incomplete(draft, f"experiments.{name}"):
            yield from _check_experiment(draft, name, experiment)
    yield from _check_overlaps(draft)


def _overlays(draft: Draft) -> dict[str, Overlay]:
    found: dict[str, Overlay] = {} if draft.merged.adopted is None else {"adopted": draft.merged.adopted}
    for name, experiment in draft.merged.experiments.items():
        found |= {arm_key(name, arm): overlay for arm, overlay in experiment.arms.items()}
    return found


def _check_overlay(draft: Draft, key: str, overlay: Overlay) -> Iterator[Problem]:
    plans = overlay.models if isinstance(overlay.models, dict) else {"": overlay.models or ()}
    base = f"{key}.models"
    for route, plan in plans.items():
        at = base + render((route,))[1:] if route else base
        yield from unknown(draft, "models", {f"{at}[{index}]": model for index, model in enumerate(plan)})
        for index, model in enumerate(plan):
            if model in plan[:index]:
                yield error(draft, f"{at}[{index}]", f"got {quote(model)} a second time, expected it once")
        if not plan and overlay.models is not None and not incomplete(draft, at):
            yield error(draft, at, "got an empty list, expected the models of the plan")
    routes = {base + render((route,))[1:]: route for route in plans if route not in ("", DEFAULT)}
    routes |= {f"{key}.thresholds" + render((route,))[1:]: route for route in overlay.thresholds}
    yield from unknown(draft, "routes", routes)


def _check_experiment(draft: Draft, name: str, experiment: Experiment) -> Iterator[Problem]:
    key = f"experiments.{name}"
    for at, each in {key: name, **{arm_key(name, arm): arm for arm in experiment.arms}}.items():
        if not NAME.fullmatch(each):
            expected = "expected up to 64 letters, digits and `-`, `_`, `.` only"
            yield error(draft, at, f"got the name {quote(each)}, {expected}")
    if len(experiment.arms) < 2:
        yield error(draft, f"{key}.arms", f"got {len(experiment.arms)} arms, expected two or more")
    elif experiment.control and experiment.control not in experiment.arms:
        expected = f"expected one of its arms ({listed(experiment.arms)})"
        told = f"got {quote(experiment.control)}, {expected}{did_you_mean(experiment.control, experiment.arms)}"
        yield error(draft, f"{key}.control", told)
    elif sum(arm.weight > 0 for arm in experiment.arms.values()) == 0:
        yield error(draft, f"{key}.arms", "got the weight 0 for every arm, expected a weight above 0 for one of them")
    for arm, written in experiment.arms.items():
        yield from _check_folder(draft, arm_key(name, arm), written)
    yield from _check_guards(draft, key, experiment)
    yield from _check_days(draft, key, experiment)
    budget = experiment.budget_usd_per_day
    if budget is not None and not (budget.is_finite() and 0 <= budget <= MAX_BUDGET):
        yield error(draft, f"{key}.budget_usd_per_day", f"got {budget}, expected an amount from 0 to {MAX_BUDGET:,}")


def _check_folder(draft: Draft, key: str, arm: Arm) -> Iterator[Problem]:
    overlay = [field for field in ("policy", "models", "thresholds") if f"{key}.{field}" in draft.sources]
    if arm.folder is not None and overlay:
        told = f"got `folder` and {listed(overlay)}, expected either a folder or an overlay"
        yield error(draft, f"{key}.folder", told)


def _check_guards(draft: Draft, key: str, experiment: Experiment) -> Iterator[Problem]:
    for guard, form in GUARDS.items():
        text = getattr(experiment.guards, guard)
        if text is not None and not form.fullmatch(text):
            example = "-2%" if form is FALL else "+1%"
            yield error(draft, f"{key}.guards.{guard}", f"got {quote(text)}, expected a change such as `{example}`")


def _check_days(draft: Draft, key: str, experiment: Experiment) -> Iterator[Problem]:
    start, end = experiment.start, experiment.end
    if start is None or end is None:
        return
    days = (end - start).days + 1
    if days < 1:
        yield error(draft, f"{key}.end", f"got {end}, expected a day that is not before `start`, {start}")
    elif days < experiment.least_days:
        told = f"it runs for {days} days, but nothing is concluded before {experiment.least_days}"
        yield warning(draft, f"{key}.end", told, "no-conclusion", "let it run for longer, or lower `least_days`")


def _check_overlaps(draft: Draft) -> Iterator[Problem]:
    """Find experiments that could both want the same request. Only one can have it."""
    over = draft.merged.adopted.experiment if draft.merged.adopted is not None else ""
    sound = [
        (name, each)
        for name, each in draft.merged.experiments.items()
        if name != over and not incomplete(draft, f"experiments.{name}")
    ]
    for (first, one), (second, other) in combinations(sound, 2):
        if _share_days(one, other) and _share_requests(one.only, other.only):
            there = draft.sources[f"experiments.{first}"]
            told = (
                f"it would overlap with the experiment `{first}` at {there.file}:{there.line}, but a request can be in "
                "one only: expected other days (`start`, `end`) or other requests (`only`)"
            )
            yield error(draft, f"experiments.{second}", told)


def _share_days(one: Experiment, other: Experiment) -> bool:
    first, last = datetime.date.min, datetime.date.max
    return (one.start or first) <= (other.end or last) and (other.start or first) <= (one.end or last)


def _share_requests(one: ExperimentScope, other: ExperimentScope) -> bool:
    both = ((one.keys, other.keys), (one.teams, other.teams), (one.features, other.features))
    return not any(_disjoint(a, b) for a, b in both)


def _disjoint(one: Sequence[str], other: Sequence[str]) -> bool:
    return bool(one) and bool(other) and set(one).isdisjoint(other)


def unusable_folders(draft: Draft, broken: dict[str, str]) -> Iterator[Problem]:
    """Return an error for each arm whose folder cannot be used. `broken`: why, by folder."""
    for name, experiment in draft.merged.experiments.items():
        for arm, written in experiment.arms.items():
            if written.folder in broken:
                told = f"got {quote(written.folder or '')}, which cannot be used: {broken[written.folder or '']}"
                yield error(draft, f"{arm_key(name, arm)}.folder", told)
