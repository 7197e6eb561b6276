"""Whether a call's request has gone out in full: from then on the provider may charge for reading it."""

from __future__ import annotations

from contextvars import ContextVar


class Sent:
    """Of one call."""

    whole = False


_current: ContextVar[Sent | None] = ContextVar("sent", default=None)


def watch() -> Sent:
    """Of the next call of this task."""
    sent = Sent()
    _current.set(sent)
    return sent


def note() -> None:
    """The request of this task's call has gone out."""
    if (sent := _current.get()) is not None:
        sent.whole = True
