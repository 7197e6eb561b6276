"""Logs for tests: lines as `semroute export` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.stores.conftest import NOW


def line(number: int, prompt: str | None, *, route: str | None = "billing", **fields: Any) -> dict[str, Any]:
    """Return a row: number one came at NOW, each further a second later. `decision`: adds to the decision."""
    decision = {"id": f"r{number}", "route": route, "reason": "semantic" if route else "default"}
    decision |= fields.pop("decision", {})
    return {"id": f"r{number}", "at": NOW + number - 1, "prompt": prompt, "decision": decision, **fields}


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write a log."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
