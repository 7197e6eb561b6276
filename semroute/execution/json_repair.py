"""Find the JSON in a model's text, if it is clear which part is meant. Takes time in proportion to the text. Pure.

json-repair 0.64 also makes a document from a text in which none is clear, so a wrong one would pass for the answer. It
did so with all of five such texts. It takes 22 times as long (2026-11-30, `bench/libraries.py json`).
"""

from __future__ import annotations

from json import JSONDecoder

import msgspec

from semroute.execution.code_fences import blocks, without_thoughts
from semroute.json_errors import UNREADABLE

BYTE_ORDER_MARK = "\ufeff"
_OPENING = ("{", "[")
"""If the text after a JSON document holds one of these, it may be a second document."""
_decoder = JSONDecoder()


def json_in(text: str) -> str:
    """Return the JSON document in an answer. If it is not clear which one is meant, return the text itself.

    Only parts that cannot belong to the answer are taken away: thoughts before it, the code fence around it with the
    text outside, and text after a whole object or array. A text with two documents stays as it is. So does a text with
    a document after some prose, because that may be only an example.
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
    """Return the object or array at the beginning of a text. None: it is not whole, or another one may follow."""
    try:
        _, end = _decoder.raw_decode(text)
    except (ValueError, RecursionError):  # not JSON, or a number with thousands of digits
        return None
    rest = text[end:]
    return None if any(mark in rest for mark in _OPENING) else text[:end]
