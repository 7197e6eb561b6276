"""The description of semroute's own dialect for the rest of semroute."""

from __future__ import annotations

from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.native.client import Native, NativeBody

_client = Native()

DIALECT = Dialect(
    client=_client,
    signs=Signs(shared_paths=("/",)),
    endpoints=(
        Endpoint(
            path="/complete",
            client=_client,
            body=NativeBody,
            about="Decide, call the model, and answer with the decision and the account.",
        ),
    ),
)
