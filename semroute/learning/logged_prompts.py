"""The different prompts of a log: what each asks, how often it came, and what feedback says of it.

A log may hold any number of rows. At most `MOST_ROWS` of those with text are kept, drawn at random with a seed. Rows
with feedback are drawn apart, because they are few and say most. Parts of a log can be read apart and merged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from functools import partial
from typing import NamedTuple, Self

from semroute.bases import Frozen
from semroute.config.error_wording import words
from semroute.learning.engines import LOCAL, Engine, Tally
from semroute.learning.logged_decisions import LoggedDecision
from semroute.learning.reservoir import Reservoir
from semroute.router import Router
from semroute.routing.ask import Ask, find_ask
from semroute.routing.difficulty import Reading
from semroute.semantic.training import Progress
from semroute.stores.rollups import GOOD_SCORE

MOST_ROWS = 20_000
"""The most rows that are kept of each kind: with feedback, and without. To embed them takes about a minute."""
MATCHED = ("", "semantic", "default", "classifier")
"""Reasons of decisions about a prompt that stands alone. The rest were pinned, decided by a rule or carried on."""
BATCH = 256
STACK = 8 * BATCH
"""So many prompts are matched by one process."""


class Counts(Frozen, frozen=True, kw_only=True):
    """What was read of a log."""

    rows: int
    """All rows, without the torn ones."""
    torn: int
    without_text: int
    """Rows whose text the log did not keep, so that nothing can be suggested from them."""
    redacted: int
    """Rows with something private taken out. They are left out: an utterance should be what people write."""
    not_matched: int
    """Rows that a rule, a pin or an earlier turn decided."""
    several_asks: int
    """Rows that ask for several things at once."""
    used: int
    """Rows that the suggestions rest on."""
    sampled_from: int | None
    """How many rows could be used, if only a sample of them was. None: all were used."""
    prompts: int
    """The different prompts of the rows that were used."""
    labelled: int
    """Prompts with feedback that names the right route or confirms the one that was taken."""
    disliked: int
    """Prompts with bad feedback that names no route."""
    unknown_labels: dict[str, int]
    """Rows whose feedback names a route that the route files do not have, by that name."""


class Prompt(NamedTuple):
    """A prompt that was asked once or more."""

    ask: Ask
    requests: int
    """How often it came."""
    label: str | None
    """The right route, by most of the feedback. Empty: no route is right. None: nobody said."""
    labels: int
    """How many requests have feedback that says so."""
    disliked: frozenset[str]
    """The routes that were taken when feedback was bad and did not say which is right. Empty: the default."""

    @property
    def text(self) -> str:
        """Return what can be an utterance: the ask on one line."""
        return " ".join(self.ask.matched[0].split())


class LoggedPrompts(NamedTuple):
    """The prompts of a log."""

    prompts: list[Prompt]
    """In the order in which they first came."""
    counts: Counts


class Kept(NamedTuple):
    """What is kept of a row."""

    number: int
    """The number of the row in the log, counted from 1."""
    text: str
    route: str | None
    label: str | None
    score: float | None


class PromptTally(Tally, kw_only=True):
    """What was read of a log so far."""

    routes: frozenset[str]
    """The names of the routes of the route files."""
    told: Reservoir[Kept]
    """Rows with feedback."""
    untold: Reservoir[Kept]
    """Rows without feedback."""
    left_out: dict[str, int] = {}
    """Rows that cannot be used, by the field of `Counts`."""
    unknown_labels: dict[str, int] = {}

    @classmethod
    def begin(cls, routes: frozenset[str], seed: int = 0, most: int = MOST_ROWS) -> PromptTally:
        """Return an empty tally. `most`: how many rows of each kind are kept."""
        told, untold = (Reservoir[Kept](most=most, seed=seed) for _ in range(2))
        return cls(routes=routes, told=told, untold=untold)

    def add(self, batch: Sequence[LoggedDecision]) -> None:
        """Take in rows."""
        for number, row in enumerate(batch, start=self.rows + 1):
            if (why := _unusable(row)) is not None:
                self.left_out[why] = self.left_out.get(why, 0) + 1
                continue
            label = row.label
            if label and label not in self.routes:
                self.unknown_labels[label] = self.unknown_labels.get(label, 0) + 1
                label = None
            make = partial(Kept, number, row.ask_text or "", row.route, label, row.score)
            (self.untold if label is None and row.score is None else self.told).offer(row.id, make)

    def merge(self, later: Self) -> None:
        """Add what was read of a later part of the log."""
        for mine, theirs in ((self.told, later.told), (self.untold, later.untold)):
            theirs.drawn = [
                one._replace(item=one.item._replace(number=one.item.number + self.rows)) for one in theirs.drawn
            ]
            mine.merge(theirs)
        for counts, more in ((self.left_out, later.left_out), (self.unknown_labels, later.unknown_labels)):
            for name, number in more.items():
                counts[name] = counts.get(name, 0) + number
        super().merge(later)

    def prompts(self) -> LoggedPrompts:
        """Return the different prompts of the rows that were kept."""
        usable, rows = self.told.seen + self.untold.seen, sorted([*self.told.kept, *self.untold.kept])
        prompts, several = _prompts(rows, self.routes)
        counts = Counts(
            rows=self.rows,
            torn=self.torn.count,
            **{why: self.left_out.get(why, 0) for why in ("without_text", "redacted", "not_matched")},
            several_asks=several,
            used=len(rows) - several,
            sampled_from=usable if usable > len(rows) else None,
            prompts=len(prompts),
            labelled=sum(prompt.label is not None for prompt in prompts),
            disliked=sum(bool(prompt.disliked) and prompt.label is None for prompt in prompts),
            unknown_labels=dict(sorted(self.unknown_labels.items(), key=lambda pair: -pair[1])),
        )
        return LoggedPrompts(prompts, counts)


class MatchPrompts(NamedTuple):
    """The work of matching prompts with the routes as they are now."""

    router: Router

    def __call__(self, prompts: Sequence[Prompt], /) -> Iterator[list[Reading]]:
        """Yield the readings so far."""
        readings: list[Reading] = []
        for start in range(0, len(prompts), BATCH):
            readings += self.router.read([prompt.ask for prompt in prompts[start : start + BATCH]])
            yield readings


def read_all(
    router: Router,
    prompts: Sequence[Prompt],
    progress: Progress = lambda done, total: None,
    engine: Engine = LOCAL,
) -> list[Reading]:
    """Match each prompt with the routes as they are now."""
    readings: list[Reading] = []
    stacks = [prompts[start : start + STACK] for start in range(0, len(prompts), STACK)]
    for some, whole in engine.map(MatchPrompts(router), stacks):
        progress(len(readings) + len(some), len(prompts))
        if whole:
            readings += some
    return readings


def _unusable(row: LoggedDecision) -> str | None:
    if row.decision.reason not in MATCHED:
        return "not_matched"
    if not (row.ask_text or "").strip():
        return "without_text"
    return "redacted" if row.redacted else None


def _prompts(rows: Sequence[Kept], routes: Container[str]) -> tuple[list[Prompt], int]:
    """Return the different prompts, and how many rows ask for several things."""
    together: dict[str, list[Kept]] = {}
    asks: dict[str, Ask] = {}
    several = 0
    for row in rows:
        ask = find_ask(row.text)
        if len(ask.matched) != 1 or not ask.matched[0].strip():
            several += 1
            continue
        key = words(ask.matched[0])
        asks.setdefault(key, ask)
        together.setdefault(key, []).append(row)
    return [_prompt(asks[key], same, routes) for key, same in together.items()], several


def _prompt(ask: Ask, rows: Sequence[Kept], routes: Container[str]) -> Prompt:
    labels = Counter(label for row in rows if (label := _label(row, routes)) is not None)
    label, count = labels.most_common(1)[0] if labels else (None, 0)
    disliked = frozenset(row.route or "" for row in rows if row.score is not None and row.score < GOOD_SCORE)
    return Prompt(ask, len(rows), label, count, disliked if label is None else frozenset())


def _label(row: Kept, routes: Container[str]) -> str | None:
    """Return the right route: the one that feedback names, or the one that was taken if the answer was good."""
    if row.label is not None:
        return row.label
    good = row.score is not None and row.score >= GOOD_SCORE
    return row.route if good and row.route is not None and row.route in routes else None
