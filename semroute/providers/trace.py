"""The trace that a request belongs to, passed on to providers (W3C Trace Context)."""

from __future__ import annotations

import re
from contextvars import ContextVar

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")

current: ContextVar[dict[str, str]] = ContextVar("trace", default={})  # noqa: B039 - never changed in place
"""The headers `traceparent` and, where there is one, `tracestate`."""


def follow(traceparent: str | None, tracestate: str | None = None) -> None:
    """Take part in a caller's trace, for the rest of this task. What is no trace is passed over."""
    if traceparent is None or not _TRACEPARENT.fullmatch(traceparent):
        return
    headers = {"traceparent": traceparent}
    if tracestate:
        headers["tracestate"] = tracestate
    current.set(headers)
