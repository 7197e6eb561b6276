"""`data:` URLs, which hold pictures and documents. Source: https://www.rfc-editor.org/rfc/rfc2397."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

from semroute.bases import Frozen


class Inline(Frozen, frozen=True, kw_only=True):
    """The content of a `data:` URL."""

    media_type: str
    data: str
    """The data in base64."""


def split_data_url(url: str) -> tuple[str, str, str] | None:
    """Split a `data:` URL into media type, parameters with their semicolons, and data. None: it is another URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return None
    media_type, semicolon, parameters = head.removeprefix("data:").partition(";")
    return media_type, semicolon + parameters, data


def read_data_url(url: str) -> Inline | None:
    """Return the content of a `data:` URL. None: the URL is of another kind."""
    parts = split_data_url(url)
    if parts is None:
        return None
    media_type, parameters, data = parts
    if not parameters.endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Inline(media_type=image_type(media_type or "text/plain", data), data=data)


_SAME = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/jfif": "image/jpeg", "image/x-png": "image/png"}
_SIGNATURES = {"/9j/": "image/jpeg", "iVBORw0KGgo": "image/png", "R0lGOD": "image/gif"}
"""The first characters of a picture's base64. Source:
https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern."""
_VAGUE = ("", "application/octet-stream", "binary/octet-stream", "image/*")


def image_type(media_type: str, data: str) -> str:
    """Return a picture's media type: by the start of its base64, as Anthropic does, else by the given name."""
    named = media_type.strip().lower()
    if not named.startswith("image/") and named not in _VAGUE:
        return media_type
    seen = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    return seen or _SAME.get(named, named or media_type)


def data_url(media_type: str, data: str) -> str:
    """Make a `data:` URL of base64 data."""
    return f"data:{media_type};base64,{data}"


def text_url(text: str) -> str:
    """Make a `data:` URL of plain text."""
    return data_url("text/plain", base64.b64encode(text.encode("utf-8", "surrogatepass")).decode())


def text_of(inline: Inline) -> str:
    """Decode inline content that is text."""
    return base64.b64decode(inline.data).decode("utf-8", "replace")
