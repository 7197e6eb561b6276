from __future__ import annotations

import pytest

from semroute.errors import (
    BadAnswerError,
    EmptyAnswerError,
    ErrorAnswerError,
    HtmlAnswerError,
    MalformedAnswerError,
    ProviderError,
    StreamBrokenError,
)
from semroute.providers.bad_answers import classify_bad_answer


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b" <!DOCTYPE html>", HtmlAnswerError),
        (b'{"choices": [', MalformedAnswerError),
        (b"", MalformedAnswerError),
        (b"\xff", MalformedAnswerError),
        (b"[1]", MalformedAnswerError),
        (b'{"choices": [{"message": 5}]}', MalformedAnswerError),
        (b'{"error": {"message": "on fire"}}', ErrorAnswerError),
        (b'{"type": "error"}', ErrorAnswerError),
        (b'{"object": "error", "message": "on fire"}', ErrorAnswerError),
        (b'{"choices": []}', EmptyAnswerError),
        (b'{"content": null}', EmptyAnswerError),
        (b"{}", EmptyAnswerError),
    ],
)
def test_answers_that_are_none_are_told_apart(body: bytes, kind: type[ProviderError]) -> None:
    told = classify_bad_answer(BadAnswerError("what it was", body=body))
    assert (type(told), str(told), told.body) == (kind, "what it was", body)


@pytest.mark.parametrize(
    "error",
    [BadAnswerError("over the limit"), BadAnswerError("x", status=307, body=b"<a>"), StreamBrokenError("x", body=b"")],
)
def test_the_others_stay_what_they_are(error: ProviderError) -> None:
    assert classify_bad_answer(error) is error
