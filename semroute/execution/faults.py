"""What each kind of failure leads to: one table, which routes can change.

`FAULTS` is the table, and `semroute.execution.faults.markdown()` writes it as a page. Routes change lines of it:

    policy:
      on_error:
        content_policy: {then: next}
        rate_limited: {retries: 0}
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from semroute.bases import Frozen
from semroute.config.schema.models import Model
from semroute.config.schema.resilience import FaultName, OnError, Then
from semroute.errors import (
    BadAnswerError,
    ChecksFailedError,
    ContentPolicyError,
    ContextLengthError,
    EmptyAnswerError,
    ErrorAnswerError,
    HtmlAnswerError,
    MalformedAnswerError,
    NoPlaceError,
    OversizedAnswerError,
    ProviderAuthError,
    ProviderConnectionError,
    ProviderDNSError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    ProviderTimeoutError,
    ProviderTLSError,
    RateLimitedError,
    StreamBrokenError,
    UnsendableError,
    UnsupportedError,
)
from semroute.messages import ChatRequest
from semroute.routing.pricing import estimate_input_tokens

OVERLOADED = (503, 529)
KEY_REFUSED = 401


class Fault(Frozen, frozen=True, kw_only=True):
    """One kind of failure, and what it leads to."""

    seen_as: str
    """How it looks when a provider fails in this way."""
    retries: int = 0
    """How many more times the same model is called."""
    then: Then = "next"
    """What happens after the last of these calls."""
    ours: bool = True
    """Whether the deployment's circuit breaker counts it. Failures that the request may have caused do not count, nor
    answers that a provider breaks off because of what the model wrote."""
    alarm: bool = False
    """Whether somebody must act. Then it is logged as an error."""


FAULTS: dict[FaultName, Fault] = {
    "rate_limited": Fault(seen_as="429; semroute waits for its `Retry-After` if there is time", retries=2, ours=False),
    "overloaded": Fault(seen_as="503, 529", retries=2),
    "server_error": Fault(seen_as="408, 409, 424, 425, 498, 499, other 5xx; also inside a stream", retries=2),
    "timeout": Fault(
        seen_as="a deadline passes: for the connection, the first token, the next piece, or the whole answer"
    ),
    "connection": Fault(seen_as="refused, reset, closed before or inside the answer", retries=2),
    "tls": Fault(seen_as="a certificate that is not trusted, a failed handshake", alarm=True),
    "dns": Fault(seen_as="a name that does not resolve"),
    "malformed": Fault(seen_as="a truncated or malformed body", retries=1),
    "html": Fault(seen_as="HTML with status 200", retries=1),
    "error_body": Fault(
        seen_as="an `error` object with status 200, or inside a stream, that does not say why", retries=1
    ),
    "empty_choices": Fault(seen_as="an answer without choices", retries=1),
    "bad_answer": Fault(seen_as="another response that is no completion, such as a redirect", retries=1),
    "off_contract": Fault(seen_as="an answer that breaks the route's `output`", ours=False),
    "oversized": Fault(seen_as="an answer over 32 MiB, an event over 16 MiB", ours=False),
    "stream_broken": Fault(seen_as="a stream that ends before its finish reason, before any content", retries=2),
    "context_length": Fault(
        seen_as="an error that says that the request is longer than the context window", then="larger", ours=False
    ),
    "content_policy": Fault(
        seen_as="a refusal by content policy; `content_filter` without content", then="fail", ours=False
    ),
    "auth": Fault(seen_as="401, or an error that says that our key is refused", alarm=True),
    "forbidden": Fault(
        seen_as="402, 403, or an error that says that our account is empty or may not do this",
        ours=False,
        alarm=True,
    ),
    "unknown_model": Fault(seen_as="a model, or an address, that the provider does not know", ours=False, alarm=True),
    "refused_request": Fault(
        seen_as="another 4xx, also inside a stream: the request may be at fault, or this vendor has a rule of its own",
        then="elsewhere",
        ours=False,
    ),
    "unsupported": Fault(
        seen_as="the model cannot do what the request asks for, or the dialect cannot say it", ours=False
    ),
    "unsendable": Fault(
        seen_as="a key, a header or an address that HTTP cannot carry; nothing is sent", ours=False, alarm=True
    ),
    "no_place": Fault(seen_as="all our connections to providers are in use; nothing is sent", then="fail", ours=False),
    "other": Fault(seen_as="anything else"),
}

# The first type that fits counts.
_NAMES: tuple[tuple[type[ProviderError], FaultName], ...] = (
    (RateLimitedError, "rate_limited"),
    (ProviderServerError, "server_error"),
    (ProviderTimeoutError, "timeout"),
    (ProviderTLSError, "tls"),
    (ProviderDNSError, "dns"),
    (UnsendableError, "unsendable"),
    (ProviderConnectionError, "connection"),
    (NoPlaceError, "no_place"),
    (StreamBrokenError, "stream_broken"),
    (MalformedAnswerError, "malformed"),
    (HtmlAnswerError, "html"),
    (ErrorAnswerError, "error_body"),
    (EmptyAnswerError, "empty_choices"),
    (OversizedAnswerError, "oversized"),
    (ChecksFailedError, "off_contract"),
    (BadAnswerError, "bad_answer"),
    (ContextLengthError, "context_length"),
    (ContentPolicyError, "content_policy"),
    (ProviderAuthError, "auth"),
    (ProviderModelError, "unknown_model"),
    (ProviderRequestError, "refused_request"),
    (UnsupportedError, "unsupported"),
)


def name_of(error: ProviderError) -> FaultName:
    """Return the name of the kind of failure."""
    if isinstance(error, ProviderServerError) and error.status in OVERLOADED:
        return "overloaded"
    if isinstance(error, ProviderAuthError) and error.status != KEY_REFUSED:
        return "forbidden"
    return next((name for kind, name in _NAMES if isinstance(error, kind)), "other")


def fault_of(error: ProviderError, changes: Mapping[FaultName, OnError]) -> Fault:
    """Return the line of the table for a failure, with the changes of a route."""
    name = name_of(error)
    fault, change = FAULTS[name], changes.get(name, OnError())
    if change == OnError() and not error.written_by_model:
        return fault
    return Fault(
        seen_as=fault.seen_as,
        retries=fault.retries if change.retries is None else change.retries,
        then=change.then or fault.then,
        ours=fault.ours and not error.written_by_model,
        alarm=fault.alarm,
    )


def models_left(then: Then, models: Iterable[Model], failed: Model, request: ChatRequest) -> list[Model]:
    """Return which models may still be asked after one that failed.

    If the caller named the models itself, `elsewhere` leaves none out.
    """
    match then:
        case "next":
            return list(models)
        case "elsewhere":
            return [model for model in models if request.models or model.provider != failed.provider]
        case "larger":
            return with_larger_window(models, failed, request)
        case "fail":
            return []


_TELLING = (ContextLengthError, ContentPolicyError, UnsupportedError, ProviderRequestError)
"""Failures that the request may have caused. The one that tells a caller most comes first."""


def refusal(failures: Sequence[ProviderError], *, skipped: bool = False) -> ProviderError | None:
    """Return the failure that says why no model accepts a request. None: a later try may help, or the fault is ours.

    One refusal is enough if nothing better can be expected: the last model refused too, or no other failure can be
    retried. An unknown model counts only if all models were unknown and none was `skipped`.
    """
    if not skipped and all(isinstance(error, ProviderModelError) for error in failures):
        return failures[0]
    if not isinstance(failures[-1], _TELLING) and any(error.retryable for error in failures):
        return None
    return next((error for kind in _TELLING for error in failures if isinstance(error, kind)), None)


def later_s(
    failures: Iterable[tuple[Model, ProviderError]], calls: Mapping[str, int], longest_s: float
) -> float | None:
    """Return the shortest pause that a provider asked for and that nobody waited for. None: there is none.

    `calls`: how many calls each model got. `longest_s`: pauses that are longer are never waited for.
    """
    asked = ((error.retry_after_s, calls.get(model.id, 0)) for model, error in failures)
    return min((s for s, times in asked if s is not None and (times == 1 or s > longest_s)), default=None)


def with_larger_window(models: Iterable[Model], failed: Model, request: ChatRequest) -> list[Model]:
    """Return the models that may have room for a request which was too long for one model.

    Models with a larger window come first. Models whose window is not stated come next, because it may be large. Other
    deployments of the model that failed are left out, because they have the same window.
    """
    window = failed.context_tokens or estimate_input_tokens(request)
    others = list(models)
    known = [model for model in others if model.context_tokens is not None and model.context_tokens > window]
    unknown = [model for model in others if model.context_tokens is None and _family(model) != _family(failed)]
    return [*known, *unknown]


def _family(model: Model) -> str:
    return model.group or model.id


_AFTERWARDS = {
    "next": "the next model",
    "elsewhere": "the next model of another provider, or of the caller's own list; otherwise the error",
    "larger": "the next model with a larger or unknown window; otherwise the error",
    "fail": "the caller gets the error",
}


def markdown() -> str:
    """Return the table as a page in Markdown."""
    lines = [
        "| class (`on_error` key) | seen as | on the same model | then | counts for the breaker | alarm |",
        "|---|---|---|---|---|---|",
    ]
    for name, fault in FAULTS.items():
        again = f"{fault.retries} more" if fault.retries else "never again"
        marks = ["yes" if mark else "no" for mark in (fault.ours, fault.alarm)]
        lines.append(f"| `{name}` | {fault.seen_as} | {again} | {_AFTERWARDS[fault.then]} | {' | '.join(marks)} |")
    return "\n".join(lines) + "\n"
