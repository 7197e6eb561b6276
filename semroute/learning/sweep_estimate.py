"""The second step of a sweep: from a table of logged requests to cost and quality at each setting. Pure.

**What is estimated.** A setting moves some requests to another model. Only these can change the quality, so their mean
difference in quality is estimated and multiplied by their share. A request is evidence only for a model that answered
it: the one that was logged, or one that was tried beside it.

- **Matched pairs.** Two answers to the same request were compared (shadow calls). Their mean difference, each pair
  weighted by one over the probability that the request was sampled.
- **Doubly robust.** The log holds requests that were moved, answered by the new model and by the present one. The
  expected score by route and model, plus the mean error of that on the logged answers, each weighted by one over its
  propensity (Dudík, Langford and Li 2011, with weights that sum to one). Scores of people and of a judge are never
  compared with each other: each gives a difference as a share of today's quality on its own scale.
- **Failed checks.** Weak evidence for cascades: an answer that failed a check counts as 0, the one after it as 1. It
  counts only where nothing else does.

Estimates of one difference are averaged with the inverse of their variances.

**Where there is no evidence.** Moved requests fall into groups by route, present and new model. A group in which the
log should hold at least three observations but holds none is not covered. Nothing is extrapolated to it: the interval
is widened as if its quality fell by 1, or rose by 1.

**Intervals** come from a bootstrap of units, not of requests: units are drawn with all of their requests. They are
widened for few units as a t interval is (Hesterberg 2015, "expanded percentiles"). So that many equal comparisons do
not look certain, each estimate is disturbed by about two comparisons that came out the other way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from semroute.learning.sweep_table import UNKNOWN, Block, SweepTable, Table
from semroute.learning.unit_bootstrap import DRAWS, Doubles, Interval, UnitBootstrap, interval

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

MIN_UNITS = 10
"""An estimate needs evidence from at least this many units."""
EXPECTED = 3.0
"""If a group should hold this many observations but holds none, it is not covered."""
SHRINK = 20.0
"""How many scores the mean of all counts for, beside the scores of one route and model."""
WITHIN_UNIT = 0.1
"""The assumed correlation of answers to one unit, where the log shows no variance to tell it from."""
PAIRS, PEOPLE, JUDGES, CHECKS = (
    "matched pairs",
    "doubly robust, scores of people",
    "doubly robust, grades of a judge",
    "failed checks (weak evidence)",
)


class Used(NamedTuple):
    """The evidence of one estimator for one setting."""

    estimator: str
    rows: int
    """The observations."""
    explored: int
    """Those of them whose model was chosen at random."""
    effective: float
    """The effective sample size: how many equally weighted observations say as much (Kish)."""
    units: int


class Estimate(NamedTuple):
    """What is known of one setting."""

    moved: float
    """The share of requests that get another model than now."""
    cost_usd: Interval
    """USD a request."""
    saving: Interval
    """The share of today's cost."""
    known: bool
    """Whether there is evidence at all, or no request moves. Otherwise only the limits below say something."""
    quality: Interval
    """The mean quality. Its limits count requests that no evidence covers at their worst and at their best."""
    retained: Interval
    """The same as a share of today's quality."""
    uncovered: float
    """The share of requests that move and that no evidence covers."""
    uncovered_groups: tuple[tuple[int, int, int, int], ...]
    """The largest groups without evidence: route, present model, new model, requests."""
    used: tuple[Used, ...]


class Level(NamedTuple):
    """Today's mean quality."""

    estimator: str
    """Empty: no answer was graded by itself, and 1 stands for today's quality."""
    quality: Interval
    rows: int
    units: int
    draws: Doubles


class _Seen(NamedTuple):
    """An estimate of the difference in one group of requests."""

    used: Used
    value: float
    draws: Doubles
    variance: float


class _Score(NamedTuple):
    """A kind of score of logged answers."""

    estimator: str
    values: Doubles
    sampled: Doubles
    """The probability with which the answer was graded."""


