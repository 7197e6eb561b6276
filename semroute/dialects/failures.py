"""What a provider's failed answer means: the part that the dialects share, as their error bodies differ little."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from semroute.errors import (
    BadAnswerError,
    ContentPolicyError,
    ContextLengthError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    RateLimitedError,
)
from semroute.unreadable import UNREADABLE, why_unreadable

MAX_MESSAGE_CHARS = 300
MAX_SNIPPET_CHARS = 80

_UNKNOWN_MODEL = re.compile(
    r"model_not_found|(unknown|invalid) model|model\b.{0,120}(does not exist|not found)"
    r"|ResourceNotFoundException|model identifier is invalid|on-demand throughput",
    re.IGNORECASE | re.DOTALL,
)
_CONTEXT_LENGTH = re.compile(
    r"context_length_exceeded|(maximum|max) context length|context (length|window|size).{0,80}exceed"
    r"|exceed.{0,80}(context (length|limit|window|size)|number of tokens)|(prompt|input) is too long"
    r"|too many (input )?tokens|input tokens? exceed|expected maxLength",
    re.IGNORECASE | re.DOTALL,
)
_BAD_KEY = re.compile(r"api[_ ]key[_ ]?(is )?(not valid|invalid|expired)", re.IGNORECASE)
"""Gemini refuses a key with status 400."""
_CONTENT_POLICY = re.compile(
    r"content_policy|content_filter|content management policy|content filtering policy|responsibleaipolicy"
    r"|safety system|usage policy",
    re.IGNORECASE,
)


class Failure(msgspec.Struct, frozen=True):
    """What an error body says."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Its codes and types, such as `model_not_found` or `503`."""
    is_json: bool = False


def read_failure(body: bytes) -> Failure:
    """Read an error body in any of the shapes that servers use.

    `{"error": {"message", "code", "type"}}`, `{"error": "..."}`, `{"message": "..."}`, `{"detail": ...}`; AWS sends
    `{"Message": "..."}` where a request fails before it reaches a model.
    """
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE:
        return Failure()
    if isinstance(document, list) and len(document) == 1:  # as Gemini sends what fails before a stream begins
        document = document[0]
    error = document.get("error") or document if isinstance(document, dict) else document
    if not isinstance(error, dict):
        return Failure(message=error[:MAX_MESSAGE_CHARS] if isinstance(error, str) else snippet(body), is_json=True)
    message = error.get("message") or error.get("detail") or error.get("Message")
    codes = (error.get(key) for key in ("code", "type", "status", "status_code"))
    return Failure(
        message=message[:MAX_MESSAGE_CHARS] if isinstance(message, str) else snippet(body),
        codes=tuple(str(code) for code in codes if code),
        is_json=True,
    )


def answered_error(
    status: int, headers: Mapping[str, str], body: bytes, *, meant: int | None = None, kind: str = ""
) -> ProviderError:
    """The error that an answer with a status other than 200 means.

    `meant`: the status that it should have had; `kind`: its type, where that does not stand in the body.
    """
    failure = read_failure(body)
    if kind:
        failure = msgspec.structs.replace(failure, codes=(*failure.codes, kind))
    if failure.message:
        message = failure.message
    elif 300 <= status < 400 and "location" in headers:
        message = "a redirect, which is not followed"
    else:
        message = f"{headers.get('content-type') or 'no content type'}, {snippet(body) or 'no body'}"
    return _error_type(meant or status, failure)(f"status {status}: {message}", status=status, body=body)


def streamed_error(data: bytes, meant: int | None = None) -> ProviderError:
    """The error that was sent inside a stream, where a status could no longer say it. `meant`: it, where known."""
    failure = read_failure(data)
    codes = " ".join(failure.codes)
    status = meant or next((int(code) for code in failure.codes if re.fullmatch(r"[45]\d\d", code)), None)
    if status is None and re.search(r"rate_limit|insufficient_quota|RESOURCE_EXHAUSTED", codes):
        status = 429
    elif status is None and re.search(r"server_error|api_error|overloaded|unavailable|INTERNAL", codes, re.IGNORECASE):
        status = 500
    error_type = BadAnswerError if status is None else _error_type(status, failure)
    return error_type(f"got an error inside the stream: {failure.message or snippet(data)}", status=status, body=data)


def describe(body: bytes, error: Exception) -> str:
    """What a body that could not be decoded is, in words."""
    if not body.strip():
        return "nothing"
    if body.lstrip()[:1] == b"<":
        return f"HTML: {snippet(body)}"
    return f"{snippet(body)} ({why_unreadable(error, body)})"


def snippet(body: bytes) -> str:
    """The start of a body, on one line."""
    return " ".join(body[: 4 * MAX_SNIPPET_CHARS].decode("utf-8", "replace").split())[:MAX_SNIPPET_CHARS]


def _error_type(status: int, failure: Failure) -> type[ProviderError]:
    if status == 429:
        return RateLimitedError
    if status in (408, 409, 425) or 500 <= status < 600:
        return ProviderServerError
    if status == 403 and _CONTENT_POLICY.search(" ".join(failure.codes)):
        return ContentPolicyError
    if status in (401, 402, 403):  # 402: our account is empty, which is as little the caller's fault as a refused key
        return ProviderAuthError
    if status in (400, 404) and _UNKNOWN_MODEL.search(" ".join((*failure.codes, failure.message))):
        return ProviderModelError
    if status == 404 and not failure.is_json:  # a page that is not found, not a model: the base_url is wrong
        return ProviderModelError
    if status in (400, 413, 422) and _CONTEXT_LENGTH.search(" ".join((*failure.codes, failure.message))):
        return ContextLengthError
    if status == 400 and _CONTENT_POLICY.search(" ".join((*failure.codes, failure.message))):
        return ContentPolicyError
    if status == 400 and _BAD_KEY.search(" ".join((*failure.codes, failure.message))):
        return ProviderAuthError
    return ProviderRequestError if 400 <= status < 500 else BadAnswerError
