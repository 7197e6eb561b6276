"""Read a provider's rate limits from the headers of its answers. Pure: headers and the time in, numbers out.

Sources: RFC 9110 section 10.2.3 (Retry-After), https://platform.openai.com/docs/guides/rate-limits (`x-ratelimit-*`;
Groq, Mistral and others use the same), https://docs.anthropic.com/en/api/rate-limits (`anthropic-ratelimit-*`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from semroute.bases import Frozen

RawHeaders = Iterable[tuple[bytes, bytes]]
Resource = Literal["requests", "tokens"]
EPOCH_MS = 10**11
"""A larger number is milliseconds since 1970. A number over a hundredth of this is seconds since 1970."""

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_SPELLINGS: dict[Resource, tuple[str, ...]] = {
    "requests": ("x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}", "x-ratelimit-{}"),
    "tokens": ("x-ratelimit-{}-tokens", "anthropic-ratelimit-tokens-{}"),
}
_FACTORS_S = (86400.0, 3600.0, 60.0, 1.0, 0.001)


class RateLimit(Frozen, frozen=True, kw_only=True):
    """How much of one resource is left."""

    resource: Resource
    remaining: float
    limit: float | None = None
    """The limit for a minute, or for the window that the provider uses."""
    reset_s: float | None = None
    """Seconds until all of it is available again."""


class RateLimitState(Frozen, frozen=True, kw_only=True):
    """The rate limits in the headers of one answer."""

    retry_after_s: float | None = None
    limits: tuple[RateLimit, ...] = ()


NOTHING = RateLimitState()


def read(headers: RawHeaders, now: float) -> RateLimitState:
    """Read the headers of an answer. `now`: seconds since 1970. Headers that cannot be read are ignored."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.lower()
        if b"ratelimit-" in name or name.startswith(b"retry-after"):
            found[name.decode("latin-1")] = value.decode("latin-1").strip()
    if not found:
        return NOTHING
    limits = (_limit(resource, found, now) for resource in _SPELLINGS)
    return RateLimitState(
        retry_after_s=_retry_after_s(found, now), limits=tuple(limit for limit in limits if limit is not None)
    )


def _retry_after_s(headers: dict[str, str], now: float) -> float | None:
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    value = headers.get("retry-after")
    return None if value is None else _moment_s(value, now)


def _limit(resource: Resource, headers: dict[str, str], now: float) -> RateLimit | None:
    for spelling in _SPELLINGS[resource]:
        limit, remaining, reset = (headers.get(spelling.format(name)) for name in ("limit", "remaining", "reset"))
        left = _number(remaining)
        if left is not None:
            return RateLimit(
                resource=resource, remaining=left, limit=_number(limit), reset_s=_moment_s(reset or "", now)
            )
    return None


def _moment_s(text: str, now: float) -> float | None:
    """Return the seconds from now to a time: a number, `1m30s`, an HTTP or ISO date, or a time since 1970."""
    number = _number(text)
    if number is not None:
        if number > EPOCH_MS:
            return max(0.0, number / 1000 - now)
        return max(0.0, number - now if number > EPOCH_MS / 100 else number)
    duration = _DURATION.fullmatch(text)
    if text and duration is not None:
        seconds = sum(float(part) * factor for part, factor in zip(duration.groups(), _FACTORS_S, strict=True) if part)
        return seconds if math.isfinite(seconds) else None
    date = _date(text)
    return None if date is None else max(0.0, date.timestamp() - now)


def _date(text: str) -> datetime | None:
    for parse in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            date = parse(text)
        except (ValueError, OverflowError):  # numbers of any length are read as days and hours
            continue
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    return None


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"\d{1,15}(\.\d{1,9})?", text) else None
