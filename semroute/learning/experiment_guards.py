"""The guards of an experiment: whether an arm is surely worse than the control arm by more than is allowed."""

from __future__ import annotations

from collections.abc import Iterator

from semroute.config.check_experiments import GUARDS, allowance
from semroute.config.schema.experiments import Experiment
from semroute.learning.experiment_figures import ALPHA, FIGURES
from semroute.learning.experiment_report import Evidence, cumulated, estimates, of_arm, quantiles
from semroute.learning.experiment_words import TITLES
from semroute.learning.sequential_tests import contrast

TUNED_FOR = 500.0
"""The number of requests at which guards are quickest. They should act early, and need no narrow intervals."""


def has_guards(experiment: Experiment) -> bool:
    """Return whether an experiment can end by itself before its last day."""
    return any(getattr(experiment.guards, guard) is not None for guard in GUARDS)


def breached(experiment: Experiment, evidence: Evidence) -> str:
    """Return which guard an arm has surely broken, in words. Empty: none.

    However often this is asked, it answers with a guard that no arm has broken with probability `ALPHA` at most.
    """
    return next(_breaches(experiment, evidence), "")


def _breaches(experiment: Experiment, evidence: Evidence) -> Iterator[str]:
    arms = tuple(experiment.arms)
    control = experiment.control_arm
    others = [arm for arm in arms if arm != control]
    limits = {guard: text for guard in GUARDS if (text := getattr(experiment.guards, guard)) is not None}
    alpha = ALPHA / max(1, len(limits) * len(others))
    tables = [table for _, table in cumulated(evidence.days, arms)]
    if not tables:
        return
    for figure in FIGURES:
        if (text := limits.get(figure.name)) is None:
            continue
        every, allowed = estimates(figure, tables[-1]), allowance(text)
        base = of_arm(every, arms.index(control))
        for arm in others:
            mine = of_arm(every, arms.index(arm))
            times = 1 + allowed if figure.name == "cost_usd" else 1.0
            gap = contrast(mine, base, alpha, times=times, tuned_for=TUNED_FOR)
            limit = 0.0 if figure.name == "cost_usd" else allowed
            if gap.low > limit if figure.lower_is_better else gap.high < -limit:
                yield _told(figure.name, arm, control, float(mine.value), float(base.value), text)
    if (text := limits.get("p95_ms")) is not None:
        found = quantiles(evidence, arms, alpha / 2, TUNED_FOR)
        for arm in others:
            if arm in found and control in found and found[arm].relative_to(found[control]).low > allowance(text):
                yield _told("p95_ms", arm, control, found[arm].value, found[control].value, text)


def _told(name: str, arm: str, control: str, mine: float, base: float, limit: str) -> str:
    shown = {"cost_usd": "${:.6f}", "p95_ms": "{:,.0f} ms"}.get(name, "{:.1%}")
    return (
        f"the {TITLES[name]} of the arm {arm} is {shown.format(mine)}, against {shown.format(base)} of {control}, and "
        f"surely breaks the guard {name}: {limit}"
    )
