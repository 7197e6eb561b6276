"""`semroute learned`."""

from __future__ import annotations

import time
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from semroute import settings as settings_module
from semroute.cli.output import console, folder_of, print_json
from semroute.config.load import load
from semroute.learning.learned_table import LearnedRow, learned_table
from semroute.stores.connect import open_to_read, shown
from semroute.stores.grades import read_grades
from semroute.stores.rollups import KEEP_DAYS, day_of


def command(routes: Path | None, as_json: bool) -> None:
    """Show what grades say of each model on each route."""
    config, url, today = load(folder_of(routes)), settings_module.read().database_url, day_of(time.time())
    database = open_to_read(url)
    try:
        _, days = read_grades(database, today - KEEP_DAYS)
    finally:
        database.close()
    rows = learned_table(config, days or (), today)
    if as_json:
        print_json({"rows": rows})
        return
    graded = [row for row in rows if row.feedback or row.judge]
    if not graded:
        console.print(f"no graded answers in {shown(url)}", markup=False, highlight=False, soft_wrap=True)
        return
    console.print(_table(graded))
    if not any(row.learns for row in rows):
        told = "decisions use the stated quality: no policy has `learn`"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def _table(rows: list[LearnedRow]) -> Table:
    columns = ("route", "model", "stated", "learned", "95%", "feedback", "judge", "weight", "used")
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            escape(row.route or "the default"),
            escape(row.model),
            "gone" if row.stated is None else f"{row.stated:.2f}",
            f"{row.quality:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            str(row.feedback),
            str(row.judge),
            f"{row.weight:.1f}",
            "yes" if row.learns else "no",
        )
    return table
