"""Thresholds that people, `semroute tune` or `semroute sweep` set."""

from __future__ import annotations

from collections.abc import Mapping
from operator import is_

from msgspec.structs import replace

from semroute.config.config import Config
from semroute.decision import Candidate, ThresholdSource
from semroute.routing.decide import most_demanding
from semroute.routing.difficulty import Reading

Fixed = tuple[float, ThresholdSource] | None
"""A threshold and who set it. None: the calibrated one counts."""


def fixed_thresholds(config: Config) -> list[Fixed]:
    """Return the threshold that was set for each route. None: the calibrated one counts."""
    fixed: list[Fixed] = []
    for name, route in config.routes.items():
        if name in config.tuned.thresholds:
            fixed.append((config.tuned.thresholds[name], "tuned"))
        elif route.threshold is not None:
            fixed.append((route.threshold, "route"))
        else:
            swept = config.swept.abstain_threshold
            of_all = config.abstain.threshold if swept is None else swept
            fixed.append(None if of_all is None else (of_all, "abstain"))
    return fixed


def fixed_by_name(config: Config) -> dict[str, Fixed]:
    """Return `fixed_thresholds` by the names of the routes."""
    return dict(zip(config.routes, fixed_thresholds(config), strict=True))


def with_thresholds(reading: Reading, config: Config, fixed: Mapping[str, Fixed]) -> Reading:
    """Return a reading with thresholds that were set since. `fixed`: those of the configuration, by name."""
    if reading.each:
        return most_demanding(config, [with_thresholds(each, config, fixed) for each in reading.each])
    had = reading.match.candidates
    candidates = tuple([_with_threshold(candidate, fixed[candidate.route]) for candidate in had])
    if all(map(is_, candidates, had)):
        return reading
    return replace(reading, match=replace(reading.match, candidates=candidates))


def _with_threshold(candidate: Candidate, fixed: Fixed) -> Candidate:
    if fixed is None or candidate.threshold == round(fixed[0], 4):
        return candidate
    return replace(candidate, threshold=round(fixed[0], 4), threshold_from=fixed[1])
