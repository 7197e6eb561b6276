"""A model with what is expected of it for one request: what plans are ordered by."""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.schema.models import Model


class Offer(Frozen, frozen=True, kw_only=True):
    """A model that may serve the request."""

    model: Model
    quality: float
    known: bool = True
    """Whether the quality is learned or stated; false: it is what its tier is taken for."""
    cost_usd: Decimal
    latency_ms: float | None
    place: int
    """In the list it comes from."""
    why: str = ""

    def because(self, why: str) -> Offer:
        """The same, in its place for this reason."""
        return replace(self, why=why)
