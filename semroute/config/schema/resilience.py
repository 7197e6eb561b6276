"""What route files say of calls to models: how long, how often, how many at once, and what a failure leads to."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from semroute.bases import RouteFileStruct

Seconds = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(gt=0)]
Ratio = Annotated[float, Meta(gt=0, le=1)]
Then = Literal["next", "elsewhere", "larger", "fail"]
FaultName = Literal[
    "rate_limited",
    "overloaded",
    "server_error",
    "timeout",
    "connection",
    "tls",
    "dns",
    "malformed",
    "html",
    "error_body",
    "empty_choices",
    "bad_answer",
    "off_contract",
    "oversized",
    "stream_broken",
    "context_length",
    "content_policy",
    "auth",
    "forbidden",
    "unknown_model",
    "refused_request",
    "unsupported",
    "unsendable",
    "no_place",
    "other",
]
"""The classes of faults: each has a line in `semroute.execution.faults.FAULTS`."""
FIRST_TOKEN_S = 30.0
TOTAL_S = 120.0
STALL_S = 30.0
TEXT_STALL_S = 10.0
"""What the `None` of `Timeouts` stands for."""
UNWRITTEN_S = {"first_token_s": FIRST_TOKEN_S, "total_s": TOTAL_S, "stall_s": STALL_S}


class Timeouts(RouteFileStruct, frozen=True, kw_only=True):
    """Deadlines of one call to one model, in seconds."""

    connect_s: Seconds = 5.0
    """DNS, TCP and TLS."""
    first_token_s: Seconds | None = None
    """From the request to the first content of a streamed answer; None: 30, more for a model that thinks for long."""
    stall_s: Seconds | None = None
    """Between two pieces of a streamed answer; None: 10 while another model could go on from there, otherwise 30."""
    total_s: Seconds | None = None
    """A whole answer that is not streamed; None: 120, more for a model whose answers take long."""
    stream_s: Seconds = 600.0
    """A whole answer that is streamed."""


class Retry(RouteFileStruct, frozen=True, kw_only=True):
    """How a call that failed is repeated.

    The pause before the nth repetition is random: at most `base_s * 2**n`, counted from 0, and at least half of that.
    """

    max_attempts: Count = 10
    """Calls for one request, over all models."""
    base_s: Seconds = 0.25
    """The longest first pause."""
    cap_s: Seconds = 4.0
    """The longest pause of all."""
    max_wait_s: Seconds = 5.0
    """A provider that asks for a longer pause is left for the next model; the last one is waited for. A model whose
    calls have taken longer than this before they failed is left, too; the last one is called once more."""


class OnError(RouteFileStruct, frozen=True, kw_only=True):
    """What one class of faults leads to, where that differs from the table; None: as there."""

    retries: Annotated[int, Meta(ge=0)] | None = None
    """Further calls to the same model."""
    then: Then | None = None
    """`next`: the next model; `elsewhere`: the next of another provider; `larger`: the next with a larger context
    window; `fail`: the caller gets the error."""


class StreamPolicy(RouteFileStruct, frozen=True, kw_only=True):
    """When a streamed answer goes out, and what happens when it breaks after that."""

    on_break: Literal["error", "continue"] = "continue"
    """`continue`: the next model goes on from what was sent, unless it cannot: a tool was called, JSON, several answers
    or log-probabilities were asked for, or the request is `strict`. `error`: the caller gets an error event."""
    hold: Annotated[int, Meta(ge=0)] | Literal["complete"] = 0
    """So many tokens are held back before the first is sent: a fault among them stays invisible. `complete`: all."""


class Limits(RouteFileStruct, frozen=True, kw_only=True):
    """What a deployment, or all models of a provider, take; None: no limit, or what the headers of answers say."""

    rpm: Count | None = None
    """Requests a minute."""
    tpm: Count | None = None
    """Tokens a minute, input and output."""
    concurrency: Count | None = None
    """Calls at once."""
    queue: Annotated[int, Meta(ge=0)] = 100
    """Requests that may wait for it when no other model is free."""


class BreakerSettings(RouteFileStruct, frozen=True, kw_only=True):
    """When a deployment that fails is left alone for a while."""

    failures: Count = 5
    """So many in a row open it."""
    error_ratio: Ratio = 0.5
    """So large a share of the calls in the window opens it, too."""
    window_s: Seconds = 30.0
    """Over which the share is taken."""
    min_calls: Count = 20
    """In the window, before the share counts."""
    probe_s: Seconds = 10.0
    """How long it stays open before one request may try again."""
