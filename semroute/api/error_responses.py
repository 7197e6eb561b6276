"""Turn errors into HTTP answers. This is the only place that chooses status codes."""

from __future__ import annotations

import logging
import math
from typing import Any

from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException

from semroute.api.accounting import Books
from semroute.dialects.description import Dialect
from semroute.dialects.registry import expected_by
from semroute.errors import (
    AccessError,
    BudgetError,
    ChecksFailedError,
    ContentPolicyError,
    ContextLengthError,
    ForbiddenError,
    IdempotencyError,
    LimitError,
    MediaTypeError,
    NoModelError,
    NotFoundError,
    OverloadedError,
    PayloadTooLargeError,
    PlanExhaustedError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderTimeoutError,
    RateLimitedError,
    RequestError,
    SemrouteError,
    SlowCallerError,
    StoreError,
    UnknownModelError,
    UnknownRouteError,
    UnsupportedError,
)
from semroute.messages import new_id

log = logging.getLogger("semroute.api")
SOON_S = 60.0
"""The longest time in seconds that the official clients wait before another try."""

AnyRequest = Request[Any, Any, Any]

ENCODINGS = "gzip, deflate, br, zstd"
"""How bodies may be compressed, as the header `accept-encoding` lists it."""


class EncodingError(MediaTypeError):
    """The request's body is compressed in an encoding that is not supported."""


_PASSED_ON = (ProviderRequestError, UnsupportedError)
"""Errors that keep the status of the provider that refused the request."""
TOO_LARGE = 413
_STATUS: list[tuple[type[SemrouteError], int]] = [
    (AccessError, 401),
    (ForbiddenError, 403),
    (BudgetError, 402),
    (LimitError, 429),
    (NotFoundError, 404),
    (StoreError, 503),
    (PayloadTooLargeError, 413),
    (MediaTypeError, 415),
    (SlowCallerError, 408),
    (UnknownModelError, 404),
    (UnknownRouteError, 404),
    (IdempotencyError, 422),
    (RequestError, 400),
    (OverloadedError, 503),
    (NoModelError, 503),
    (ChecksFailedError, 502),
    (RateLimitedError, 429),
    (ProviderTimeoutError, 504),
    (ContextLengthError, 400),
    (ContentPolicyError, 400),
    (ProviderModelError, 404),
    (UnsupportedError, 400),
    (ProviderError, 502),
]


def status_of(error: SemrouteError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, PlanExhaustedError):
        error = error.last
        if isinstance(error, ProviderModelError):  # other models failed in another way: the fault is in the route files
            return 502
    if isinstance(error, _PASSED_ON) and error.status is not None and 400 <= error.status < 500:
        return error.status
    if isinstance(error, ContextLengthError) and error.status == TOO_LARGE:
        return TOO_LARGE
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def retry_headers(error: SemrouteError, status: int, attempts: int) -> dict[str, str]:
    """Return headers that tell a caller whether and when to try again. `attempts`: how many calls models got.

    The official clients of OpenAI and Anthropic try again twice by themselves, unless `x-should-retry` says no. It
    says no if the service has already tried several times, and if waiting does not help. It does not say no if a model
    is known to be available again soon.
    """
    tells = ProviderError | PlanExhaustedError | NoModelError | BudgetError | LimitError
    known_s = error.retry_after_s if isinstance(error, tells) else None
    in_vain = attempts > 1 or (status >= 500 and not error.retryable)
    headers = {}
    if known_s is None and not in_vain and error.retryable and status in {429, 503}:
        known_s = 1
    if known_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(known_s)))
    if in_vain and (known_s is None or known_s > SOON_S):
        headers["x-should-retry"] = "false"
    return headers


def dialect_of(request: AnyRequest) -> Dialect:
    """Return the dialect in which a caller expects errors."""
    return expected_by(request.method, request.url.path, request.headers)


def id_headers(request_id: str) -> dict[str, str]:
    """Return the headers with a request's id: one for OpenAI's clients, one for Anthropic's."""
    return {"x-request-id": request_id, "request-id": request_id}


def render(
    request: AnyRequest, error: SemrouteError, status: int, headers: dict[str, str], attempts: int = 0
) -> Response[bytes]:
    """Render an error in the caller's dialect. If `headers` hold no id, there is no record of the request."""
    if "request-id" not in headers:
        headers = {**headers, **id_headers(new_id())}
    headers = {**headers, **retry_headers(error, status, attempts)}
    if isinstance(error, EncodingError):
        headers["accept-encoding"] = ENCODINGS
    client = dialect_of(request).client
    assert client is not None, "a dialect that only providers speak has no signs of callers"
    body = client.render_error(error, status, headers["request-id"])
    return Response(body, status_code=status, headers=headers, media_type=MediaType.JSON)


def answer_to(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Return the answer to a request whose handler raised an error."""
    if isinstance(error, SemrouteError):
        return on_semroute_error(request, error)
    return on_http_error(request, error) if isinstance(error, HTTPException) else on_unexpected(request, error)


def on_semroute_error(request: AnyRequest, error: SemrouteError) -> Response[bytes]:
    """Answer with an error of semroute that was raised before there was a decision."""
    books: Books | None = request.app.state.get("books")
    if books is not None and books.metrics is not None:
        books.metrics.refuse(error.code)
    ids = id_headers(new_id())
    log.debug("request %s: %s %s refused: %s", ids["request-id"], request.method, request.url.path, error.code)
    return render(request, error, status_of(error), ids)


def on_http_error(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Answer with an error that the framework found, such as an unknown path or method, or a body that is too large."""
    if error.status_code == 413:
        limit = request.app.request_max_body_size
        return on_semroute_error(request, PayloadTooLargeError(f"the body is over the limit of {limit} bytes"))
    detail = error.detail or type(error).__name__
    if error.status_code == 404:
        return render(
            request, NotFoundError(f"there is no endpoint at {request.url.path}; /schema lists all endpoints"), 404, {}
        )
    headers = dict(error.headers or {})
    if error.status_code == 405 and "allow" in headers:
        allowed = headers["allow"].replace(", ", " or ")
        detail = f"{request.url.path}: got {request.method}, expected {allowed}"
    return render(request, RequestError(detail), error.status_code, headers)


def on_unexpected(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Answer after a defect in semroute. Only the log gets the details."""
    ids = id_headers(new_id())
    log.error("request %s: %s %s failed", ids["request-id"], request.method, request.url.path, exc_info=error)
    return render(
        request, SemrouteError("semroute failed to handle the request: the log of the service says why"), 500, ids
    )
