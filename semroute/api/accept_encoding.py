"""How bodies may be compressed, and the error of those that are compressed in another way."""

from __future__ import annotations

from typing import Final

from semroute.errors import MediaTypeError

ENCODINGS: Final = "gzip, deflate, br, zstd"
"""As the header `accept-encoding` lists them."""


class EncodingError(MediaTypeError):
    """The request says that its body is compressed in a way that is not known here."""
