"""Names errors by one word each. Every dialect has a table that turns the word into its vendor's codes."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from semroute.dialects.shared.error_bodies import read_failure
from semroute.errors import (
    BadAnswerError,
    ContentPolicyError,
    ContextLengthError,
    LimitError,
    NoModelError,
    OverloadedError,
    PlanExhaustedError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderServerError,
    ProviderTimeoutError,
    RateLimitedError,
    SemrouteError,
)
from semroute.json_errors import UNREADABLE

Trouble = Literal[
    "request",  # any other mistake in the request
    "too_long",  # longer than the context window
    "policy",  # refused by a content policy
    "too_large",
    "key",
    "permission",
    "not_found",
    "quota",  # no money is left on an account or in a budget
    "rate_limit",
    "overloaded",
    "timeout",
    "server",
]

_CODES: tuple[tuple[Trouble, re.Pattern[str]], ...] = (
    ("quota", re.compile(r"insufficient_quota|quota_exceeded|billing|credit", re.IGNORECASE)),
    ("rate_limit", re.compile(r"\b429\b")),
    ("overloaded", re.compile(r"overloaded|unavailable|\b(503|529)\b", re.IGNORECASE)),
    ("timeout", re.compile(r"time_?out|deadline_exceeded|\b504\b", re.IGNORECASE)),
)
"""The first pattern that matches decides."""
_BY_KIND: tuple[tuple[type[SemrouteError], Trouble], ...] = (
    (ContextLengthError, "too_long"),
    (ContentPolicyError, "policy"),
    (RateLimitedError, "rate_limit"),
    (LimitError, "rate_limit"),
    (ProviderTimeoutError, "timeout"),
    (OverloadedError, "overloaded"),
    (ProviderAuthError, "server"),  # the key is ours, so the caller cannot correct it
)
_BY_STATUS: dict[int, Trouble] = {
    401: "key",
    402: "quota",
    403: "permission",
    404: "not_found",
    413: "too_large",
    429: "rate_limit",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}


def error_kind(error: SemrouteError, status: int) -> Trouble:
    """Return the word for an error that a caller gets with this HTTP status."""
    cause = cause_of(error)
    if isinstance(cause, RateLimitedError | ProviderServerError | BadAnswerError) and (said := _said(cause)):
        return said
    if isinstance(cause, NoModelError):
        return "overloaded" if cause.retryable else "server"
    named = next((trouble for kind, trouble in _BY_KIND if isinstance(cause, kind)), None)
    return named or _BY_STATUS.get(status, "request" if status < 500 else "server")


def cause_of(error: SemrouteError) -> SemrouteError:
    """Return the error that counts. If several calls failed, it is the last one's."""
    return error.last if isinstance(error, PlanExhaustedError) else error


def error_in_stream(error: SemrouteError) -> Any:
    """Return the JSON of a provider's error in a stream. None: there is none, or it does not concern the caller."""
    ours = ProviderAuthError | ProviderModelError
    return document(error.body) if isinstance(error, ProviderError) and not isinstance(error, ours) else None


def document(body: bytes | None) -> Any:
    """Decode a body. None: it is not JSON."""
    try:
        return msgspec.json.decode(body) if body else None
    except UNREADABLE:
        return None


def _said(error: ProviderError) -> Trouble | None:
    """Return the word that the status and the codes of a provider's error give."""
    codes = " ".join((str(error.status), *read_failure(error.body or b"").codes))
    return next((trouble for trouble, pattern in _CODES if pattern.search(codes)), None)
