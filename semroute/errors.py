"""Every error that semroute raises, as one tree.

Each has a stable `code` (for machines) and says whether the same call may be worth repeating (`retryable`).
HTTP status codes are chosen in `api/error_responses.py` alone.

    SemrouteError
    ├── ConfigError               route files that cannot be used; carries every problem found
    ├── SettingsError             a SEMROUTE_* variable or a serve option that cannot be used
    ├── EmbedderError             the embedding model cannot be loaded
    ├── RequestError              the caller's fault
    │   ├── UnknownModelError     no such model
    │   ├── UnknownRouteError     `auto:<route>` names no route
    │   ├── AccessError           no key, or a wrong one
    │   ├── ForbiddenError        the key does not allow this
    │   ├── BudgetError           a budget is spent
    │   ├── NotFoundError         a record that is not in the log
    │   ├── LimitError            more requests or tokens than the key allows at this time
    │   ├── IdempotencyError      an idempotency key of another request
    │   ├── MediaTypeError        the request says that its body is something other than JSON
    │   ├── PayloadTooLargeError  the body is over the limit
    │   └── SlowCallerError       the caller did not send the body or take the answer in time
    ├── StoreError                a database or the shared state cannot be used
    │   └── RefusedValueError     the database can never store one of the values
    ├── OverloadedError           more requests at once than the service takes
    ├── NoModelError              no model of the plan can be called
    ├── PlanExhaustedError        every model of the plan was called, and failed
    └── ProviderError             one call to one model failed
        ├── ProviderConnectionError   the provider cannot be reached, or cut the connection
        │   ├── ProviderDNSError      the provider's name does not resolve
        │   ├── ProviderTLSError      no trusted TLS connection
        │   └── UnsendableError       a key, a header or an address that HTTP cannot carry; nothing was sent
        ├── NoPlaceError              all our connections to providers are in use; nothing was sent
        ├── ProviderTimeoutError      a deadline passed
        ├── RateLimitedError          429, or the provider wants no calls for a while
        ├── ProviderServerError       408, 409, 424, 425, 498, 499, 5xx
        ├── ProviderAuthError         401, 402, 403: our key is refused, or our account may not do this
        ├── ProviderModelError        the provider does not know the model
        ├── ProviderRequestError      400, 404, 413, 422: the request is refused, and nothing says why
        ├── ContextLengthError        the request is longer than the model's context window
        ├── ContentPolicyError        the provider's content policy refuses the request
        ├── UnsupportedError          the model cannot do what the request asks, or its dialect cannot express it
        └── BadAnswerError            the answer is not a completion
            ├── ChecksFailedError     it fails the route's checks, or breaks its contract
            ├── MalformedAnswerError  truncated or malformed
            │   └── MalformedChunkError   one event of a stream is not a chunk
            ├── HtmlAnswerError       a web page with status 200
            ├── ErrorAnswerError      an error with status 200
            ├── EmptyAnswerError      no choices
            ├── OversizedAnswerError  longer than an answer may be
            └── StreamBrokenError     the stream ended before the answer was complete
"""

from __future__ import annotations

from typing import ClassVar

import msgspec


class SemrouteError(Exception):
    """The root. `str(error)` is a sentence for people."""

    code: ClassVar[str] = "semroute_error"
    retryable: bool = False


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong in the route files."""

    file: str
    """The path of the file, as the user gave it."""
    line: int
    """The line, counted from 1. 0: the problem belongs to no line."""
    path: str
    """The place in the document, such as `$.routes[0].threshold`."""
    message: str
    """What was got and what was expected."""
    severity: str = "error"
    """`error`, `warning` or `info`."""
    code: str = "config"
    """What kind of problem, for machines: `config`, or one of lint's such as `collision`."""
    suggestion: str = ""
    """What to do about it. Empty: the message says what is expected."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        advice = f"; {self.suggestion}" if self.suggestion else ""
        return f"{where} {self.path}: {self.message}{advice}"


class ConfigError(SemrouteError):
    """The route files cannot be used. `problems` holds all that was found, not only the first."""

    code = "config_invalid"

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SettingsError(SemrouteError):
    """A SEMROUTE_* variable or a serve option cannot be used."""

    code = "settings_invalid"


class EmbedderError(SemrouteError):
    """The embedding model cannot be loaded: missing, altered, or not downloadable."""

    code = "embedder_unavailable"


class RequestError(SemrouteError):
    """The request cannot be served as it is. `param` names the field at fault, `retry_after_s` when to try again."""

    code = "invalid_request"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.param, self.retry_after_s = param, retry_after_s


class UnknownModelError(RequestError):
    """The request names a model that is not in the route files."""

    code = "model_not_found"


class UnknownRouteError(RequestError):
    """The request forces a route that does not exist."""

    code = "route_not_found"


class AccessError(RequestError):
    """The call needs a key that it does not carry."""

    code = "invalid_api_key"


class ForbiddenError(RequestError):
    """The caller's key is known, and does not allow this."""

    code = "forbidden"


class BudgetError(RequestError):
    """A budget has no room for the request. `retry_after_s`: when its next period begins."""

    code = "budget_exceeded"


class LimitError(RequestError):
    """The key allows no more requests now. `retry_after_s`: when it allows more."""

    code = "rate_limit_exceeded"
    retryable = True


class NotFoundError(RequestError):
    """The request asks for something that does not exist."""

    code = "not_found"


class StoreError(SemrouteError):
    """A database or the shared state cannot be used."""

    code = "store_unavailable"
    retryable = True


