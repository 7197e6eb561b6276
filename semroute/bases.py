"""The two bases of every struct. All are frozen: a value that was passed on does not change."""

from __future__ import annotations

import msgspec


class Frozen(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs that the program makes."""


class RouteFileStruct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the structs that people write in route files: an unknown key is an error."""
