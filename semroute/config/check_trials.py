"""Check what route files say of the judge and the shadow: names, budgets, and settings that do nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from semroute.config.check_accounting import MAX_BUDGET
from semroute.config.config import Draft
from semroute.config.error_wording import quote
from semroute.config.problems import error, incomplete, names, unknown, warning
from semroute.config.schema.trial_settings import SHADOW, JudgeSettings, ShadowSettings, TrialScope
from semroute.errors import Problem


def check_trials(draft: Draft) -> Iterator[Problem]:
    """Return every error and warning about the judge and the shadow."""
    judge, shadow = draft.merged.judge, draft.merged.shadow
    if judge is not None:
        yield from _check_judge(draft, judge)
    if shadow is not None:
        yield from _check_shadow(draft, shadow)


def _check_judge(draft: Draft, judge: JudgeSettings) -> Iterator[Problem]:
    models = {"judge.model": judge.model} if not incomplete(draft, "judge.model") else {}
    if judge.pairwise == SHADOW:
        if SHADOW in names(draft, "models"):
            told = "got shadow, which is a model's id too: it means the answer of the shadow"
            yield warning(draft, "judge.pairwise", told, "ambiguous-name", "give the model another id")
        if draft.merged.shadow is None and "shadow" not in draft.broken:
            expected = "expected a section `shadow`, or a model's id here"
            yield error(draft, "judge.pairwise", f"got shadow, but there is no shadow: {expected}")
    elif judge.pairwise is not None:
        models["judge.pairwise"] = judge.pairwise
        if judge.pairwise == judge.model:
            told = f"got {quote(judge.model)}, which is the judge: it would judge its own answers"
            yield warning(draft, "judge.pairwise", told, "own-judge", "let a third model judge")
    yield from unknown(draft, "models", models)
    yield from _check_scope(draft, "judge", judge.only)
    yield from _check_amounts(draft, "judge", judge.share, judge.budget_usd_per_day)


def _check_shadow(draft: Draft, shadow: ShadowSettings) -> Iterator[Problem]:
    if isinstance(shadow.to, str) and not incomplete(draft, "shadow.to"):
        folder = "; for a folder of route files, write `to: {routes: FOLDER}`"
        for problem in unknown(draft, "models", {"shadow.to": shadow.to}):
            yield error(draft, "shadow.to", f"{problem.message}{folder if '/' in shadow.to else ''}")
    yield from _check_scope(draft, "shadow", shadow.only)
    yield from _check_amounts(draft, "shadow", shadow.share, shadow.budget_usd_per_day)


def _check_scope(draft: Draft, key: str, only: TrialScope) -> Iterator[Problem]:
    places = {f"{key}.only.routes[{index}]": route for index, route in enumerate(only.routes)}
    yield from unknown(draft, "routes", places)


def _check_amounts(draft: Draft, key: str, share: float, usd: Decimal) -> Iterator[Problem]:
    if not (usd.is_finite() and 0 <= usd <= MAX_BUDGET):
        yield error(draft, f"{key}.budget_usd_per_day", f"got {usd}, expected an amount from 0 to {MAX_BUDGET:,}")
    elif share == 0 or usd == 0:
        zero = "share" if share == 0 else "budget_usd_per_day"
        advice = f"give it more than 0, or take `{key}` out"
        yield warning(draft, f"{key}.{zero}", f"got 0, so there is no {key}", "no-effect", advice)
