"""The two windows of a log that drift compares: a random part of each, with what the tests need."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from semroute.bases import Frozen
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
    number: int
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


class Sample:
    """A random part of the rows of a window, and one of those with a score."""

    def __init__(self, since: float, until: float, seed: int) -> None:
        self.since, self.until = since, until
        chance = random.Random(seed)
        self._some, self._some_scored = Reservoir[Seen](MOST_ROWS, chance), Reservoir[Seen](MOST_ROWS, chance)

    @property
    def rows(self) -> int:
        """Return how many rows the window has."""
        return self._some.seen

    def add(self, row: LoggedDecision) -> None:
        """Take in a row of the window."""
        make = partial(_seen, row, self.rows)
        self._some.offer(make)
        if row.score is not None:
            self._some_scored.offer(make)

    @property
    def seen(self) -> list[Seen]:
        """Return the kept rows in the order of time."""
        return sorted(self._some.kept, key=lambda row: row[:2])

    @property
    def seen_scored(self) -> list[Seen]:
        """Return the kept rows with a score, in the order of time."""
        return sorted(self._some_scored.kept, key=lambda row: row[:2])

    @property
    def window(self) -> Window:
        """Return what the window holds."""
        compared, scored = len(self._some.kept), self._some_scored.seen
        return Window(since=self.since, until=self.until, rows=self.rows, compared=compared, scored=scored)


def split(rows: Iterable[LoggedDecision], reference: Sample, window: Sample, progress: Callable[[int], None]) -> None:
    """Put the rows of a log into the two windows."""
    for done, row in enumerate(rows, 1):
        for sample in (reference, window):
            if sample.since <= row.at < sample.until:
                sample.add(row)
        if done % 1000 == 0:
            progress(done)


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


def _seen(row: LoggedDecision, number: int) -> Seen:
    decision = row.decision
    pinned = decision.reason in NOT_ROUTED
    matched = bool(decision.candidates) or decision.in_scope is not None
    nearest = decision.candidates[0].nearest if decision.candidates else None
    text = " ".join((row.ask_text or "").split())[:200]
    vector = row.vector
    return Seen(
        at=row.at,
        number=number,
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
