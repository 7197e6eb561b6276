"""Simulated logs for `semroute sweep`, with a truth that is known."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from semroute.learning.sweep_table import UNKNOWN, Block, Plan, SweepTable

SMALL, LARGE = 0, 1
VALUES = (0.3, 0.55, 0.6, 0.7, 1.0)
"""A request goes to the small model if its hardness is below the value. Now the value is .5."""
BLOCK = Block("moderate_from", 0, VALUES)
PLAN = Plan((BLOCK,), ("small", "large"), ("easy", "hard"))


class Simulated(NamedTuple):
    """A log, and what nobody who only has the log can know."""

    table: SweepTable
    hardness: np.ndarray
    quality: np.ndarray
    """The quality of the answer of each model: float64 (rows, 2)."""

    def retained(self, value: float) -> float:
        """Return the truth for a setting."""
        means = []
        for bound in (value, 0.5):
            chosen = np.where(self.hardness < bound, SMALL, LARGE)
            means.append(float(self.quality[np.arange(len(chosen)), chosen].mean()))
        return means[0] / means[1]


def simulate(
    seed: int,
    *,
    units: int = 150,
    explored: float = 0.0,
    shadowed: float = 0.0,
    graded: float = 0.0,
    judged: float = 0.0,
    loss: float = 0.4,
    spread: float = 0.0,
    pairwise: bool = False,
) -> Simulated:
    """Make a log of about eight requests a unit.

    `explored`: the chance that the other model answers. `shadowed`: the chance that the other model answers as well.
    `graded`, `judged`: the chance of a score by people and by a judge, who is stricter. `loss`: how much worse the
    small model is for the hardest request. `spread`: how much units differ in that.
    """
    random = np.random.default_rng(seed)
    sizes = 1 + random.geometric(1 / 7, units)
    unit = np.repeat(random.integers(0, 2**64, units, dtype=np.uint64), sizes)
    rows = len(unit)
    hardness = random.uniform(size=rows)
    own = np.repeat(random.normal(0, spread, units), sizes)
    chances = np.stack([0.9 - loss * hardness + own, np.full(rows, 0.9)], axis=1).clip(0, 1)
    quality = (random.uniform(size=(rows, 2)) < chances).astype(np.float64)
    now = np.where(hardness < 0.5, SMALL, LARGE)
    turned = random.uniform(size=rows) < explored
    first = np.where(turned, 1 - now, now)
    table = np.zeros(rows, PLAN.dtype)
    table["unit"], table["order"] = unit, random.integers(0, 2**64, rows, dtype=np.uint64)
    table["route"], table["first"], table["served"] = hardness > random.uniform(size=rows), first, first
    table["exact"], table["explored"] = True, explored > 0
    table["propensity"] = np.where(turned, explored, 1 - explored) if explored else np.nan
    answer = quality[np.arange(rows), first]
    table["person"] = np.where(random.uniform(size=rows) < graded, answer, np.nan)
    table["judge"] = np.where(random.uniform(size=rows) < judged, answer * 0.8, np.nan)
    table["judge_propensity"] = np.where(np.isnan(table["judge"]), np.nan, judged)
    other = quality[np.arange(rows), 1 - first]
    some = random.uniform(size=rows) < shadowed
    table["pair_model"] = UNKNOWN
    table["pair_model"][:, 0] = np.where(some, 1 - first, UNKNOWN)
    difference = np.sign(other - answer) if pairwise else other - answer
    table["pair_difference"][:, 0], table["pair_propensity"][:, 0] = difference, shadowed
    for place, value in enumerate((0.5, *VALUES)):
        table["model"][:, place] = np.where(hardness < value, SMALL, LARGE)
        table["cost"][:, place] = np.where(hardness < value, 0.001, 0.01)
    return Simulated(SweepTable(PLAN, table, Counter(rows=rows)), hardness, quality)