class Estimator:
    """Estimates all settings of one dial."""

    def __init__(self, table: SweepTable, block: Block, *, seed: int = 0, draws: int = DRAWS) -> None:
        """`table`: sorted, and not empty."""
        self._rows: Table = table.rows
        self._block = block
        self._models = self._rows["model"][:, block.columns]
        self._costs = self._rows["cost"][:, block.columns].astype(np.float64)
        self._logged = self._rows["served" if block.cascade else "first"]
        self._weights = table.weights
        self._places = len(table.plan.models)
        self._bootstrap = UnitBootstrap(self._rows["unit"], self._weights, seed=seed, draws=draws)
        self.units = self._bootstrap.units
        self._everything = np.arange(len(self._rows))
        self._propensity = np.where(self._rows["explored"], self._rows["propensity"], 1.0).astype(np.float64)
        self._scores = self._kinds()
        self._expected = [self._outcome_model(kind) for kind in self._scores]
        self._levels = [self._level(*parts) for parts in zip(self._scores, self._expected, strict=True)]
        unknown = Level("", Interval(1.0, 1.0, 1.0), 0, 0, np.ones(draws))
        self.level = max((unknown, *filter(None, self._levels)), key=lambda level: level.rows)

    def _kinds(self) -> list[_Score]:
        person, judge = (self._rows[name].astype(np.float64) for name in ("person", "judge"))
        sampled = np.nan_to_num(self._rows["judge_propensity"].astype(np.float64), nan=1.0)
        return [_Score(PEOPLE, person, np.ones(len(person))), _Score(JUDGES, judge, sampled)]

    # --- settings -----------------------------------------------------------------------------------------------------

    def estimate(self, setting: int) -> Estimate:
        """Estimate a setting. 0: as the dial is set now, 1 and on: the values of the block."""
        now, then = self._models[:, 0], self._models[:, setting]
        moved = np.flatnonzero(now != then)
        boot = self._bootstrap
        before, after = (boot.mean_of_all(self._costs[:, place]) for place in (0, setting))
        spared = np.divide(after[1], before[1], out=np.ones(boot.draws), where=before[1] > 0)
        saving = interval(1 - after[0] / before[0] if before[0] > 0 else 0.0, 1 - spared, boot.units)
        classes = self._classes(moved, now, then) if len(moved) else []
        covered = np.zeros(len(moved), bool)
        value, drawn, used, units = 0.0, np.zeros(boot.draws), list[Used](), boot.units
        for mask, seen in classes:
            covered |= mask
            part, parts = boot.share(moved[mask])
            sure = np.array([1 / one.variance for one in seen]) / sum(1 / one.variance for one in seen)
            value += part * float(sum(weight * one.value for weight, one in zip(sure, seen, strict=True)))
            drawn += parts * sum(weight * one.draws for weight, one in zip(sure, seen, strict=True))
            used += [one.used for one in seen]
            units = min(units, max(one.used.units for one in seen))
        uncovered = boot.share(moved[~covered])[0]
        level = self.level
        today, retained_drawn = level.quality.value, 1 + drawn / np.maximum(level.draws, 1e-9)
        quality = interval(today + value, level.draws + drawn, units)
        retained = interval(1 + value / today, retained_drawn, units)
        return Estimate(
            moved=boot.share(moved)[0],
            cost_usd=interval(*after, boot.units),
            saving=saving,
            known=bool(classes) or not len(moved),
            quality=_widened(quality, uncovered),
            retained=_widened(retained, uncovered / today),
            uncovered=uncovered,
            uncovered_groups=self._largest(moved[~covered], now, then),
            used=_together(used),
        )

    def _classes(self, moved: Ints, now: Ints, then: Ints) -> list[tuple[Bools, list[_Seen]]]:
        """Split moved requests by the estimators that cover them, and estimate the difference in each part."""
        route, old, new = (part[moved].astype(np.int64) for part in (self._rows["route"], now, then))
        _, strata = np.unique((route + 1) * 2**32 + (old + 1) * 2**16 + new + 1, return_inverse=True)
        known = new != UNKNOWN
        methods = self._methods(moved, old, new)
        masks = [known & self._covers(strata, seen_in) for _, seen_in, _ in methods]
        strong = np.zeros(len(moved), bool)
        for (_, _, weak), mask in zip(methods, masks, strict=True):
            mask &= ~strong if weak else True
            strong |= mask
        codes = sum((mask.astype(np.int64) << bit for bit, mask in enumerate(masks)), np.zeros(len(moved), np.int64))
        found = []
        for code in np.unique(codes[codes > 0]):
            part = codes == code
            chosen = [method for bit, (method, _, _) in enumerate(methods) if code >> bit & 1]
            seen = [one for method in chosen if (one := method(part)) is not None]
            if seen:
                found.append((part, seen))
        return found

    def _methods(
        self, moved: Ints, old: Ints, new: Ints
    ) -> list[tuple[Callable[[Bools], _Seen | None], tuple[Bools, ...], bool]]:
        """Return the estimators: a function of a part of the moved requests, their observations, whether it is weak."""
        rows = self._rows[moved]
        served = self._logged[moved]
        methods: list[tuple[Callable[[Bools], _Seen | None], tuple[Bools, ...], bool]] = []
        for weak in (False, True) if self._block.cascade else (False,):
            differences = _differences(rows, old, new, served, weak=weak)
            seen_in = (~np.isnan(differences[0]),)
            methods.append((_bound(self._paired, moved, differences, CHECKS if weak else PAIRS), seen_in, weak))
        if not self._block.cascade:
            places = (self._score_of(kind, moved, old, new) for kind in range(len(self._scores)))
            methods[1:1] = [(_bound(self._robust, moved, *place), place[0], False) for place in places]
        return methods

    def _score_of(self, kind: int, moved: Ints, old: Ints, new: Ints) -> tuple[tuple[Bools, Bools], int, Ints, Ints]:
        graded = ~np.isnan(self._scores[kind].values[moved])
        logged = self._logged[moved]
        usable = graded & (self._rows["explored"][moved] | self._rows["exact"][moved])
        return (usable & (logged == new), usable & (logged == old)), kind, old, new

    @staticmethod
    def _covers(strata: Ints, seen_in: Sequence[Bools]) -> Bools:
        """Return which requests lie in a group that has observations, or is too small to expect any."""
        sizes = np.bincount(strata)
        good = np.ones(len(sizes), bool)
        for seen in seen_in:
            counts = np.bincount(strata, seen.astype(np.float64), len(sizes))
            expected = sizes * seen.mean() if len(seen) else sizes * 0.0
            good &= (counts > 0) | ((expected < EXPECTED) & (counts.sum() > 0))
        covered: Bools = good[strata]
        return covered

    def _paired(self, moved: Ints, differences: tuple[Doubles, Doubles], estimator: str, part: Bools) -> _Seen | None:
        values, sampled = differences
        some = part & ~np.isnan(values)
        rows = moved[some]
        weights = self._weights[rows] / sampled[some]
        if self._few(rows):
            return None
        used = self._used(estimator, rows, weights)
        return self._seen(used, *self._bootstrap.mean(rows, values[some], weights))

    def _robust(
        self, moved: Ints, observed: tuple[Bools, Bools], kind: int, old: Ints, new: Ints, part: Bools
    ) -> _Seen | None:
        rows = moved[part]
        expected, score = self._expected[kind], self._scores[kind]
        direct = expected(rows, new[part]) - expected(rows, old[part])
        value, drawn = self._bootstrap.mean(rows, direct, self._weights[rows])
        used = []
        for sign, seen, models in ((1, observed[0] & part, new), (-1, observed[1] & part, old)):
            some = moved[seen]
            if self._few(some):
                return None
            each = self._weights[some] / (self._propensity[some] * score.sampled[some])
            errors = score.values[some] - expected(some, models[seen])
            error, error_drawn = self._bootstrap.mean(some, errors, each)
            value, drawn = value + sign * error, drawn + sign * error_drawn
            used.append(self._used(score.estimator, some, each))
        rarer = min(used, key=lambda one: one.effective)
        both = Used(
            score.estimator,
            sum(one.rows for one in used),
            sum(one.explored for one in used),
            rarer.effective,
            rarer.units,
        )
        scale = self.level.quality.value / own.quality.value if (own := self._levels[kind]) is not None else 1.0
        return self._seen(both, scale * value, scale * drawn)

    def _few(self, rows: Ints) -> bool:
        return self._bootstrap.count(rows) < MIN_UNITS

    def _used(self, estimator: str, rows: Ints, weights: Doubles) -> Used:
        effective = float(weights.sum() ** 2 / np.square(weights).sum())
        explored = 0 if estimator in (PAIRS, CHECKS) else int(self._rows["explored"][rows].sum())
        return Used(estimator, len(rows), explored, effective, self._bootstrap.count(rows))

    def _seen(self, used: Used, value: float, drawn: Doubles) -> _Seen:
        """Disturb an estimate by what its observations cannot rule out."""
        design = 1 + (used.rows / used.units - 1) * WITHIN_UNIT
        spread = math.sqrt(2) / (used.effective / design + 2)
        drawn = drawn + self._bootstrap.random.normal(0, spread, len(drawn))
        return _Seen(used, value, drawn, float(np.var(drawn)) + 1e-12)

    # --- today's quality ----------------------------------------------------------------------------------------------

    def _level(self, score: _Score, expected: Callable[[Ints, Ints], Doubles]) -> Level | None:
        """Estimate today's quality from one kind of scores. None: there are too few."""
        now = self._models[:, 0].astype(np.int64)
        some = np.flatnonzero(~np.isnan(score.values) & (self._logged == now))
        if self._few(some):
            return None
        each = self._weights[some] / (self._propensity[some] * score.sampled[some])
        error, error_drawn = self._bootstrap.mean(some, score.values[some] - expected(some, now[some]), each)
        value, drawn = self._bootstrap.mean_of_all(expected(self._everything, now))
        if value + error <= 0:
            return None
        units = self._bootstrap.count(some)
        quality = interval(value + error, drawn + error_drawn, units)
        return Level(score.estimator, quality, len(some), units, drawn + error_drawn)

    def _outcome_model(self, score: _Score) -> Callable[[Ints, Ints], Doubles]:
        """Return a function that gives the expected score of requests by route and model, from the units of the other
        half.
        """
        routes, models = self._rows["route"].astype(np.int64) + 1, self._logged.astype(np.int64) + 1
        wide, half = self._places + 1, self._bootstrap.unit & 1
        cells = routes * wide + models
        size = (int(routes.max(initial=0)) + 1) * wide
        known = ~np.isnan(score.values)
        tables = []
        for fold in (0, 1):
            some = known & (half != fold)
            weights, values = self._weights[some], score.values[some]
            overall = float((weights * values).sum() / weights.sum()) if some.any() else 0.5
            of_model = _shrunk(models[some], wide, weights, values, np.full(wide, overall))
            tables.append(_shrunk(cells[some], size, weights, values, of_model[np.arange(size) % wide]))
        both = np.stack(tables)

        def expected(rows: Ints, chosen: Ints) -> Doubles:
            found: Doubles = both[half[rows], routes[rows] * wide + chosen + 1]
            return found

        return expected

    def _largest(self, rows: Ints, now: Ints, then: Ints) -> tuple[tuple[int, int, int, int], ...]:
        if not len(rows):
            return ()
        keys = np.stack([self._rows["route"][rows], now[rows], then[rows]], axis=1).astype(np.int64)
        groups, places = np.unique(keys, axis=0, return_inverse=True)
        sizes = np.bincount(places.reshape(-1), self._weights[rows])
        order = np.argsort(-sizes, kind="stable")[:3]
        return tuple((*(int(part) for part in groups[place]), int(sizes[place])) for place in order)  # type: ignore[misc]


