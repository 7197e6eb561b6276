"""Classify responses that are not completions, by their body. Good answers are not inspected, so they cost nothing."""

from __future__ import annotations

import msgspec

from semroute.dialects.shared.error_bodies import is_page
from semroute.errors import (
    BadAnswerError,
    EmptyAnswerError,
    ErrorAnswerError,
    HtmlAnswerError,
    MalformedAnswerError,
    MalformedChunkError,
    ProviderError,
)
from semroute.json_errors import UNREADABLE


def classify_bad_answer(error: ProviderError) -> ProviderError:
    """Return the same error with the type that its body shows."""
    if type(error) not in (BadAnswerError, MalformedChunkError) or error.body is None or error.status is not None:
        return error
    told = _kind(error.body)(str(error), body=error.body)
    told.retry_after_s, told.written_by_model = error.retry_after_s, error.written_by_model
    return told


def _kind(body: bytes) -> type[BadAnswerError]:
    if is_page(body):
        return HtmlAnswerError
    try:
        document = msgspec.json.decode(body)
    except UNREADABLE:
        return MalformedAnswerError
    if not isinstance(document, dict):
        return MalformedAnswerError
    if document.get("error") or "error" in (document.get("object"), document.get("type")):
        return ErrorAnswerError
    said = next((document[name] for name in ("choices", "content", "output", "candidates") if name in document), None)
    return EmptyAnswerError if not said else MalformedAnswerError
