"""Counts of tokens as servers write them: whole numbers, also as `12.0` or `"12"`."""

from __future__ import annotations

from typing import Annotated, TypeVar

import msgspec

Count = Annotated[int, msgspec.Meta(ge=0)]
Counts = TypeVar("Counts", bound=msgspec.Struct)


def read_counts(value: object, kind: type[Counts]) -> Counts | None:
    """What a server says of its tokens; None where that cannot be read, as the answer is sound all the same."""
    if value is None:
        return None
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError:
        return None
