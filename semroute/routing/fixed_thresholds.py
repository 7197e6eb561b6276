"""Thresholds that people or `semroute tune` set."""

from __future__ import annotations

from semroute.config.config import Config
from semroute.decision import ThresholdSource


def fixed_thresholds(config: Config) -> list[tuple[float, ThresholdSource] | None]:
    """Return the threshold that was set for each route. None: the calibrated one counts."""
    fixed: list[tuple[float, ThresholdSource] | None] = []
    for name, route in config.routes.items():
        if name in config.tuned.thresholds:
            fixed.append((config.tuned.thresholds[name], "tuned"))
        elif route.threshold is not None:
            fixed.append((route.threshold, "route"))
        else:
            of_all = config.abstain.threshold
            fixed.append(None if of_all is None else (of_all, "abstain"))
    return fixed
