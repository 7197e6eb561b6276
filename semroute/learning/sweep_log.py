"""Sweep a log: what each setting of a dial would have cost, and what it would have kept of the quality."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from semroute.config.config import Config
from semroute.config.dials import DIALS, positions
from semroute.config.error_wording import did_you_mean
from semroute.errors import RequestError
from semroute.learning.logged_decisions import LoggedDecisions, batches
from semroute.learning.sweep_report import Floor, SweepReport, report
from semroute.learning.sweep_rows import Sweeper
from semroute.learning.sweep_table import SweepTable
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
) -> SweepReport:
    """Sweep some dials, or all that the route files use. Raises `RequestError` for a dial that they do not use.

    `progress` is called with the rows that were read and with all rows.
    """
    table = read_table(router, log, chosen(router.config, dials), query, progress)
    return report_of(router, log, table, floor, seed=seed)


def read_table(
    router: Router,
    log: LoggedDecisions,
    dials: Sequence[str],
    query: Query = ALL,
    progress: Callable[[int, int], None] | None = None,
) -> SweepTable:
    """Decide all rows of a log at each setting. Tables of parts of a log can be merged."""
    sweeper = Sweeper(router, dials)
    total, done = log.count() if progress is not None else 0, 0
    for batch in batches(log.read(query)):
        sweeper.add(batch)
        done += len(batch)
        if progress is not None:
            progress(done, max(total, done))
    return sweeper.table()


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
