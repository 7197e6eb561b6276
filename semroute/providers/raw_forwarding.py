"""Pass calls on to a provider as they are. Only their path and query are read."""

from __future__ import annotations

import asyncio
import time

from semroute.config.dialects import rules_of
from semroute.config.schema.providers import ProviderSettings
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.registry import provider_dialect
from semroute.errors import ProviderError, ProviderRequestError, ProviderTimeoutError
from semroute.providers import rate_limit_headers, trace_context
from semroute.providers.http_provider import MAX_ERROR_BYTES, HttpProvider
from semroute.providers.streamed_upload import PassingTransport, Upload
from semroute.providers.transport import Response, encode_headers

TIMEOUTS = Timeouts()
ANSWER_S = 120.0
"""Seconds that a provider may take to begin its answer, or to accept a piece of a body."""
_REFUSED = frozenset({400, 404, 405, 409, 413, 415, 422})
"""Statuses that mean a fault in the request itself."""


def can_pass_on(provider: ProviderSettings) -> bool:
    """Return whether calls can be passed on to a provider at all."""
    fixed = provider.preset in ("azure", "bedrock")  # these presets use other paths
    return rules_of(provider.dialect).of_openai and not fixed and provider.passthrough is not False


class PassingProvider(HttpProvider):
    """One provider, for calls that are passed on. They carry its key, and none of the caller's headers."""

    def __init__(self, provider: ProviderSettings, transport: PassingTransport) -> None:
        super().__init__(provider, provider_dialect(provider), transport)
        self._passing = transport

    async def ask(self, method: str, path: str, media_type: str, body: bytes | Upload) -> Response:
        """Send a call, and wait for the head of an answer with status 2xx. Call `aclose` on the answer.

        Raises `ProviderError`. If the provider refuses the request: `ProviderRequestError` with its status and body.
        """
        media = {"content-type": media_type} if body else {}
        plain = {name: value for name, value in self._plain_headers.items() if name != "content-type"}
        headers, url = encode_headers({**plain, **trace_context.trace.get(), **media}), self._base_url + path
        connect_s = TIMEOUTS.connect_s
        try:
            if isinstance(body, Upload):
                response = await self._passing.upload(
                    method, url, headers=headers, upload=body, connect_s=connect_s, answer_s=ANSWER_S
                )
            else:
                async with asyncio.timeout(ANSWER_S):
                    response = await self._passing.fetch(method, url, headers=headers, body=body, connect_s=connect_s)
            if not 200 <= response.status < 300:
                async with response:
                    raise await self._refusal(response)
        except TimeoutError:
            raise ProviderTimeoutError(f"no answer within {ANSWER_S:g} s") from None
        except ProviderError as error:
            raise self._told(error) from None
        return response

    async def read(self, response: Response) -> bytes:
        """Return the next bytes of an answer; empty at its end. Raises `ProviderError`."""
        try:
            return await response.read()
        except ProviderError as error:
            raise self._told(error) from None

    async def _refusal(self, response: Response) -> ProviderError:
        try:
            body = await response.aread(MAX_ERROR_BYTES)
        except ProviderError:
            body = b""
        error = self._dialect.parse_error(response.status, response.headers, body)
        if response.status in _REFUSED:
            error = ProviderRequestError(str(error), status=response.status, body=body)
        error.retry_after_s = rate_limit_headers.read(response.raw_headers, time.time()).retry_after_s
        return error
