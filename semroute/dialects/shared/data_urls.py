"""Pictures and documents, inline: `data:` URLs. Source: https://www.rfc-editor.org/rfc/rfc2397."""

from __future__ import annotations

import base64
from urllib.parse import unquote_to_bytes

from semroute.bases import Frozen


class Inline(Frozen, frozen=True, kw_only=True):
    """Content that a URL holds itself."""

    media_type: str
    data: str
    """base64."""


def split_data_url(url: str) -> tuple[str, str, str] | None:
    """The media type, the parameters with their semicolons, and the data of a `data:` URL; None for any other."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:"):
        return None
    media_type, semicolon, parameters = head.removeprefix("data:").partition(";")
    return media_type, semicolon + parameters, data


def read_data_url(url: str) -> Inline | None:
    """What a `data:` URL holds; None for any other."""
    parts = split_data_url(url)
    if parts is None:
        return None
    media_type, parameters, data = parts
    if not parameters.endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return Inline(media_type=image_type(media_type or "text/plain", data), data=data)


_SAME = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/jfif": "image/jpeg", "image/x-png": "image/png"}
_SIGNATURES = {"/9j/": "image/jpeg", "iVBORw0KGgo": "image/png", "R0lGOD": "image/gif"}
"""How the base64 of a picture begins: https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern."""
_VAGUE = ("", "application/octet-stream", "binary/octet-stream", "image/*")


def image_type(media_type: str, data: str) -> str:
    """A picture's type as receivers know it: by how its base64 data begin, as Anthropic checks; else by its name."""
    named = media_type.strip().lower()
    if not named.startswith("image/") and named not in _VAGUE:
        return media_type
    seen = next((kind for signature, kind in _SIGNATURES.items() if data.startswith(signature)), None)
    return seen or _SAME.get(named, named or media_type)


def data_url(media_type: str, data: str) -> str:
    """A `data:` URL of base64 data."""
    return f"data:{media_type};base64,{data}"


def text_url(text: str) -> str:
    """A `data:` URL of plain text."""
    return data_url("text/plain", base64.b64encode(text.encode("utf-8", "surrogatepass")).decode())


def text_of(inline: Inline) -> str:
    """The text that inline content is."""
    return base64.b64decode(inline.data).decode("utf-8", "replace")