class RefusedValueError(StoreError):
    """The database can never store one of the values."""

    code = "value_refused"
    retryable = False


class MediaTypeError(RequestError):
    """The request says that its body is something other than JSON."""

    code = "unsupported_media_type"


class PayloadTooLargeError(RequestError):
    """The body is larger than the service accepts."""

    code = "payload_too_large"


class SlowCallerError(RequestError):
    """The caller did not send the body, or take the answer, in time."""

    code = "request_timeout"
    retryable = True


class OverloadedError(SemrouteError):
    """More requests are under way than the service takes at once."""

    code = "overloaded"
    retryable = True


class IdempotencyError(RequestError):
    """The idempotency key was used before, for another request or for an answer that is too long to repeat."""

    code = "idempotency_key_reused"


class NoModelError(SemrouteError):
    """No model of the plan can be called. `rejected` says why, by model. `retry_after_s`: when one may be callable."""

    code = "no_model_available"

    def __init__(self, rejected: dict[str, str], *, retry_after_s: float | None = None) -> None:
        reasons = "; ".join(f"{model}: {reason}" for model, reason in rejected.items())
        super().__init__(f"no model of the plan can be called: {reasons}")
        self.rejected = rejected
        self.retry_after_s = retry_after_s
        self.retryable = retry_after_s is not None


class ProviderError(SemrouteError):
    """One call to one model failed.

    `status` is the status of the provider's answer, or None if it did not answer. `body` is the provider's own error
    body, for a caller of the same dialect. `retry_after_s` is how long the provider asks to wait. `written_by_model`
    means that only the text that the model wrote is wrong, which any caller can bring about. `execution/faults.py` says
    what follows from each error.
    """

    code = "provider_error"
    retryable = True
    retry_after_s: float | None = None
    written_by_model = False

    def __init__(self, message: str, *, status: int | None = None, body: bytes | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = body


class ProviderConnectionError(ProviderError):
    """The provider could not be reached, or cut the connection."""

    code = "provider_connection"


class ProviderDNSError(ProviderConnectionError):
    """The provider's name does not resolve."""

    code = "provider_dns"


class ProviderTLSError(ProviderConnectionError):
    """There is no trusted TLS connection to the provider."""

    code = "provider_tls"


class UnsendableError(ProviderConnectionError):
    """HTTP cannot carry the key, a header or the address. Nothing was sent."""

    code = "provider_unsendable"
    retryable = False


class NoPlaceError(ProviderError, OverloadedError):
    """All connections that the service may have to providers are in use. Nothing was sent."""

    code = "overloaded"


class ProviderTimeoutError(ProviderError):
    """The provider did not answer in time."""

    code = "provider_timeout"


class RateLimitedError(ProviderError):
    """The provider answered with 429, or asked for a pause before. During the pause it is not called."""

    code = "provider_rate_limited"


class ProviderServerError(ProviderError):
    """The provider answered with 408, 409, 424, 425, 498, 499 or 5xx."""

    code = "provider_server_error"


class ProviderAuthError(ProviderError):
    """The provider refuses the service's own key. This is never the caller's fault."""

    code = "provider_auth"
    retryable = False


class ProviderModelError(ProviderError):
    """The provider does not know the model's name: the route files are wrong."""

    code = "provider_unknown_model"
    retryable = False


class ProviderRequestError(ProviderError):
    """The provider refuses the request for an unknown reason. Another provider may take it."""

    code = "provider_refused_request"
    retryable = False


class ContextLengthError(ProviderError):
    """The request is longer than the model's context window. Another model may have a longer one."""

    code = "provider_context_length"
    retryable = False


class ContentPolicyError(ProviderError):
    """The provider's content policy refuses the request."""

    code = "provider_content_policy"
    retryable = False


class UnsupportedError(ProviderError):
    """The model cannot do what the request asks. Or its dialect cannot express it, so nothing was sent."""

    code = "provider_unsupported"
    retryable = False


class BadAnswerError(ProviderError):
    """The provider answered with something that is not a completion."""

    code = "provider_bad_answer"


class ChecksFailedError(BadAnswerError):
    """The answer fails the route's checks or breaks its contract, or no answer of a cascade passed."""

    code = "no_answer_passed"


class MalformedAnswerError(BadAnswerError):
    """The answer cannot be read: it is truncated or malformed."""

    code = "provider_malformed_answer"


class HtmlAnswerError(BadAnswerError):
    """The provider, or a proxy in front of it, answered with a web page and status 200."""

    code = "provider_html_answer"


class ErrorAnswerError(BadAnswerError):
    """The provider answered with an error and status 200."""

    code = "provider_error_answer"


class EmptyAnswerError(BadAnswerError):
    """The provider sent an empty answer: no choices, no content."""

    code = "provider_empty_answer"


class OversizedAnswerError(BadAnswerError):
    """The answer is longer than the service reads."""

    code = "provider_oversized_answer"


class MalformedChunkError(MalformedAnswerError):
    """One event of a stream is not a chunk of a completion. Later events may still be good."""


class StreamBrokenError(BadAnswerError):
    """The stream ended or was cut before the answer was complete."""

    code = "provider_stream_broken"


class PlanExhaustedError(SemrouteError):
    """Every model of the plan was called, and failed. `last`: the last error. `retry_after_s`: when one may answer."""

    code = "all_models_failed"
    retryable = True

    def __init__(self, message: str, *, last: ProviderError, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.last = last
        self.retry_after_s = retry_after_s
        self.retryable = last.retryable
