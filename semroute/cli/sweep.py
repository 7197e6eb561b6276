"""`semroute sweep [LOG]`."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import msgspec
from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.engine import EngineName, open_engine
from semroute.cli.export import timestamp
from semroute.cli.output import Bar, console, folder_of, print_json, progress_bar, warn, write_report, write_whole
from semroute.cli.tune import check_free
from semroute.config.config import Config
from semroute.config.schema.matching import Swept
from semroute.errors import RequestError
from semroute.learning.logged_decisions import open_log
from semroute.learning.sweep_log import chosen, sweep
from semroute.learning.sweep_page import evidence, labelled, page, point_cells, present
from semroute.learning.sweep_report import Curve, Floor, SweepReport
from semroute.router import Router
from semroute.stores.interfaces import Query

OVERLAY = "swept.yaml"
HEADER = "# Written by `semroute sweep` from "
FLOOR = 0.97


def command(
    log: str | None,
    routes: Path | None,
    dials: tuple[str, ...],
    floor: float | None,
    min_quality: float | None,
    since: datetime.datetime | None,
    until: datetime.datetime | None,
    seed: int,
    write: bool,
    html: Path | None,
    engine: EngineName,
    as_json: bool,
) -> None:
    """Show what each setting of a dial would have cost and kept. Write the best one if that is asked for."""
    if floor is not None and min_quality is not None:
        raise RequestError("got both --floor and --min-quality, expected one of them")
    wanted = Floor(value=FLOOR if floor is None else floor)
    if min_quality is not None:
        wanted = Floor(value=min_quality, absolute=True)
    logged, folder = open_log(log, settings_module.read().database_url), folder_of(routes)
    with progress_bar("embedding utterances") as progress:
        router = Router.load(folder, progress=Bar(progress))
    names = chosen(router.config, dials)
    if write:
        if len(names) > 1:
            raise RequestError(f"--write sets one dial: choose one with --dial, of {', '.join(names)}")
        check_free(folder / OVERLAY, router.config, "swept", HEADER)
    query = Query(since=timestamp(since), until=timestamp(until))
    with open_engine(engine, logged) as running, progress_bar("deciding") as progress:
        report = sweep(
            router, logged, wanted, dials=names, query=query, seed=seed, progress=Bar(progress), engine=running
        )
    warn(report.torn_told)
    target = _write(folder / OVERLAY, router, report) if write else None
    if as_json:
        print_json({"written": None if target is None else str(target), "sweep": report})
    else:
        _show(report)
        if target is not None:
            console.print(f"written: {target}", markup=False, highlight=False)
        elif write:
            console.print("nothing is written", highlight=False)
    if html is not None:
        write_report(html, page(report), as_json=as_json)


def _write(target: Path, router: Router, report: SweepReport) -> Path | None:
    """Write the overlay. None: no setting was found, so nothing is written."""
    [curve] = report.curves or [None]
    if curve is None or curve.best is None:
        return None
    write_whole(target, overlay(router.config, curve, report, router.embedder.fingerprint))
    return target


def overlay(config: Config, curve: Curve, report: SweepReport, encoder: str) -> str:
    """Return the text of the overlay file: the dials that were swept before, and the one that was swept now."""
    found: dict[str, Any] = msgspec.to_builtins(config.swept)
    found[curve.dial] = curve.best
    if "abstain_threshold" in found:
        found["encoder"] = encoder
    names = [name for name in Swept.__struct_fields__ if name in found]
    lines = [
        f"{HEADER}{report.used_rows} requests of {json.dumps(report.log)}; delete it to undo.",
        f"# {curve.dial}: {curve.told}.",
        "# These dials override what the policies say.",
        "swept:",
        *(f"  {name}: {json.dumps(found[name])}" for name in names),
    ]
    return "\n".join(lines) + "\n"


def _show(report: SweepReport) -> None:
    for number, line in enumerate(evidence(report)):
        console.print(line, style=None if number else "bold", markup=False, highlight=False)
    for curve in report.curves:
        console.print(f"\n{curve.dial}, now {present(curve)}", style="bold", markup=False, highlight=False)
        table = Table(*labelled(report.floor), box=None, pad_edge=False)
        for point in curve.points:
            marked = point.value is not None and point.value == curve.best
            cells = map(escape, point_cells(point, marked=marked))
            table.add_row(*cells, style="bold" if marked else None)
        console.print(table)
        console.print(curve.told, markup=False, highlight=False)
