"""The seam to the models: what a provider does, and which one serves each entry of the route files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Protocol

from semroute.config.config import Config
from semroute.config.dialects import ECHO, rules_of
from semroute.config.schema.models import Model
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.registry import provider_dialect
from semroute.errors import ProviderAuthError, ProviderError
from semroute.messages import ChatRequest, Chunk, Completion
from semroute.providers.echo import EchoProvider
from semroute.providers.http_provider import HttpProvider, Observe
from semroute.providers.transport import Sender, Transport


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


class UnavailableProvider:
    """Takes the place of a provider that cannot be called. Each call says why."""

    def __init__(self, error_type: type[ProviderError], reason: str) -> None:
        self._error_type = error_type
        self._reason = reason

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """Raise."""
        raise self._error_type(self._reason)

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """Raise."""
        raise self._error_type(self._reason)
        yield  # makes this a generator, as the protocol needs it

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


def open_providers(config: Config, transport: Transport, observe: Observe | None = None) -> dict[str, Provider]:
    """Return a provider for each one that the configuration names, by id. None of them is called yet."""
    return {provider.id: _open(provider, transport, observe) for provider in config.providers.values()}


def _open(provider: ProviderSettings, transport: Transport, observe: Observe | None) -> Provider:
    if provider.dialect == ECHO:
        return EchoProvider()
    if provider.unavailable:
        return UnavailableProvider(ProviderAuthError, provider.unavailable)
    return HttpProvider(provider, provider_dialect(provider), _sender(provider, transport), observe)


def _sender(provider: ProviderSettings, transport: Transport) -> Sender:
    """Return the transport, or a sender that signs requests before they go to it."""
    authorized = provider.api_key or any(name.lower() == "authorization" for name in provider.headers)
    if not rules_of(provider.dialect).aws or authorized:
        return transport
    from semroute.providers.aws_signing import SigningSender  # this module imports botocore

    return SigningSender(transport, provider.region, provider.headers)
