"""How messages about route files show the value that was found and the one that was probably meant."""

from __future__ import annotations

import datetime
import difflib
import json
from collections.abc import Iterable

MAX_SHOWN = 60
"""Characters of a string that a message shows."""
MAX_NAME_CHARS = 200
"""A longer name is not a typing mistake: it is not compared with others, and is cut in messages."""
MAX_LISTED = 40

Place = tuple[str | int, ...]
"""Where in a document: its keys and indexes from the top."""


def render(place: Place) -> str:
    """Render a place for people: `$.routes[0].threshold`."""
    return "$" + "".join(map(_step, place))


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if step.replace("-", "_").isidentifier() else f"[{quote(step)}]"


def quote(text: str) -> str:
    """Put a text in double quotes, on one line, and cut it if it is long."""
    shown = text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
    return json.dumps(shown, ensure_ascii=False)


def words(text: str) -> str:
    """Normalise case and spaces of a text, so that it can be compared with others."""
    return " ".join(text.split()).casefold()


def got(value: object) -> str:
    """Show a value as YAML would write it. A list or a mapping is shown by its kind only."""
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
    """Name the kind of a value without showing the value."""
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "a mapping"
    names = {str: "a string", bool: "true or false", int: "a number", float: "a number", type(None): "null"}
    return names.get(type(value), "a date")


def listed(names: Iterable[str]) -> str:
    """List names in backticks, sorted. A long list is cut."""
    shown = [f"`{name}`" for name in sorted(names)]
    more = len(shown) - MAX_LISTED
    return ", ".join(shown[:MAX_LISTED]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(name: str, allowed: Iterable[str]) -> str:
    """Return `, did you mean …?` if an allowed name is close, or else nothing."""
    if len(name) > MAX_NAME_CHARS:
        return ""
    close = difflib.get_close_matches(name, list(allowed), n=1)
    return f", did you mean `{close[0]}`?" if close else ""


def counted(number: int, what: str) -> str:
    """Return a number with its noun: `1 route`, `2 routes`."""
    return f"{number} {what}{'s' * (number != 1)}"
