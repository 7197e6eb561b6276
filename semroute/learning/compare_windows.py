"""Compare the traffic of a window with that of a reference: what moved, since when, and which prompts are new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from semroute.bases import Frozen
from semroute.config.error_wording import counted
from semroute.errors import RequestError
from semroute.learning import two_samples
from semroute.learning.clusters import group, varied
from semroute.learning.drift_windows import Sample, Seen, Window, common_encoder, made_by
from semroute.learning.two_samples import Difference
from semroute.routing.scoring import Doubles, Floats, Ints

LEAST_ROWS = 100
"""Each window needs at least this many rows."""
LEAST_SCORES = 20
"""The fewest scores, in each window, that the quality of a tier is compared on."""
MOST_VECTORS = 1000
"""The most vectors of each window that the test of vectors takes. Its time grows with the square."""
LEAST_SHARE, LEAST_GAP, LEAST_DISTANCE = 0.01, 0.05, 0.0005
"""Smaller differences of shares, of distributions and of vectors are not told, however certain they are. On CLINC150, a
new topic with a tenth of the traffic makes an energy distance of about .0013, and one with a fifth .0068."""
NEIGHBOURS = 5
NOVEL = 0.1
"""A prompt is new if its nearest neighbours in the window are this much nearer than those in the reference."""
ALIKE, LEAST_NEW, MOST_NEW, EXAMPLES = 0.5, 3, 5, 5


class Change(Frozen, frozen=True, kw_only=True):
    """One comparison."""

    what: str
    """Such as `share of route billing` or `cost a request`."""
    before: float | None
    """The share or the mean in the reference. None: vectors have no mean that says something."""
    after: float | None
    effect: float
    """The difference of shares, the largest gap between distributions, or the energy distance of vectors."""
    p: float
    """The chance of such a difference if nothing moved, corrected for all comparisons of the report (Holm)."""
    moved: bool
    """Whether `p` is small enough, and `effect` large enough to matter."""
    since: float | None = None
    """About when it moved, in seconds since 1970. None: it did not."""


class NewPrompts(Frozen, frozen=True, kw_only=True):
    """Prompts of the window that are alike, and unlike those of the reference."""

    share: float
    """Their share of the compared requests of the window."""
    requests: int
    examples: tuple[str, ...]
    """Prompts, or the nearest utterances where the log has no text."""
    are_prompts: bool
    """Whether all examples are prompts."""
    routes: dict[str, int]
    """Where they went. Empty text: to the default."""


class Drift(Frozen, frozen=True, kw_only=True):
    """The report of `semroute drift`."""

    reference: Window
    window: Window
    moved: bool
    """Whether anything did."""
    changes: tuple[Change, ...]
    """What moved comes first."""
    new: tuple[NewPrompts, ...]
    notes: tuple[str, ...]
    """What could not be compared, and why."""


class _Test(NamedTuple):
    what: str
    before: float | None
    after: float | None
    least: float
    difference: Difference
    at: Doubles
    """The times of all values, ascending: those of the reference, then those of the window."""
    values: Doubles


def compare(reference: Sample, window: Sample, alpha: float, seed: int = 0) -> Drift:
    """Compare two windows. `alpha`: the chance that a report without any drift says that something moved.

    Raises `RequestError` if a window has too few rows.
    """
    require_enough(reference, window)
    before, after = reference.seen, window.seen
    notes: list[str] = []
    tests = [*_shares(before, after), *_numbers(before, after, notes)]
    tests += _quality(reference.seen_scored, window.seen_scored, notes)
    vectors = _Vectors.of(before, after, notes, seed)
    if vectors is not None:
        tests.append(vectors.test(seed))
    chances = two_samples.holm([test.difference.p for test in tests])
    changes = [_change(test, p, alpha) for test, p in zip(tests, chances, strict=True)]
    changes.sort(key=lambda one: (not one.moved, one.p, -abs(one.effect)))
    prompts_moved = vectors is not None and any(one.moved and one.what == VECTORS for one in changes)
    return Drift(
        reference=reference.window,
        window=window.window,
        moved=any(one.moved for one in changes),
        changes=tuple(changes),
        new=tuple(vectors.new_prompts()) if vectors is not None and prompts_moved else (),
        notes=tuple(notes),
    )


def require_enough(reference: Sample, window: Sample) -> None:
    """Check that both windows have enough rows. Raises `RequestError`, which says how many are missing."""
    for sample, what, advice in (
        (window, "the window", "choose a longer window, or another end with --until"),
        (
            reference,
            "the reference before the window",
            "choose a longer reference or a later window; in a young log, a shorter window",
        ),
    ):
        if sample.rows < LEAST_ROWS:
            raise RequestError(
                f"{what} has {counted(sample.rows, 'request')}, expected at least {LEAST_ROWS}, "
                f"{LEAST_ROWS - sample.rows} more: {advice}"
            )


VECTORS = "prompts, by their vectors"


def _change(test: _Test, p: float, alpha: float) -> Change:
    moved = p < alpha and abs(test.difference.effect) >= test.least
    return Change(
        what=test.what,
        before=test.before,
        after=test.after,
        effect=round(test.difference.effect, 5),
        p=p,
        moved=moved,
        since=float(test.at[two_samples.change_point(test.values)]) if moved else None,
    )


def _shares(before: Sequence[Seen], after: Sequence[Seen]) -> Iterable[_Test]:
    """Compare the share of each route, and of requests that no route was sure enough of."""
    routed, routed_after = ([row for row in rows if row.route is not None] for rows in (before, after))
    if not routed or not routed_after:
        return
    for route in dict.fromkeys(row.route or "" for row in (*routed, *routed_after)):
        name = f"share of route {route}" if route else "share of the default"
        went, went_after = ([row.route == route for row in rows] for rows in (routed, routed_after))
        yield _share(name, routed, routed_after, went, went_after)
    abstained, abstained_after = ([row.abstained for row in rows] for rows in (routed, routed_after))
    yield _share("share of abstentions", routed, routed_after, abstained, abstained_after)


def _share(
    what: str, before: Sequence[Seen], after: Sequence[Seen], hits: Sequence[bool], hits_after: Sequence[bool]
) -> _Test:
    count, count_after = sum(hits), sum(hits_after)
    return _Test(
        what,
        count / len(before),
        count_after / len(after),
        LEAST_SHARE,
        two_samples.shares((count, len(before)), (count_after, len(after))),
        np.array([row.at for row in (*before, *after)]),
        np.array([*hits, *hits_after], np.float64),
    )


def _numbers(before: Sequence[Seen], after: Sequence[Seen], notes: list[str]) -> Iterable[_Test]:
    for what, of in (
        ("in-scope score", lambda row: row.in_scope),
        ("cost a request in USD", lambda row: row.cost_usd),
    ):
        test = _distribution(what, before, after, of)
        if test is None:
            notes.append(f"{what}: not compared, because a window has fewer than {LEAST_SCORES} values")
        else:
            yield test


def _quality(before: Sequence[Seen], after: Sequence[Seen], notes: list[str]) -> Iterable[_Test]:
    for tier in sorted({row.tier for row in (*before, *after)}):
        in_tier, in_tier_after = ([row for row in rows if row.tier == tier] for rows in (before, after))
        what = f"quality of the tier {tier}" if tier else "quality of requests without a tier"
        test = _distribution(what, in_tier, in_tier_after, lambda row: row.score)
        if test is None:
            counts = f"{len(in_tier)} and {len(in_tier_after)} scores"
            notes.append(f"{what}: not compared, got {counts}, expected at least {LEAST_SCORES} in each window")
        else:
            yield test
    if not before and not after:
        notes.append("quality: not compared, because no request has a score from feedback")


def _distribution(
    what: str, before: Sequence[Seen], after: Sequence[Seen], of: Callable[[Seen], float | None]
) -> _Test | None:
    pairs, pairs_after = (
        [(row.at, value) for row in rows if (value := of(row)) is not None] for rows in (before, after)
    )
    if min(len(pairs), len(pairs_after)) < LEAST_SCORES:
        return None
    values, values_after = (np.array([value for _, value in some], np.float64) for some in (pairs, pairs_after))
    both = np.concatenate((values, values_after))
    ranks = np.searchsorted(np.sort(both), both).astype(np.float64)  # so that no single value decides since when
    return _Test(
        what,
        float(values.mean()),
        float(values_after.mean()),
        LEAST_GAP,
        two_samples.distributions(values, values_after),
        np.array([at for at, _ in (*pairs, *pairs_after)]),
        ranks,
    )


class _Vectors:
    """The vectors of both windows, as many of each."""

    def __init__(self, before: list[Seen], after: list[Seen]) -> None:
        self._before, self._after = before, after
        self._vectors, self._vectors_after = (_stacked(rows) for rows in (before, after))

    @classmethod
    def of(cls, before: Sequence[Seen], after: Sequence[Seen], notes: list[str], seed: int) -> _Vectors | None:
        encoder = common_encoder(after)
        if encoder is None:
            notes.append(f"{VECTORS}: not compared, because the log has none for the window")
            return None
        kept, kept_after = ([row for row in rows if made_by(row, encoder)] for rows in (before, after))
        for rows, some, what in ((before, kept, "reference"), (after, kept_after, "window")):
            if others := sum(row.vector is not None for row in rows) - len(some):
                notes.append(f"{VECTORS}: {others} of the {what} are of another encoder and were left out")
        count = min(len(kept), len(kept_after))
        if count < LEAST_ROWS:
            notes.append(
                f"{VECTORS}: not compared, got {len(kept)} in the reference and {len(kept_after)} in the window that "
                f"one encoder made, expected at least {LEAST_ROWS} in each"
            )
            return None
        random = np.random.default_rng(seed)
        chosen, chosen_after = (np.sort(random.choice(len(rows), count, False)) for rows in (kept, kept_after))
        return cls([kept[row] for row in chosen], [kept_after[row] for row in chosen_after])

    def test(self, seed: int) -> _Test:
        random = np.random.default_rng(seed + 1)
        some, some_after = (
            rows[random.permutation(len(rows))[:MOST_VECTORS]] for rows in (self._vectors, self._vectors_after)
        )
        moved = self._vectors_after.mean(axis=0) - self._vectors.mean(axis=0)
        both = np.concatenate((self._vectors, self._vectors_after))
        at = np.array([row.at for row in (*self._before, *self._after)])
        difference = two_samples.vectors(some, some_after, seed)
        return _Test(VECTORS, None, None, LEAST_DISTANCE, difference, at, (both @ moved).astype(np.float64))

    def new_prompts(self) -> list[NewPrompts]:
        """Return groups of prompts that are near each other in the window, and far from those of the reference."""
        inside = _nearness(self._vectors_after, self._vectors_after, skip=1)
        novelty = inside - _nearness(self._vectors_after, self._vectors)
        novel = np.flatnonzero(novelty > NOVEL)
        found = [novel[rows] for rows in group(self._vectors_after[novel], ALIKE) if len(rows) >= LEAST_NEW]
        return [self._told(rows) for rows in found[:MOST_NEW]]

    def _told(self, rows: Ints) -> NewPrompts:
        members = [self._after[row] for row in rows]
        routes = Counter(row.route or "" for row in members)
        shown = [members[place] for place in varied(self._vectors_after[rows], EXAMPLES)]
        examples = tuple(dict.fromkeys(row.text for row in shown if row.text))
        return NewPrompts(
            share=round(len(rows) / len(self._after), 4),
            requests=len(rows),
            examples=examples,
            are_prompts=all(row.is_prompt for row in shown),
            routes=dict(routes.most_common()),
        )


def _stacked(rows: Sequence[Seen]) -> Floats:
    return np.array([row.vector for row in rows if row.vector is not None], np.float32)


def _nearness(of: Floats, among: Floats, skip: int = 0) -> Floats:
    """Return the mean similarity to the nearest neighbours: float32 (n,). `skip`: 1 leaves out the row itself."""
    found = np.empty(len(of), np.float32)
    for start in range(0, len(of), 1024):
        block = of[start : start + 1024] @ among.T
        nearest = -np.sort(-np.partition(block, -NEIGHBOURS - skip, axis=1)[:, -NEIGHBOURS - skip :], axis=1)
        found[start : start + 1024] = nearest[:, skip:].mean(axis=1)
    return found
