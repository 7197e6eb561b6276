"""The two windows of a log that drift compares: a random part of each, with what the tests need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple, Self

import msgspec

from semroute.bases import Frozen
from semroute.learning.engines import Tally
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.reservoir import Reservoir
from semroute.routing.scoring import Floats

MOST_ROWS = 5000
"""The most rows of a window that are compared. Of more, a random part is drawn with a seed."""
NOT_ROUTED = ("pinned",)
"""Reasons of decisions that no route could take. Only their cost is compared."""


class Seen(NamedTuple):
    """What is kept of a row."""

    at: float
    route: str | None
    """The route. Empty: the default. None: the model was pinned."""
    in_scope: float | None
    abstained: bool
    cost_usd: float | None
    """None: nothing was asked of a model."""
    tier: str
    score: float | None
    encoder: tuple[str, int]
    """The fingerprint of the encoder and the length of its vectors."""
    vector: Floats | None
    text: str
    """The prompt if the log has it, else the nearest utterance."""
    is_prompt: bool


class Window(Frozen, frozen=True, kw_only=True):
    """A span of time in a log."""

    since: float
    until: float
    rows: int
    compared: int
    """How many of the rows are compared. If they are fewer, they are a random sample."""
    scored: int
    """Rows with a score from feedback."""


class Sample(msgspec.Struct, kw_only=True):
    """A random part of the rows of a window, and one of those with a score."""

    since: float
    until: float
    some: Reservoir[Seen]
    some_scored: Reservoir[Seen]

    @classmethod
    def of(cls, since: float, until: float, seed: int) -> Sample:
        """Return a sample of a window of which nothing was read yet."""
        some, some_scored = (Reservoir[Seen](most=MOST_ROWS, seed=seed) for _ in range(2))
        return cls(since=since, until=until, some=some, some_scored=some_scored)

    @property
    def rows(self) -> int:
        """Return how many rows the window has."""
        return self.some.seen

    def add(self, row: LoggedDecision) -> None:
        """Take in a row, if it is of the window."""
        if self.since <= row.at < self.until:
            make = partial(_seen, row)
            self.some.offer(row.id, make)
            if row.score is not None:
                self.some_scored.offer(row.id, make)

    def merge(self, later: Sample) -> None:
        """Add the sample of the same window in a later part of the log."""
        self.some.merge(later.some)
        self.some_scored.merge(later.some_scored)

    @property
    def seen(self) -> list[Seen]:
        """Return the kept rows in the order of time."""
        return sorted(self.some.kept, key=lambda row: row.at)

    @property
    def seen_scored(self) -> list[Seen]:
        """Return the kept rows with a score, in the order of time."""
        return sorted(self.some_scored.kept, key=lambda row: row.at)

    @property
    def window(self) -> Window:
        """Return what the window holds."""
        compared, scored = len(self.some.kept), self.some_scored.seen
        return Window(since=self.since, until=self.until, rows=self.rows, compared=compared, scored=scored)


class TwoWindows(Tally, kw_only=True):
    """The samples of both windows."""

    reference: Sample
    window: Sample

    @classmethod
    def between(cls, first: float, begin: float, end: float, seed: int) -> TwoWindows:
        """Return empty samples: the reference from `first` to `begin`, and the window from there to `end`."""
        return cls(reference=Sample.of(first, begin, seed), window=Sample.of(begin, end, seed))

    def add(self, batch: Sequence[LoggedDecision]) -> None:
        """Put rows into the two windows."""
        for row in batch:
            self.reference.add(row)
            self.window.add(row)

    def merge(self, later: Self) -> None:
        """Add the samples of a later part of the log."""
        super().merge(later)
        self.reference.merge(later.reference)
        self.window.merge(later.window)


def common_encoder(rows: Sequence[Seen]) -> tuple[str, int] | None:
    """Return the encoder that made most of the vectors. None: there are none.

    Old rows do not say which encoder it was. They count with any encoder whose vectors are as long.
    """
    counts = Counter(row.encoder for row in rows if row.vector is not None)
    named = [encoder for encoder in counts if encoder[0]]
    for encoder in [encoder for encoder in counts if not encoder[0]]:
        if same := [other for other in named if other[1] == encoder[1]]:
            counts[max(same, key=lambda other: counts[other])] += counts.pop(encoder)
    return counts.most_common(1)[0][0] if counts else None


def made_by(row: Seen, encoder: tuple[str, int]) -> bool:
    """Return whether this encoder made the row's vector, as far as the log can tell."""
    return row.vector is not None and row.encoder[1] == encoder[1] and row.encoder[0] in ("", encoder[0])


def _seen(row: LoggedDecision) -> Seen:
    decision = row.decision
    pinned = decision.reason in NOT_ROUTED
    matched = bool(decision.candidates) or decision.in_scope is not None
    nearest = decision.candidates[0].nearest if decision.candidates else None
    text = " ".join((row.ask_text or "").split())[:200]
    vector = row.vector
    return Seen(
        at=row.at,
        route=None if pinned else decision.route or "",
        in_scope=decision.in_scope,
        abstained=matched and decision.route is None and not pinned,
        cost_usd=float(row.cost_usd) if row.attempts or row.cost_usd else None,
        tier=row.tier,
        score=row.score,
        encoder=(row.encoder, 0 if vector is None else len(vector)),
        vector=vector,
        text=text or (nearest.utterance if nearest else ""),
        is_prompt=bool(text),
    )
