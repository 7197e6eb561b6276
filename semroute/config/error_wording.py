"""How messages about route files show what was got and what was meant."""

from __future__ import annotations

import datetime
import difflib
import json
from collections.abc import Iterable

MAX_SHOWN = 60
"""Characters of a string."""
MAX_NAME_CHARS = 200
"""A longer name is no slip of the pen: it is not compared, and not told whole."""
MAX_LISTED = 20

Place = tuple[str | int, ...]
"""Where in a document: its keys and indexes from the top."""


def render(place: Place) -> str:
    """A place as people read it: `$.routes[0].threshold`."""
    return "$" + "".join(map(_step, place))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.replace("-", "_").isidentifier() else f"[{quote(step)}]"


def quote(text: str) -> str:
    """In double quotes, on one line, cut where it is long."""
    shown = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return json.dumps(shown, ensure_ascii=False)


def words(text: str) -> str:
    """A text as it is compared with others: whatever its case and spaces."""
    return " ".join(text.split()).casefold()


def got(value: object) -> str:
    """A value that YAML gave, as YAML would write it; of a list or a mapping only the kind."""
    if isinstance(value, str):
        return quote(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, int | float):
        return repr(value) if abs(value) < 10**MAX_SHOWN else "a huge number"
    return kind(value)


def kind(value: object) -> str:
    """What sort of thing a value is, without showing it."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping"
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), "a date")


def listed(names: Iterable[str]) -> str:
    """Names in backticks, sorted; of very many the first."""
    shown = [f"`{name}`" for name in sorted(names)]
    more = len(shown) - MAX_LISTED
    return ", ".join(shown[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """`, did you mean …?` where one is close; otherwise nothing."""
    if len(name) > MAX_NAME_CHARS:
        return ""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f", did you mean `{close[0]}`?" if close else ""
