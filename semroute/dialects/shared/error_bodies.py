"""Tells what a failed answer of a provider means. The dialects share this code, as their error bodies differ little.

The table `refusals.toml` decides first. An error that it does not know is told by its HTTP status. Errors inside a
stream have no status: one with a code is a refusal, unless the code is about the server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

from semroute.dialects.shared import refusals
from semroute.errors import (
    BadAnswerError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    ProviderServerError,
    RateLimitedError,
)
from semroute.json_errors import UNREADABLE, why_unreadable

MAX_MESSAGE_CHARS = 300
MAX_SNIPPET_CHARS = 80
OVERLOADED = refusals.MEANINGS["overloaded"].status
TRANSIENT = frozenset({408, 409, 424, 425, 498, 499})
"""Statuses below 500 that are the server's fault. A later try may succeed.

424: TGI and Bedrock had a fault while the model wrote. 498: Groq has no room in its tier `flex`. 499: a proxy before
the provider lost the connection. Sources, read on 2026-11-30: https://console.groq.com/docs/errors,
https://console.groq.com/docs/flex-processing. Bedrock: the package botocore 1.44.8; TGI: a copy of its router.
"""
MAX_DEPTH = 16
"""The most levels of nested objects that are read. Gateways quote the errors of the vendors behind them."""
MAX_SAID = 40
"""The most codes, and the most texts, that are read of one error."""

_TEXT_KEYS = ("message", "Message", "error", "errors", "detail", "details", "msg", "reason", "raw", "metadata",
              "innererror", "error_message", "error_msg", "errorMessage", "description", "title", "response",
              "exception", "base_resp", "status_msg")  # fmt: skip
_CODE_KEYS = (
    "code",
    "type",
    "status",
    "status_code",
    "statusCode",
    "reason",
    "error_type",
    "error_code",
    "errorCode",
    "__type",
)
_WAIT_KEYS = ("retryDelay", "retry_after", "retry_after_seconds")
PAGE = "an HTML page"
_ADDRESS = re.compile(
    r"\b[a-z]{2,6}://[^\s\"'<>]+"  # a URL
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b"  # IPv4
    r"|\[?\b[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){3,7}\b\]?(?::\d{1,5})?"  # IPv6
    r"|\b(?=[\d_.-]*[a-z])[\w-]+(?:\.[\w-]+)*:\d{2,5}\b"  # a host with its port
    r"|\b(?:[\w-]+\.){1,8}(?:local|localdomain|internal|intranet|lan|corp|home|svc|com|net|org|io|ai|dev|cloud)\b",
    re.IGNORECASE,
)
"""Addresses and host names, which proxies write into their pages."""
_NO_CODES = frozenset({"error", "none", "null", "<nil>", "unknown", "unknown_error", "true", "false"})
"""Values in the place of a code that mean nothing."""
_REFUSED = re.compile(
    r"invalid|bad_?request|unprocessable|unsupported|not_?found|permission|forbidden|image", re.IGNORECASE
)
"""In a code: the request is at fault, such as by the address of its picture (`failed_to_download_image`)."""
_SERVER = re.compile(
    r"server|internal|overload|unavail|time.?out|timed|api_?error|upstream|connection|engine|exception|fail|busy|gateway"
    r"|network|capacity|abort|cancel|crash|stream|unknown|^(incomplete_)?generation$",
    re.IGNORECASE,
)


class Failure(msgspec.Struct, frozen=True):
    """The content of an error body."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Its codes and types, such as `model_not_found` or `503`."""
    is_json: bool = False
    texts: tuple[str, ...] = ()
    """All texts in the body, also those that a gateway quotes of the vendor behind it."""

    @property
    def status(self) -> int | None:
        """The HTTP status among its codes."""
        return next((int(code) for code in self.codes if re.fullmatch(r"[45]\d\d", code)), None)


