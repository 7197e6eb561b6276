from __future__ import annotations

from typing import Annotated

import msgspec
import pytest
from msgspec import Meta

from semroute.config.validate import complaints


class Span(msgspec.Struct, forbid_unknown_fields=True):
    low: int
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("got low over high, expected a range")


class Holder(msgspec.Struct):
    span: Span | None = None
    one_or_many: str | list[str] = ""


@pytest.mark.parametrize(
    ("type_", "value"),
    [(int, 1), (Span, {"low": 1}), (Holder, {"span": None}), (list[int], []), (dict[str, int], {"a": 1})],
)
def test_what_msgspec_converts_has_no_complaints(type_: object, value: object) -> None:
    assert complaints(value, type_) == []


def test_every_wrong_part_is_found_with_its_place() -> None:
    value = {"span": {"low": "x", "hihg": 1}, "one_or_many": ["a", 2]}
    assert complaints(value, Holder, ("top",)) == [
        (("top", "span", "low"), 'got "x", expected a whole number'),
        (("top", "span", "hihg"), "unknown key `hihg`, did you mean `high`? allowed: `high`, `low`"),
        (("top", "one_or_many", 1), "got 2, expected a string (quote it)"),
    ]


def test_a_check_of_the_struct_as_a_whole_speaks_for_itself() -> None:
    assert complaints({"span": {"low": 10}}, Holder) == [(("span",), "got low over high, expected a range")]


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (Annotated[int, Meta(gt=0)], 0, "a whole number over 0"),
        (Annotated[int, Meta(ge=2)], 0, "a whole number of at least 2"),
        (Annotated[int, Meta(gt=0, lt=5)], 7, "a whole number over 0 and under 5"),
        (Annotated[float, Meta(le=0.5)], 7, "a number of at most 0.5"),
        (Annotated[float, Meta(ge=0, le=1)] | None, 7, "a number from 0 to 1"),
        (Annotated[list[int], Meta(min_length=2)], [], "a list of at least 2 items"),
        (Annotated[list[int], Meta(min_length=1)], [], "a list that is not empty"),
        (Annotated[str, Meta(max_length=2)], "abc", "a string of 0 to 2 characters"),
        (bool, 7, "true or false"),
        (bool | list[int], 7, "true or false or a list"),
        (dict[str, int], 7, "a mapping"),
    ],
)
def test_a_type_is_said_in_words(type_: object, value: object, expected: str) -> None:
    ((_, message),) = complaints(value, type_)
    assert message.partition(", expected ")[2] == expected
