"""The end of each bench that passes or fails."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table


def end(report: Mapping[str, Any], *, as_json: bool) -> NoReturn:
    """Print a report. Exit with 0 if its `passed` is true, else with 1."""
    if as_json:
        print(json.dumps(report, indent=1))
    else:
        table = Table(show_header=False, box=None)
        for name, value in report.items():
            table.add_row(name, str(value))
        Console().print(table)
    sys.exit(0 if report["passed"] else 1)