def read_failure(body: bytes) -> Failure:
    """Read an error body in any of the forms that servers use.

    The forms are `{"error": {"message", "code", "type"}}`, `{"error": "..."}`, `{"message": "..."}` and `{"detail":
    ...}`. AWS sends `{"Message": "..."}` if a request fails before it reaches a model. A body that is not JSON is one
    text. An HTML page is not read at all, because it comes from a proxy.
    """
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE:
        text = body[: refusals.MAX_CHARS].decode("utf-8", "replace").strip()
        return Failure(texts=() if text.startswith("<") else (text,))
    codes: list[str] = []
    texts: list[str] = []
    _read(document, codes, texts, 0)
    if isinstance(document, list) and len(document) == 1:  # Gemini's form of an error before a stream begins
        document = document[0]
    error = document.get("error") or document if isinstance(document, dict) else document
    return Failure(
        message=(_message(error, texts) or snippet(body))[:MAX_MESSAGE_CHARS],
        codes=tuple(dict.fromkeys(codes[:MAX_SAID])),
        is_json=True,
        texts=tuple(texts[:MAX_SAID]),
    )


def _message(error: object, texts: list[str]) -> str:
    """Return the message. If a gateway only says that the vendor behind it failed, add that vendor's words."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else ""
    said = error.get("message") or error.get("detail") or error.get("Message")
    if not isinstance(said, str):
        return ""
    quoted = next((text for text in reversed(texts) if text not in said), "") if "metadata" in error else ""
    return f"{said}: {quoted}" if quoted else said


def _read(value: object, codes: list[str], texts: list[str], depth: int) -> None:
    """Collect all codes and texts of an error. A text may be JSON again: the error of a vendor behind the gateway."""
    if depth > MAX_DEPTH or len(texts) > MAX_SAID:
        return
    match value:
        case str():
            inner = _as_json(value)
            if inner is None:
                texts.append(value)
            else:
                _read(inner, codes, texts, depth + 1)
        case list():
            for each in value[:MAX_SAID]:
                _read(each, codes, texts, depth + 1)
        case dict():
            codes += _codes(value)
            texts += _waits(value)
            for key in _TEXT_KEYS:
                if value.get(key):
                    _read(value[key], codes, texts, depth + 1)


def _waits(error: dict[str, object]) -> Iterator[str]:
    """Write the fields that say how long to wait as sentences. Their values are texts such as `"34s"`, or seconds."""
    for key in _WAIT_KEYS:
        if isinstance(error.get(key), str | int | float):
            yield f"retry in {error[key]}" + ("" if isinstance(error[key], str) else "s")


def _codes(error: dict[str, object]) -> Iterator[str]:
    for key in _CODE_KEYS:
        code = error.get(key)
        if isinstance(code, str | int) and code and str(code).lower() not in _NO_CODES:
            yield str(code)[:MAX_SNIPPET_CHARS]


def _as_json(text: str) -> dict[str, object] | list[object] | None:
    if text.lstrip()[:1] not in ("{", "["):
        return None
    try:
        decoded = msgspec.json.decode(text)
    except UNREADABLE:
        return None
    return decoded if isinstance(decoded, dict | list) else None


def answered_error(
    status: int, headers: Mapping[str, str], body: bytes, *, meant: int | None = None, kind: str = ""
) -> ProviderError:
    """Return the error that an answer with a status other than 200 means.

    `meant` is the status that the answer should have had. `kind` is the error's type, if it is not in the body.
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
    error_type, told = _meant(meant or status, status, failure)
    return _made(error_type, f"status {status}: {message}", told, body, failure)


def streamed_error(data: bytes, meant: int | None = None) -> ProviderError:
    """Return the error that an event in a stream means. `meant` is its status, if the type of the error tells it."""
    failure = read_failure(data)
    error_type, status = _told(failure, meant)
    message = f"got an error inside the stream: {failure.message or snippet(data)}"
    return _made(error_type, message, status, data, failure)


