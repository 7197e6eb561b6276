"""What goes along with the calls of a task: the trace that they belong to, and whether a request has gone out in full.

The trace is passed on to providers (W3C Trace Context). Once a request has gone out in full, its provider may charge
for reading it.
"""

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


class Sending:
    """One call's request on its way out."""

    whole = False
    """Whether the request was sent completely."""


_sending: ContextVar[Sending | None] = ContextVar("sending", default=None)


def watch_sending() -> Sending:
    """Follow the request of this task's next call."""
    sending = Sending()
    _sending.set(sending)
    return sending


def note_sent() -> None:
    """Note that the request of this task's call was sent completely."""
    if (sending := _sending.get()) is not None:
        sending.whole = True
