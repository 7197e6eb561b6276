"""The cases of `faults.py`: what goes wrong, and what a caller may get for it."""

from __future__ import annotations

import dataclasses
from typing import Any

from tests.providers.harder import LONG
from tests.providers.scenarios import TEXT

ADDRESSES = {"dns": "http://provider.invalid/v1", "refused": "http://127.0.0.1:9/v1"}
"""Addresses where nobody answers."""
HASTY = {"connect_s": 2, "first_token_s": 1.5, "stall_s": 1, "total_s": 2, "stream_s": 10}


@dataclasses.dataclass(frozen=True)
class Case:
    """One fault in one plan of models."""

    name: str
    plan: tuple[str, ...]
    """Scenarios of the fault provider, tried in this order. `tls`, `dns` and `refused` are addresses that fail."""
    accept: tuple[str, ...] = ("complete",)
    """The outcomes that pass: `complete`, `error` (a clear error) or `refused` (the caller's fault, 4xx). `truncated`
    and `hung` never pass."""
    stream: bool = False
    text: str = TEXT
    attempts: tuple[int, int] = (1, 4)
    """The least and the most calls that may reach the fault provider."""
    wall_s: float = 8.0
    """The longest that the request may take, in seconds."""
    policy: dict[str, Any] = dataclasses.field(default_factory=dict)
    timeouts: dict[str, float] | None = dataclasses.field(default_factory=lambda: HASTY)
    """The timeouts that the configuration sets. None means that it sets neither timeouts nor a policy."""
    served_by: int | None = None
    """The place in the plan of the model that must have answered. None means that any may answer."""

    def model(self, scenario: str) -> str:
        """Return the provider's name for one model of the plan. No two cases share a name."""
        return f"{scenario}@{self.name}"

    def described(self) -> dict[str, Any]:
        """Return what a person needs to know to configure another gateway by hand."""
        return {"plan": [self.model(scenario) for scenario in self.plan], **self.written}

    @property
    def written(self) -> dict[str, Any]:
        """Return the settings of this case for calling models: its timeouts and its policy."""
        return {} if self.timeouts is None else {"timeouts": self.timeouts, **self.policy}


def both(name: str, *plan: str, **options: Any) -> list[Case]:
    """Return two cases for one fault: a whole answer and a stream."""
    streamed = options.pop("streamed", {})
    return [Case(name, plan, **options), Case(f"{name}-stream", plan, stream=True, **{**options, **streamed})]


def stream(name: str, *plan: str, **options: Any) -> list[Case]:
    """Return one case for a fault of a stream."""
    return [Case(name, plan, stream=True, **options)]


_CONTINUE = {"stream": {"on_break": "continue"}}
_ERROR = {"stream": {"on_break": "error"}}
CLIENT_S = 30.0
"""How long the caller of a case with default settings waits, in seconds."""


def bare(name: str, *plan: str, **options: Any) -> list[Case]:
    """Return two cases for one fault with default settings: a whole answer and a stream."""
    return both(name, *plan, **{"timeouts": None, "wall_s": CLIENT_S, **options})


def bare_stream(name: str, *plan: str, **options: Any) -> list[Case]:
    """Return one case for a fault in a long stream with default settings."""
    return stream(name, *plan, **{"timeouts": None, "wall_s": CLIENT_S, "text": LONG, **options})