def no_answer(body: bytes, otherwise: str = "") -> ProviderError:
    """Return the error for a body with status 200 that holds no answer. It may be a refusal.

    `otherwise` is the message if it is not a refusal. Empty: the body says itself that it is an error.
    """
    failure = read_failure(body)
    if otherwise and not _refuses(failure):
        return BadAnswerError(otherwise, body=body)
    error_type, status = _told(failure)
    message = f"got an error with status 200: {failure.message}"
    if error_type is BadAnswerError or (error_type is ProviderServerError and status != OVERLOADED):
        return BadAnswerError(otherwise or message, body=body)
    return _made(error_type, message, status, body, failure)


def unreadable(body: bytes, expected: str, error: Exception) -> ProviderError:
    """Return the error for a body with status 200 that cannot be read. It may be a refusal.

    `expected` is what the body should have been, with its article, such as "a message". `error` is why reading failed.
    """
    return no_answer(body, f"expected {expected}, got {describe(body, error)}")


def broken_off(message: str, body: bytes) -> BadAnswerError:
    """Return the error for an answer that the provider broke off because of what the model wrote."""
    error = BadAnswerError(message, body=body)
    error.written_by_model = True
    return error


def refuses(data: bytes) -> bool:
    """Whether data without a piece of an answer is an error, although it does not say so."""
    return _refuses(read_failure(data))


def _refuses(failure: Failure) -> bool:
    if not failure.is_json or not failure.texts:
        return False
    known = failure.status is not None or _REFUSED.search(" ".join(failure.codes)) is not None
    return known or refusals.meaning(None, failure.codes, failure.texts) is not None


def _made(
    error_type: type[ProviderError], message: str, status: int | None, body: bytes, failure: Failure
) -> ProviderError:
    error = error_type(message, status=status, body=body)
    if error.retryable:
        error.retry_after_s = refusals.wait_s(failure.texts)
    return error


def _meant(meant: int, status: int, failure: Failure) -> tuple[type[ProviderError], int]:
    """Return the class and the status of an error that came with a status other than 200."""
    said = refusals.meaning(meant, failure.codes, failure.texts) if 400 <= meant < 600 else None
    if said is None:
        return _by_status(meant, failure), status
    return said.error, said.status if said.overrules else status


def _told(failure: Failure, meant: int | None = None) -> tuple[type[ProviderError], int | None]:
    """Return the class and the status of an error in an answer with status 200, or in a stream."""
    status = meant or failure.status
    said = refusals.meaning(status, failure.codes, failure.texts)
    if said is not None:
        return said.error, said.status if said.overrules or status is None else status
    if status is not None:
        return _by_status(status, failure), status
    if not failure.codes:
        return BadAnswerError, None
    for code in failure.codes:  # a `code` says more than a `type`, so it comes first
        if _REFUSED.search(code):
            break
        if _SERVER.search(code):
            return ProviderServerError, 500
    return ProviderRequestError, 400


def describe(body: bytes, error: Exception) -> str:
    """Describe a body that could not be decoded."""
    if not body.strip():
        return "nothing"
    if is_page(body):
        return PAGE
    return f"{snippet(body)} ({why_unreadable(error, body)})"


def is_page(body: bytes) -> bool:
    """Whether a body is an HTML page. A proxy or a website wrote it, not a model."""
    return body.lstrip()[:1] == b"<"


def snippet(body: bytes) -> str:
    """Return the start of a body as one line that a caller may read.

    HTML pages are not quoted, and addresses are removed from other text, because proxies write host names into both.
    """
    if is_page(body):
        return PAGE
    text = " ".join(body[: 4 * MAX_SNIPPET_CHARS].decode("utf-8", "replace").split())
    return _ADDRESS.sub("…", text)[:MAX_SNIPPET_CHARS]


def _by_status(status: int, failure: Failure) -> type[ProviderError]:
    """Return the class of an error that the table does not know, by its status."""
    if status == 429:
        return RateLimitedError
    if status in TRANSIENT or 500 <= status < 600:
        return ProviderServerError
    if status in (401, 402, 403):  # 402: our account is empty. Like a refused key, this is not the caller's fault.
        return ProviderAuthError
    if status == 404 and not failure.is_json:  # no JSON: no such path on that server, so the base_url is wrong
        return ProviderModelError
    return ProviderRequestError if 400 <= status < 500 else BadAnswerError
