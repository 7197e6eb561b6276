"""What is said of bytes that are not JSON is ours, whatever the library says."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from semroute.json_errors import UNREADABLE, why_unreadable


class _Row(msgspec.Struct):
    text: str


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no complete JSON"),
        (b'{"text": "x', "no complete JSON"),
        (b'{"text": "\xff"}', "text that is not UTF-8 at byte 10"),
        (b'{"text": 3, "more": "\xff"}', "text that is not UTF-8 at byte 21"),
        ('{"text": "\ud800"}', "text that is not UTF-8 at byte 10"),
        (b"{nothing}", "text that is not JSON at byte 1"),
        (b'{"text" 3}', "text that is not JSON at byte 8"),
        (b'{"x": ' * 100_000, "JSON that is nested too deeply"),
    ],
    ids=lambda value: repr(value)[:20],
)
@pytest.mark.parametrize("decode", [msgspec.json.decode, lambda data: msgspec.json.decode(data, type=_Row)])
def test_why_bytes_are_no_json(decode: Callable[[bytes | str], object], data: bytes | str, why: str) -> None:
    with pytest.raises(UNREADABLE) as caught:
        decode(data)
    assert why_unreadable(caught.value, data) == why


def test_json_of_another_shape_is_told_as_that() -> None:
    with pytest.raises(UNREADABLE) as caught:
        msgspec.json.decode(b"[]", type=_Row)
    assert why_unreadable(caught.value, b"[]").startswith("JSON of another shape: ")


@pytest.mark.parametrize("words", ["Invalid UTF-8 encoded string", "'utf-8' codec can't decode byte 0xff", ""])
def test_the_words_of_the_library_make_no_difference(words: str) -> None:
    assert why_unreadable(msgspec.DecodeError(words), b'"\xff"') == "text that is not UTF-8 at byte 1"
    assert why_unreadable(msgspec.DecodeError(words), b'"') == "no complete JSON"
