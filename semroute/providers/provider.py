"""The seam to the models."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.messages import ChatRequest, Chunk, Completion


class Provider(Protocol):
    """Serves models. Every method raises a `ProviderError`, and nothing else, when the call fails."""

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """Return a whole answer within `timeouts.total_s`."""
        ...

    def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """Yield an answer piece by piece. Closing the generator cancels the call.

        The first content comes within `first_token_s`, and each later piece within `stall_s`. A stream that ends
        before its finish reason raises `StreamBrokenError`.
        """
        ...

    async def aclose(self) -> None:
        """Close what the provider holds open."""
        ...
