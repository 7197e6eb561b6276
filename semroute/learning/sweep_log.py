"""Sweep a log: what each setting of a dial would have cost, and what it would have kept of the quality."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from semroute.config.config import Config
from semroute.config.dials import DIALS, positions
from semroute.config.error_wording import did_you_mean
from semroute.errors import RequestError
from semroute.learning.engines import LOCAL, Engine
from semroute.learning.logged_decisions import LoggedDecisions, TornRows, batches
from semroute.learning.sweep_report import Floor, SweepReport, report
from semroute.learning.sweep_rows import Sweeper
from semroute.learning.sweep_table import Plan, SweepTable
from semroute.router import Router
from semroute.stores.interfaces import Query

ALL = Query()


def sweep(
    router: Router,
    log: LoggedDecisions,
    floor: Floor,
    *,
    dials: Sequence[str] = (),
    query: Query = ALL,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = LOCAL,
) -> SweepReport:
    """Sweep some dials, or all that the route files use. Raises `RequestError` for a dial that they do not use.

    `progress` is called with the rows that were read and with all rows.
    """
    table = read_table(router, log, chosen(router.config, dials), query, progress, engine)
    return report_of(router, log, table, floor, seed=seed)


class _SweptPart(NamedTuple):
    """A part of a log."""

    rows: int
    """How many of its rows were read so far."""
    table: SweepTable | None
    """None: it is not finished."""
    torn: TornRows


class _SweepPart(NamedTuple):
    """The work of deciding the rows of a part of a log at each setting."""

    router: Router
    dials: tuple[str, ...]
    query: Query

    def __call__(self, part: LoggedDecisions, /) -> Iterator[_SweptPart]:
        """Yield how far the work is, and at the end the table."""
        sweeper, rows = Sweeper(self.router, self.dials), 0
        for batch in batches(part.read(self.query)):
            sweeper.add(batch)
            rows += len(batch)
            yield _SweptPart(rows, None, TornRows())
        yield _SweptPart(rows, sweeper.table(), part.torn)


def read_table(
    router: Router,
    log: LoggedDecisions,
    dials: Sequence[str],
    query: Query = ALL,
    progress: Callable[[int, int], None] | None = None,
    engine: Engine = LOCAL,
) -> SweepTable:
    """Decide all rows of a log at each setting. `log.torn` then holds the rows that could not be read."""
    total, done = log.count() if progress is not None else 0, 0
    parts = log.parts()
    table, torn = SweepTable(Plan.of(router.config, dials)), log.torn
    for (rows, part, torn_there), whole in engine.map(_SweepPart(router, tuple(dials), query), parts):
        if progress is not None:
            progress(done + rows, max(total, done + rows))
        if whole and part is not None:
            done += rows
            table.merge([part])
            torn = torn.merged(torn_there)
    log.torn = torn
    return table


def report_of(router: Router, log: LoggedDecisions, table: SweepTable, floor: Floor, *, seed: int = 0) -> SweepReport:
    """Estimate every setting from the table of the whole log."""
    config = router.config
    return report(
        table,
        floor,
        {block.dial: positions(config, block.dial) for block in table.plan.blocks},
        log=log.name,
        config_version=config.version,
        torn=log.torn.count,
        torn_told=tuple(log.torn.told),
        seed=seed,
    )


def usable_dials(config: Config) -> list[str]:
    """Return the dials that the route files use."""
    return [dial for dial in DIALS if positions(config, dial)]


def chosen(config: Config, dials: Sequence[str]) -> list[str]:
    """Return the named dials, or all that the route files use. Raises `RequestError`."""
    usable = usable_dials(config)
    for dial in dials:
        if dial not in usable:
            known = ", ".join(usable) or "none"
            hint = did_you_mean(dial, usable)
            raise RequestError(f"dial {dial!r}: the route files do not use it, expected one of: {known}{hint}")
    if not usable:
        raise RequestError("the route files use no dial: every route has a threshold of its own, and no policy has one")
    return [dial for dial in usable if not dials or dial in dials]
