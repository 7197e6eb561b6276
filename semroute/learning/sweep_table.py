"""The table of a sweep: each logged request as one row of numbers.

Tables of parts of a log can be made anywhere and put together with `merge`. The result does not depend on the parts or
on their order. A table is bounded: of a large log it keeps a sample of the units.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from semroute.config.config import Config
from semroute.learning.sweep_grades import CHECKS

MOST_ROWS = 100_000
"""The most rows that a table keeps of each kind: with a quality signal, and without."""
PAIRS = 2
"""The most pairs of answers that a row keeps."""
UNKNOWN = -1
"""Stands for a model that is not known, or for no route."""
Table = NDArray[Any]

_EVENLY = tuple(round(step / 20, 2) for step in range(21))
GRIDS: dict[str, tuple[float, ...]] = {
    "min_quality_retained": (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1.0),
    "min_logprob": (-4, -3, -2.5, -2, -1.75, -1.5, -1.25, -1, -0.8, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1, -0.05, 0),
}
"""The settings that are tried of a dial. Others are tried from 0 to 1."""


class Block(NamedTuple):
    """The columns of one dial in the table. The first stands for the dial as it is set now."""

    dial: str
    start: int
    values: tuple[float, ...]

    @property
    def columns(self) -> slice:
        """Return the columns of all settings, the present one first."""
        return slice(self.start, self.start + 1 + len(self.values))

    @property
    def cascade(self) -> bool:
        """Return whether the dial decides about answers, not about the first model."""
        return self.dial in CHECKS


class Plan(NamedTuple):
    """What is swept. It is the same for every part of a log."""

    blocks: tuple[Block, ...]
    models: tuple[str, ...]
    routes: tuple[str, ...]

    @classmethod
    def of(cls, config: Config, dials: Iterable[str]) -> Plan:
        """Return the plan for some dials of a configuration."""
        blocks: list[Block] = []
        start = 0
        for dial in dials:
            values = GRIDS.get(dial, _EVENLY)
            blocks.append(Block(dial, start, values))
            start += 1 + len(values)
        return cls(tuple(blocks), tuple(config.models), tuple(config.routes))

    @property
    def dtype(self) -> np.dtype[np.void]:
        """Return what one row holds. Models and routes are places in the lists above. NaN: not known."""
        settings = sum(1 + len(block.values) for block in self.blocks)
        return np.dtype(
            [
                ("unit", "u8"),
                ("order", "u8"),
                ("route", "i2"),
                ("first", "i2"),
                ("served", "i2"),
                ("exact", "?"),
                ("explored", "?"),
                ("propensity", "f4"),
                ("person", "f4"),
                ("judge", "f4"),
                ("judge_propensity", "f4"),
                ("pair_model", "i2", (PAIRS,)),
                ("pair_difference", "f4", (PAIRS,)),
                ("pair_propensity", "f4", (PAIRS,)),
                ("pair_weak", "?", (PAIRS,)),
                ("model", "i2", (settings,)),
                ("cost", "f4", (settings,)),
            ]
        )


class SweepTable:
    """The rows that were kept of a log, or of a part of one."""

    def __init__(self, plan: Plan, rows: Table | None = None, counts: Counter[str] | None = None) -> None:
        """`rows`: of the plan's dtype. `counts`: what was read, by a name for people."""
        self.plan = plan
        self.rows = np.empty(0, plan.dtype) if rows is None else rows
        self.counts = Counter() if counts is None else counts
        self.halvings = [0, 0]
        """How often the units were halved, for rows without and with a quality signal."""

    def merge(self, others: Iterable[SweepTable]) -> None:
        """Take in the tables of other parts of the log."""
        tables = [self, *others]
        self.rows = np.concatenate([table.rows for table in tables])
        self.counts = sum((table.counts for table in tables), Counter())
        self.halvings = [max(table.halvings[kind] for table in tables) for kind in (0, 1)]
        self._thin()

    def _thin(self) -> None:
        """Keep the rows of fewer units, until there are few enough. Which ones depends on the units alone."""
        evident = evidence(self.rows)
        for kind in (0, 1):
            of_kind = evident == bool(kind)
            units = self.rows["unit"][of_kind]
            while (kept := _kept(units, self.halvings[kind])).sum() > MOST_ROWS:
                self.halvings[kind] += 1
            if not kept.all():
                keep = ~of_kind
                keep[np.flatnonzero(of_kind)[kept]] = True
                self.rows, evident = self.rows[keep], evident[keep]

    def wanted(self, unit: int, *, evident: bool) -> bool:
        """Return whether a row of a unit would be kept, so that others need not be decided."""
        return bool(unit >> (64 - self.halvings[evident]) == 0)

    @property
    def weights(self) -> NDArray[np.float64]:
        """Return how many requests of the log each row stands for: float64 (rows,)."""
        return np.where(evidence(self.rows), 2.0 ** self.halvings[1], 2.0 ** self.halvings[0])

    def sorted(self) -> SweepTable:
        """Return the table in an order that does not depend on the parts it was made from."""
        table = SweepTable(self.plan, self.rows[np.argsort(self.rows["order"], kind="stable")], self.counts)
        table.halvings = list(self.halvings)
        return table


def evidence(rows: Table) -> NDArray[np.bool_]:
    """Return which rows have a quality signal."""
    paired = (rows["pair_model"] != UNKNOWN).any(axis=1)
    known: NDArray[np.bool_] = ~np.isnan(rows["person"]) | ~np.isnan(rows["judge"]) | paired
    return known


def _kept(units: NDArray[np.uint64], halvings: int) -> NDArray[np.bool_]:
    if not halvings:
        return np.ones(len(units), bool)
    kept: NDArray[np.bool_] = units >> np.uint64(64 - halvings) == 0
    return kept
