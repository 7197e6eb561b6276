"""Finds the JSON in what a model said, where there is no doubt which part of it is meant. Linear in the text. Pure.

json-repair 0.64 also makes a document of a text in which none is clear, so that a wrong one would pass for the answer:
it did so with five such texts of five. It takes 22 times as long (2026-11-30, `bench/libraries.py json`).
"""

from __future__ import annotations

from json import JSONDecoder

import msgspec

from semroute.execution.code_fences import blocks, without_thoughts
from semroute.json_errors import UNREADABLE

BYTE_ORDER_MARK = "\ufeff"
_OPENING = ("{", "[")
"""With one of these in it, a text after a JSON document may be a second document."""
_decoder = JSONDecoder()


def json_in(text: str) -> str:
    """The JSON document of an answer; the text itself where none stands out.

    Taken away is only what cannot be meant as part of the answer: thoughts before it, the code fence around it and the
    text outside of that fence, and text after a whole object or array. Of two documents none is chosen, and a document
    after some prose may be no more than an example: such a text is left as it is.
    """
    bare = without_thoughts(text).strip().removeprefix(BYTE_ORDER_MARK).strip()
    if _is_json(bare):
        return bare
    if bare.startswith(_OPENING):
        return _document_before_text(bare) or text
    fenced = blocks(bare)
    if len(fenced) == 1:
        return fenced[0].code.strip()
    return bare if fenced else bare.strip("`").removeprefix("json").strip()


def _is_json(text: str) -> bool:
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except UNREADABLE:
        return False
    return True


def _document_before_text(text: str) -> str | None:
    """The object or array that a text begins with; None: it is not whole, or what follows may be another."""
    try:
        _, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):  # no JSON, or a number of thousands of digits
        return None
    rest = text[end:]
    return None if any(mark in rest for mark in _OPENING) else text[:end]
