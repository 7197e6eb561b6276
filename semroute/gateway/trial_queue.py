"""What the gateway hands on for trials: requests that were drawn for one, with their answers."""

from __future__ import annotations

from typing import Protocol

from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.decision import Decision
from semroute.gateway.serving import Serving
from semroute.messages import ChatRequest, FinishReason, Part
from semroute.record import Record
from semroute.routing.facts import Facts

Draws = dict[str, float]
"""The kinds of trial that a request was drawn for, each with the probability of that."""


class Served(Frozen, frozen=True, kw_only=True):
    """A request that was answered, and its answer."""

    request: ChatRequest
    record: Record
    answer: tuple[Part, ...]
    """What the caller got. A streamed answer is in pieces: one `Text` after another, and pieces of calls of tools."""
    finish_reason: FinishReason | None = None
    """Why the answer ended. None: the provider did not say."""
    facts: Facts
    serving: Serving
    """What was in service when the request came."""
    caller: Caller
    draws: Draws


class TrialQueue(Protocol):
    """Takes requests for trials. Both methods return at once."""

    def draw(self, request: ChatRequest, decision: Decision, serving: Serving) -> Draws:
        """Draw a request for trials as it begins, so that its answer is kept in memory. Empty: it was not drawn."""

    def put(self, served: Served) -> None:
        """Take a request whose answer has gone out."""