def _widened(found: Interval, uncovered: float) -> Interval:
    return Interval(found.value, max(0.0, found.low - uncovered), found.high + uncovered)


def _bound(function: Callable[..., _Seen | None], *given: object) -> Callable[[Bools], _Seen | None]:
    def bound(part: Bools) -> _Seen | None:
        return function(*given, part)

    return bound


def _differences(rows: Table, old: Ints, new: Ints, served: Ints, *, weak: bool) -> tuple[Doubles, Doubles]:
    """Return the quality of the new model's answer less that of the present one, where both answers were compared.

    The other array has the probability with which each was compared. NaN: they were not.
    """
    values, sampled = np.full(len(rows), np.nan), np.ones(len(rows))
    for place in range(rows["pair_model"].shape[1]):
        tried, difference = rows["pair_model"][:, place], rows["pair_difference"][:, place].astype(np.float64)
        fits = (tried != UNKNOWN) & (rows["pair_weak"][:, place] == weak) & np.isnan(values)
        forward, backward = fits & (served == old) & (tried == new), fits & (served == new) & (tried == old)
        values = np.where(forward, difference, np.where(backward, -difference, values))
        sampled = np.where(forward | backward, rows["pair_propensity"][:, place].astype(np.float64), sampled)
    return values, sampled


def _shrunk(cells: Ints, size: int, weights: Doubles, values: Doubles, toward: Doubles) -> Doubles:
    counts, sums = np.bincount(cells, weights, size), np.bincount(cells, weights * values, size)
    means: Doubles = (sums + SHRINK * toward) / (counts + SHRINK)
    return means


def _together(used: Sequence[Used]) -> tuple[Used, ...]:
    """Add up the evidence of the parts that one estimator was used for."""
    found: dict[str, Used] = {}
    for one in used:
        had = found.get(one.estimator, Used(one.estimator, 0, 0, 0.0, 0))
        found[one.estimator] = Used(
            one.estimator,
            had.rows + one.rows,
            had.explored + one.explored,
            had.effective + one.effective,
            max(had.units, one.units),
        )
    return tuple(found.values())
