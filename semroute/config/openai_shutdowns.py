"""The shutdown dates that OpenAI has announced for its models.

Source: https://developers.openai.com/api/docs/deprecations, read on 2026-11-30.
`semroute check --ask` reads the providers' own lists.
"""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple


class Shutdown(NamedTuple):
    """The shutdown of one or more models."""

    pattern: str
    """A regular expression for their names, without a vendor's name and slash in front."""
    date: datetime.date
    """The day from which they cannot be called."""
    instead: str
    """The model that OpenAI recommends instead."""


_DATED = r"(-\d{4}-\d{2}-\d{2})?"
SHUTDOWNS: tuple[Shutdown, ...] = (
    Shutdown(r"gpt-3\.5-turbo(-0125)?", datetime.date(2026, 10, 23), "gpt-6.1-terra"),
    Shutdown(r"gpt-4(-0613|-1106-preview|-turbo(-2024-04-09)?)?", datetime.date(2026, 10, 23), "gpt-6.1-sol"),
    Shutdown(r"gpt-4o-2024-05-13", datetime.date(2026, 10, 23), "gpt-6.1-sol"),
    Shutdown(rf"(o1|o1-pro|o3-mini){_DATED}", datetime.date(2026, 10, 23), "gpt-6.1-sol"),
    Shutdown(rf"(o4-mini|gpt-4\.1-nano){_DATED}", datetime.date(2026, 10, 23), "gpt-6.1-terra"),
    Shutdown(rf"(gpt-5|gpt-5-pro|o3|o3-pro){_DATED}", datetime.date(2026, 12, 11), "gpt-6.1-sol"),
    Shutdown(rf"gpt-5-mini{_DATED}", datetime.date(2026, 12, 11), "gpt-6.1-terra"),
    Shutdown(rf"gpt-5-nano{_DATED}", datetime.date(2026, 12, 11), "gpt-6-luna"),
    Shutdown(rf"(gpt-4o|gpt-4o-mini|gpt-4\.1|gpt-4\.1-mini){_DATED}", datetime.date(2027, 1, 14), "gpt-6-luna"),
)


def shutdown_of(name: str) -> Shutdown | None:
    """Return the shutdown of a model, by the provider's name for it, or None if none is announced."""
    plain = name.removeprefix("openai/")
    return next((each for each in SHUTDOWNS if re.fullmatch(each.pattern, plain)), None)
