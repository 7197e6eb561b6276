"""The trace that the calls of a task belong to. It is passed on to providers (W3C Trace Context)."""

from __future__ import annotations

import re
from contextvars import ContextVar

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]*)?")
_TRACESTATE = re.compile(r"[ -~\t]+")
MAX_CHARS = 512
"""The most characters of a header. The standard asks to pass on at least this many."""

trace: ContextVar[dict[str, str]] = ContextVar("trace", default={})  # noqa: B039 - never changed in place
"""The headers `traceparent` and, where there is one, `tracestate`."""


def follow(traceparent: str | None, tracestate: str | None = None) -> None:
    """Take part in a caller's trace for the rest of this task. As W3C asks, headers that cannot be read are dropped."""
    if traceparent is None or len(traceparent) > MAX_CHARS or not _TRACEPARENT.fullmatch(traceparent):
        return
    headers = {"traceparent": traceparent}
    if tracestate and len(tracestate) <= MAX_CHARS and _TRACESTATE.fullmatch(tracestate):
        headers["tracestate"] = tracestate
    trace.set(headers)