CASES: list[Case] = [
    *both("healthy", "ok", attempts=(1, 1)),
    # The provider refuses.
    *both("429-retry-after", "retry-after-1", "ok", wall_s=4),
    *both("429", "limited-99", "ok", served_by=1),
    *both("429-alone", "limited-1", attempts=(2, 2)),
    *both("500-once", "flaky-1", "ok"),
    *both("500-once-alone", "flaky-1", attempts=(2, 2)),
    *both("503-for-ever", "status-503", "ok", served_by=1),
    *both("503-for-ever-alone", "status-503", accept=("error",), attempts=(1, 3)),
    *both("529", "status-529", "ok", served_by=1),
    *both("wrong-key", "status-401", "ok", served_by=1, attempts=(2, 2)),
    *both("unknown-model", "status-404", "ok", served_by=1, attempts=(2, 2)),
    *both("bad-request", "status-400", "ok", accept=("refused",), attempts=(1, 1)),
    *both("unprocessable", "status-422", "ok", accept=("refused",), attempts=(1, 1)),
    *both("context-length", "context-length", "ok", served_by=1, attempts=(2, 2)),
    *both("context-length-alone", "context-length", accept=("refused",), attempts=(1, 1)),
    *both("content-policy", "content-policy", "ok", accept=("refused",), attempts=(1, 1)),
    *both(
        "content-policy-fallback",
        "content-policy",
        "ok",
        served_by=1,
        attempts=(2, 2),
        policy={"on_error": {"content_policy": {"then": "next"}}},
    ),
    # The provider cannot be reached.
    *both("reset", "reset", "ok", served_by=1),
    *both("accepts-and-drops", "close", "ok", served_by=1),
    *both("tls", "tls", "ok", served_by=1, attempts=(1, 1)),
    *both("dns", "dns", "ok", served_by=1, attempts=(1, 1)),
    # The provider is silent or slow.
    *both("silence", "hang", "ok", served_by=1, attempts=(2, 2), wall_s=4),
    *both("20s-to-first-token", "late-token-200", "ok", served_by=1, attempts=(2, 2), wall_s=4),
    *both("slow-loris", "loris-20", "ok", served_by=1, attempts=(2, 2), wall_s=4),
    *both("slow-loris-head", "loris-head-20", "ok", served_by=1, attempts=(2, 2), wall_s=4),
    # The answer is not an answer.
    *both("html-200", "html-200", "ok", served_by=1),
    *both("html-502", "html-502", "ok", served_by=1),
    *both("error-200", "error-200", "ok", served_by=1),
    *both("empty-choices", "empty-choices", "ok", served_by=1),
    *both("empty-body", "empty-body", "ok", served_by=1),
    *both("truncated-body", "cut-body", "ok", served_by=1),
    *both("redirect", "redirect", "ok", served_by=1),
    *both("50-mb-body", "huge-50", "ok", served_by=1),
    *both("not-http", "not-http", "ok", served_by=1),
    # The stream breaks.
    *stream("error-before-content", "error-first", "ok", served_by=1),
    *stream("error-inside", "error-event", "ok", accept=("error",), attempts=(1, 1), policy=_ERROR),
    *stream("cut-after-40", "long-cut-40", "long", text=LONG, accept=("error",), attempts=(1, 1), policy=_ERROR),
    *stream("stall-after-40", "long-stall-40", "long", text=LONG, accept=("error",), attempts=(1, 1), policy=_ERROR),
    *stream("no-finish-reason", "no-finish", "long", text=LONG, accept=("error",), attempts=(1, 1), policy=_ERROR),
    *stream("cut-held", "long-cut-40", "long", text=LONG, policy={"stream": {"hold": "complete"}}, served_by=1),
    *stream("cut-held-50", "long-cut-10", "long", text=LONG, policy={"stream": {"hold": 50}}, served_by=1),
    *stream("cut-continued", "long-cut-40", "goes-on-0", text=LONG, policy=_CONTINUE, attempts=(2, 2)),
    *stream("cut-continued-repeating", "long-cut-40", "goes-on-3", text=LONG, policy=_CONTINUE, attempts=(2, 2)),
    *stream("cut-continued-from-start", "long-cut-40", "long", text=LONG, policy=_CONTINUE, attempts=(2, 2)),
    *stream("stall-continued", "long-stall-40", "goes-on-0", text=LONG, policy=_CONTINUE, attempts=(2, 2)),
    *stream("fallback-refuses-prefill", "long-cut-40", "no-prefill", text=LONG, policy=_CONTINUE, attempts=(3, 3)),
    *stream("malformed-tenth-chunk", "long-malformed-10", "long", text=LONG, attempts=(1, 1)),
    *stream("malformed-last-chunk", "malformed-chunk", "ok", accept=("error",), attempts=(1, 1), policy=_ERROR),
    *stream("no-done", "no-done", attempts=(1, 1)),
    *stream("duplicate-finish", "duplicate-finish", text=LONG, attempts=(1, 1)),
    # The answer is good, but sent in an odd way.
    *stream("split-at-every-byte", "split-bytes", attempts=(1, 1)),
    *stream("crlf-and-comments", "crlf-sse", attempts=(1, 1)),
    *stream("multi-line-data", "multi-line", attempts=(1, 1)),
    *stream("thousand-chunks", "thousand-1000", text="x" * 1000, attempts=(1, 1)),
    *both("gzip", "gzip", attempts=(1, 1)),
    *both("brotli", "brotli", attempts=(1, 1)),
    *both("http-1.0", "http10", attempts=(1, 1)),
    *both("no-usage", "no-usage", attempts=(1, 1)),
    # The accounts after a fallback.
    *both("accounting", "status-500", "ok", served_by=1),
]

DEFAULTS: list[Case] = [
    *bare("429-short", "retry-after-1", "ok", served_by=0, attempts=(2, 2)),
    *bare("429-long", "retry-after-600", "ok", served_by=1, attempts=(2, 2)),
    *bare("server-error", "status-500", "ok", served_by=1),
    *bare("overloaded", "status-529", "ok", served_by=1),
    *bare("wrong-key", "status-401", "ok", served_by=1, attempts=(2, 2)),
    *bare("context-length", "context-length", "ok", served_by=1, attempts=(2, 2)),
    *bare("refused-connection", "refused", "ok", served_by=1, attempts=(1, 1)),
    *bare("reset-connection", "reset", "ok", served_by=1),
    *bare("silence", "hang", "ok", served_by=1, attempts=(2, 2)),
    *bare("silence-after-the-head", "loris-500", "ok", served_by=1, attempts=(2, 2)),
    *bare("silent-then-closed", "late-close-60", "ok", served_by=1, attempts=(2, 2)),
    *bare("truncated-body", "cut-body", "ok", served_by=1),
    *bare("page-for-an-answer", "html-200", "ok", served_by=1),
    *bare("error-for-an-answer", "error-200", "ok", served_by=1),
    *bare_stream("cut-stream", "long-cut-40", "goes-on-0", attempts=(2, 2)),
    *bare_stream("stalled-stream", "long-stall-40", "goes-on-0", attempts=(2, 2)),
]
"""Sixteen faults with a configuration of nothing but two models, for a caller who waits `CLIENT_S`."""
