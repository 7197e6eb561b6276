"""What a provider's failed answer means: the part that the dialects share, as their error bodies differ little.

What is in the table (`refusals.toml`) means what stands there. What is in no table is told by its status. Inside a
stream there is none: an error that has a code is a refusal, unless the code speaks of the server.
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
MAX_DEPTH = 16
"""So many objects may stand in one another: vendors quote those who stand behind them."""
MAX_SAID = 40
"""So many codes, and so many texts, are read of one error."""

_TEXT_KEYS = ("message", "Message", "error", "errors", "detail", "details", "msg", "reason", "raw", "metadata",
              "innererror", "error_message", "error_msg", "errorMessage", "description", "title", "response",
              "exception")  # fmt: skip
_CODE_KEYS = ("code", "type", "status", "status_code", "reason", "error_type", "error_code", "errorCode", "__type")
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
"""Addresses and names of hosts, as proxies write them into their pages."""
_NO_CODES = frozenset({"error", "none", "null", "<nil>", "unknown", "unknown_error", "true", "false"})
"""What stands in the place of a code and says nothing."""
_REFUSED = re.compile(r"invalid|bad_?request|unprocessable|unsupported|not_?found|permission|forbidden", re.IGNORECASE)
_SERVER = re.compile(
    r"server|internal|overload|unavail|time.?out|timed|api_?error|upstream|connection|engine|exception|fail|busy|gateway"
    r"|network|capacity|abort|cancel|crash|stream|unknown",
    re.IGNORECASE,
)


class Failure(msgspec.Struct, frozen=True):
    """What an error body says."""

    message: str = ""
    codes: tuple[str, ...] = ()
    """Its codes and types, such as `model_not_found` or `503`."""
    is_json: bool = False
    texts: tuple[str, ...] = ()
    """All that it says, in words: also what it quotes of a vendor who stands behind."""

    @property
    def status(self) -> int | None:
        """The HTTP status among its codes."""
        return next((int(code) for code in self.codes if re.fullmatch(r"[45]\d\d", code)), None)


def read_failure(body: bytes) -> Failure:
    """Read an error body in any of the shapes that servers use.

    `{"error": {"message", "code", "type"}}`, `{"error": "..."}`, `{"message": "..."}`, `{"detail": ...}`; AWS sends
    `{"Message": "..."}` where a request fails before it reaches a model. A text that is no JSON is all words; of a page
    nothing is read, for it is a proxy's.
    """
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE:
        text = body[: refusals.MAX_CHARS].decode("utf-8", "replace").strip()
        return Failure(texts=() if text.startswith("<") else (text,))
    codes: list[str] = []
    texts: list[str] = []
    _read(document, codes, texts, 0)
    if isinstance(document, list) and len(document) == 1:  # as Gemini sends what fails before a stream begins
        document = document[0]
    error = document.get("error") or document if isinstance(document, dict) else document
    return Failure(
        message=(_message(error, texts) or snippet(body))[:MAX_MESSAGE_CHARS],
        codes=tuple(dict.fromkeys(codes[:MAX_SAID])),
        is_json=True,
        texts=tuple(texts[:MAX_SAID]),
    )


def _message(error: object, texts: list[str]) -> str:
    """The sentence for people; where it only says that a vendor behind it failed, what that one says too."""
    if not isinstance(error, dict):
        return error if isinstance(error, str) else ""
    said = error.get("message") or error.get("detail") or error.get("Message")
    if not isinstance(said, str):
        return ""
    quoted = next((text for text in reversed(texts) if text not in said), "") if "metadata" in error else ""
    return f"{said}: {quoted}" if quoted else said


def _read(value: object, codes: list[str], texts: list[str], depth: int) -> None:
    """Collect what an error says, wherever it stands. A text may be JSON again: what a vendor behind it said."""
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
    """How long to wait, where a field says it, as a sentence would: `"34s"`, or seconds."""
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
    error_type, told = _meant(meant or status, status, failure)
    return _made(error_type, f"status {status}: {message}", told, body, failure)


def streamed_error(data: bytes, meant: int | None = None) -> ProviderError:
    """The error that was sent inside a stream, where a status could no longer say it. `meant`: it, where known."""
    failure = read_failure(data)
    error_type, status = _told(failure, meant)
    message = f"got an error inside the stream: {failure.message or snippet(data)}"
    return _made(error_type, message, status, data, failure)


def no_answer(body: bytes, otherwise: str = "") -> ProviderError:
    """What a body of status 200 means that holds no answer: a refusal where it is one.

    `otherwise`: what to say where it is none; empty: the body calls itself an error.
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
    """What bytes of status 200 mean that cannot be read: a refusal where they are one.

    `expected`: what they should have been, with its article. `error`: what reading them raised.
    """
    return no_answer(body, f"expected {expected}, got {describe(body, error)}")


def refuses(data: bytes) -> bool:
    """Whether what holds no piece of an answer is an error, though it does not call itself one."""
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
    """The kind of an error, and its status."""
    said = refusals.meaning(meant, failure.codes, failure.texts) if 400 <= meant < 600 else None
    if said is None:
        return _by_status(meant, failure), status
    return said.error, said.status if said.overrules else status


def _told(failure: Failure, meant: int | None = None) -> tuple[type[ProviderError], int | None]:
    """The same of an error that came with status 200."""
    status = meant or failure.status
    said = refusals.meaning(status, failure.codes, failure.texts)
    if said is not None:
        return said.error, said.status if said.overrules or status is None else status
    if status is not None:
        return _by_status(status, failure), status
    if not failure.codes:
        return BadAnswerError, None
    for code in failure.codes:  # a `code` says more than a `type`, and comes first
        if _REFUSED.search(code):
            break
        if _SERVER.search(code):
            return ProviderServerError, 500
    return ProviderRequestError, 400


def describe(body: bytes, error: Exception) -> str:
    """What a body that could not be decoded is, in words."""
    if not body.strip():
        return "nothing"
    if is_page(body):
        return PAGE
    return f"{snippet(body)} ({why_unreadable(error, body)})"


def is_page(body: bytes) -> bool:
    """Return whether a body is a page, which a proxy or a website wrote, and no model."""
    return body.lstrip()[:1] == b"<"


def snippet(body: bytes) -> str:
    """Return the start of a body, on one line, for a caller to read.

    A page is not quoted, and addresses are taken out of other text: proxies write the names of hosts into both.
    """
    if is_page(body):
        return PAGE
    text = " ".join(body[: 4 * MAX_SNIPPET_CHARS].decode("utf-8", "replace").split())
    return _ADDRESS.sub("…", text)[:MAX_SNIPPET_CHARS]


def _by_status(status: int, failure: Failure) -> type[ProviderError]:
    """What is in no table, by its status alone."""
    if status == 429:
        return RateLimitedError
    if status in (408, 409, 425) or 500 <= status < 600:
        return ProviderServerError
    if status in (401, 402, 403):  # 402: our account is empty, which is as little the caller's fault as a refused key
        return ProviderAuthError
    if status == 404 and not failure.is_json:  # a page that is not found, not a model: the base_url is wrong
        return ProviderModelError
    return ProviderRequestError if 400 <= status < 500 else BadAnswerError
