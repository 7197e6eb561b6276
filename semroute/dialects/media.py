"""Pictures and documents, inline: `data:` URLs. Source: https://www.rfc-editor.org/rfc/rfc2397."""

from __future__ import annotations

import base64
import re
from urllib.parse import unquote_to_bytes

from semroute.types import Frozen

_DATA_URL = re.compile(r"data:([^;,]*)((?:;[^;,]*)*?)(;base64)?,(.*)", re.DOTALL)


class Inline(Frozen, frozen=True, kw_only=True):
    """Content that a URL holds itself."""

    media_type: str
    data: str
    """base64."""


def read_data_url(url: str) -> Inline | None:
    """What a `data:` URL holds; null for any other."""
    match = _DATA_URL.fullmatch(url)
    if match is None:
        return None
    media_type, _, encoded, data = match.groups()
    if not encoded:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Inline(media_type=media_type or "text/plain", data=data)


def data_url(media_type: str, data: str) -> str:
    """A `data:` URL of base64 data."""
    return f"data:{media_type};base64,{data}"


def text_url(text: str) -> str:
    """A `data:` URL of plain text."""
    return data_url("text/plain", base64.b64encode(text.encode("utf-8", "surrogatepass")).decode())


def text_of(inline: Inline) -> str:
    """The text that inline content is."""
    return base64.b64decode(inline.data).decode("utf-8", "replace")
