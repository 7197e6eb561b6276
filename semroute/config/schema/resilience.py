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
"""The seconds that None in `Timeouts` stands for. `TEXT_STALL_S` is the stall of a stream that sends only text."""
UNWRITTEN_S = {"first_token_s": FIRST_TOKEN_S, "total_s": TOTAL_S, "stall_s": STALL_S}


class Timeouts(RouteFileStruct, frozen=True, kw_only=True):
    """Deadlines of one call to one model, in seconds."""

    connect_s: Seconds = 5.0
    """The time for DNS, TCP and TLS."""
    first_token_s: Seconds | None = None
    """The time from the request to the first content of a stream. Not set: 30, and more for a model that thinks for
    long."""
    stall_s: Seconds | None = None
    """The time between two pieces of a stream. Not set: 10 while another model could continue, otherwise 30."""
    total_s: Seconds | None = None
    """The time for a whole answer that is not streamed. Not set: 120, and more for a model whose answers take long."""
    stream_s: Seconds = 600.0
    """The time for a whole stream."""


class Retry(RouteFileStruct, frozen=True, kw_only=True):
    """How a call that failed is repeated.

    The pause before repetition n, counted from 0, is random: at most `base_s * 2**n`, and at least half of that.
    """

    max_attempts: Count = 10
    """How many calls one request may make, over all models."""
    base_s: Seconds = 0.25
    """The longest first pause."""
    cap_s: Seconds = 4.0
    """The longest pause of all."""
    max_wait_s: Seconds = 5.0
    """When a provider asks for a longer pause, the next model is asked instead. When no other model is left, the caller
    gets the error at once, with `retry-after`. The next model is also asked when a call took longer than this before
    it failed. When no other model is left, semroute calls once more."""


class OnError(RouteFileStruct, frozen=True, kw_only=True):
    """What follows one class of faults. A field that is not set follows the table of faults."""

    retries: Annotated[int, Meta(ge=0)] | None = None
    """How often the same model is called again."""
    then: Then | None = None
    """`next`: the next model. `elsewhere`: the next model of another provider. `larger`: the next model with a larger
    context window. `fail`: the caller gets the error."""


class StreamPolicy(RouteFileStruct, frozen=True, kw_only=True):
    """When a streamed answer goes out, and what happens when it breaks after that."""

    on_break: Literal["error", "continue"] = "continue"
    """What follows when a stream breaks after its first content. `continue`: the next model continues it. `error`: the
    caller gets an error event. A stream cannot be continued after a call of a tool, or when the request asks for JSON,
    several answers, log-probabilities or `strict`."""
    hold: Annotated[int, Meta(ge=0)] | Literal["complete"] = 0
    """How many tokens are held back before the first is sent. The caller sees nothing of a fault among them.
    `complete`: all tokens."""


class RateLimits(RouteFileStruct, frozen=True, kw_only=True):
    """The rate limits of a deployment, or of all models of a provider.

    Not set: no limit, or the limit in the provider's headers.
    """

    rpm: Count | None = None
    """Requests a minute."""
    tpm: Count | None = None
    """Tokens a minute, input and output."""
    concurrency: Count | None = None
    """Calls at once."""
    queue: Annotated[int, Meta(ge=0)] = 100
    """How many requests may wait when no other model is free."""


class BreakerSettings(RouteFileStruct, frozen=True, kw_only=True):
    """When a deployment that fails is left out of plans for a while."""

    failures: Count = 5
    """How many faults in a row open the breaker."""
    error_ratio: Ratio = 0.5
    """The share of failed calls in the window that opens the breaker, too."""
    window_s: Seconds = 30.0
    """The window of the share, in seconds."""
    min_calls: Count = 20
    """How many calls the window needs before the share counts."""
    probe_s: Seconds = 10.0
    """After so many seconds, one request may try the deployment again."""
