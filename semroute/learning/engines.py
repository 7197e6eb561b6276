"""Where the work on a log is done: in this process, or on the workers of a Ray cluster.

A log is read in parts, and each part gives a tally: counts, sums and samples. The tallies are merged in the order of
the parts. Every engine does the same work on the same parts, so the figures are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import msgspec

from semroute.learning.logged_decisions import LoggedDecision, LoggedDecisions, TornRows, batches
from semroute.stores.interfaces import Query

Item = TypeVar("Item")
ItemOf = TypeVar("ItemOf", contravariant=True)
Result = TypeVar("Result")
ResultOf = TypeVar("ResultOf", covariant=True)


class Work(Protocol[ItemOf, ResultOf]):
    """What is done with an item. It can be pickled, so that another process can do it."""

    def __call__(self, item: ItemOf, /) -> Iterator[ResultOf]:
        """Yield the result so far, as often as there is progress. The last one is whole."""


class Step(NamedTuple, Generic[Result]):
    """How far an engine is."""

    result: Result
    """The result for an item."""
    whole: bool
    """Whether the item is finished. The next step is then about the next item."""


class Engine(Protocol):
    """Does work on items."""

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Step[Result]]:
        """Do the work on each item. The whole results come in the order of the items.

        An engine may leave out the steps on the way to a whole result.
        """


class LocalEngine:
    """Does all work in this process, one item after the other."""

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Step[Result]]:
        """Do the work on each item, with all steps on the way."""
        for item in items:
            for result in work(item):
                yield Step(result, False)
            yield Step(result, True)


LOCAL = LocalEngine()


class Tally(msgspec.Struct, kw_only=True):
    """What is counted, added up and drawn from the rows of a log."""

    rows: int = 0
    """The rows that were read, without the torn ones."""
    torn: TornRows = msgspec.field(default_factory=TornRows)
    last_place: str | None = None
    """Where the last row stands. None: there was none."""

    def merge(self, later: Self) -> None:
        """Add the tally of rows that came later in the log."""
        self.rows += later.rows
        self.torn = self.torn.merged(later.torn)
        self.last_place = later.last_place or self.last_place


SomeTally = TypeVar("SomeTally", bound=Tally)


class Stretch(NamedTuple, Generic[SomeTally]):
    """Rows of a log that one process reads."""

    log: LoggedDecisions
    tally: SomeTally | None = None
    """The tally of the rows that were read before, up to `tally.last_place`. None: begin with the first row."""


class TallyRows(NamedTuple, Generic[SomeTally]):
    """The work of reading a stretch of a log into a tally."""

    begin: Callable[[], SomeTally]
    """Returns an empty tally."""
    add: Callable[[SomeTally, Sequence[LoggedDecision]], None]
    """Adds some rows to a tally. It need not count them."""
    query: Query

    def __call__(self, stretch: Stretch[SomeTally], /) -> Iterator[SomeTally]:
        """Yield the tally after each batch of rows, and at the end."""
        log = stretch.log
        tally = self.begin() if stretch.tally is None else stretch.tally
        before = tally.torn if isinstance(log.source, str) else TornRows()  # a file is read again from its first row
        for batch in batches(log.read(self.query, after=tally.last_place)):
            self.add(tally, batch)
            tally.rows += len(batch)
            tally.last_place, tally.torn = batch[-1].place, before.merged(log.torn)
            yield tally
        tally.torn = before.merged(log.torn)
        yield tally


def read_log(
    engine: Engine, log: LoggedDecisions, work: TallyRows[SomeTally], progress: Callable[[int], None]
) -> SomeTally:
    """Read a whole log into a tally. `log.torn` then holds the rows that could not be read, as after any reading.

    `progress`: is called with the number of rows that were read so far. Raises `RequestError`.
    """
    whole, parts = work.begin(), log.parts()
    whole.torn = log.torn
    for tally, finished in engine.map(work, map(Stretch[SomeTally], parts)):
        if tally.rows:
            progress(whole.rows + tally.rows)
        if finished:
            whole.merge(tally)
    log.torn = whole.torn
    return whole
