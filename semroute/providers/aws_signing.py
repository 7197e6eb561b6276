"""Sign requests with AWS credentials (Signature Version 4). Needs the extra `bedrock`.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from semroute.errors import ProviderAuthError
from semroute.providers.transport import Headers, Response, Sender

SERVICE = "bedrock"
MIN_LIFE_S = 60
"""Credentials that expire within this many seconds are not used: the request waits for new ones."""

_ADDRESS = re.compile(r"https?://\S{1,200}")
_FAILURES = (BotoCoreError, ClientError, OSError, ValueError, RuntimeError)

log = logging.getLogger("semroute.providers")
logging.getLogger("botocore").setLevel(logging.INFO)  # at level debug it would log tokens and credentials


class SigningSender:
    """Signs each request before it goes to the transport. For one event loop.

    Credentials come from the usual places of AWS tools (environment, profile, SSO, container, instance). The first
    request looks for them, and they are renewed in the background before they expire. Both run in a thread, because
    they read files and call services. All other requests are signed without waiting.
    """

    def __init__(self, sender: Sender, region: str, headers: Mapping[str, str], session: Session | None = None) -> None:
        """`headers`: the provider's headers, which are signed too. `session`: None uses the defaults of AWS."""
        self._sender = sender
        self._region = region
        self._headers = {"content-type": "application/json", **{name.lower(): headers[name] for name in headers}}
        self._session = session
        self._credentials: Any = None
        self._frozen: Any = None
        """The credentials that requests are signed with. None: they have not been found yet."""
        self._renewal: asyncio.Task[None] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """The session's token: AWS quotes it when it refuses a signature."""
        own = (self._frozen.secret_key, self._frozen.token) if self._frozen else ()
        return (*self._sender.secrets, *filter(None, own))

    async def send(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """Sign and send a request. Raises `ProviderAuthError` if there are no credentials."""
        if self._frozen is None or self._expires():
            renewal = self._renew()
            if self._frozen is None or self._expires(MIN_LIFE_S):
                await asyncio.shield(renewal)  # shielded: other requests wait for the same renewal
        signed = self._sign(method, url, body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode("ascii")
        both = Headers(headers.lines + lines, headers.names | {name.lower() for name in signed})
        return await self._sender.send(method, url, headers=both, body=body, connect_s=connect_s)

    def _expires(self, within_s: float | None = None) -> bool:
        """Return whether the credentials expire within that time. None: the time in which botocore renews them."""
        renewable = isinstance(self._credentials, RefreshableCredentials)
        return renewable and bool(self._credentials.refresh_needed(within_s))

    def _renew(self) -> asyncio.Task[None]:
        """Find or renew the credentials, in one task for all requests that need them."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(asyncio.to_thread(self._freeze))
            self._renewal.add_done_callback(_report)
        return self._renewal

    def _freeze(self) -> None:
        """Find or renew the credentials. Blocking."""
        try:
            if self._credentials is None:
                self._session = self._session or Session()
                self._credentials = self._session.get_credentials()
            if self._credentials is None:
                raise ProviderAuthError("no AWS credentials were found, and the provider has no `api_key`")
            self._frozen = self._credentials.get_frozen_credentials()
        except _FAILURES as error:
            reason = _ADDRESS.sub("an address of AWS", str(error))
            raise ProviderAuthError(f"the AWS credentials cannot be used: {reason}") from None

    def _sign(self, method: str, url: str, body: bytes) -> dict[str, str]:
        """Return the headers that the signature adds."""
        request = AWSRequest(method=method, url=url, data=body, headers=self._headers)
        SigV4Auth(self._frozen, SERVICE, self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name.lower() not in self._headers}


def _report(renewal: asyncio.Task[None]) -> None:
    """Log why a renewal in the background failed. Requests that wait for it get an exception instead."""
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        log.warning("%s", error)
