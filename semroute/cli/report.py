"""`semroute report`."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.access.api_keys import KeyStore
from semroute.cli.output import console, print_json
from semroute.evaluation.report_page import COLUMNS, cells, page
from semroute.stores.connect import open_to_read, shown
from semroute.stores.decision_log import SqlLog
from semroute.stores.rollups import day_of

DEFAULT = ("model", "tier", "route", "key", "day")


def command(by: tuple[str, ...], days: int, file: Path | None, as_json: bool) -> None:
    """Show statistics over the decision log."""
    last = day_of(time.time())
    url = settings_module.read().database_url
    database = open_to_read(url)
    try:
        log = SqlLog(database)
        groups = {name: log.stats(name, last - days + 1, last) for name in by or DEFAULT}
        each_day = _dated(log.stats("day", last - days + 1, last))
        if "key" in groups:
            groups["key"] = KeyStore(database).named(groups["key"])
    finally:
        database.close()
    if "day" in groups:
        groups["day"] = each_day
    if as_json:
        print_json(groups)
        return
    if "key" in groups:
        groups["key"] = [{**row, "value": row["name"] or row["value"]} for row in groups["key"]]
    if file is not None:
        file.write_text(page(f"semroute: the last {days} days", groups, each_day), "utf-8")
        console.print(f"wrote {file}", markup=False, highlight=False)
    elif each_day:
        _show(groups)
    else:
        told = f"no requests in {shown(url)} in the last {days} days"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _show(groups: dict[str, list[dict[str, Any]]]) -> None:
    for name, rows in groups.items():
        table = Table(name, *list(COLUMNS.values())[1:], box=None, pad_edge=False)
        for row in rows:
            table.add_row(*(escape(cell) for cell in cells(row).values()))
        console.print(table)
        console.print()


def _dated(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    first = datetime.date(1970, 1, 1)
    return [{**row, "value": (first + datetime.timedelta(days=int(row["value"]))).isoformat()} for row in rows]
