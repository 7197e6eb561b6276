"""Requests signed with AWS credentials (Signature Version 4). Needs the extra `bedrock`.

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
"""Credentials that expire sooner are not used any more: a request waits for others."""

_ADDRESS = re.compile(r"https?://\S{1,200}")
_FAILURES = (BotoCoreError, ClientError, OSError, ValueError, RuntimeError)

log = logging.getLogger("semroute.providers")
logging.getLogger("botocore").setLevel(logging.INFO)  # at debug it tells tokens, and what credentials came


class SigningSender:
    """Signs each request on its way to the transport. For one event loop.

    Credentials come from where all of AWS's tools take them (environment, profile, SSO, container, instance). They are
    looked for at the first request, and renewed in the background before they expire; both happen in a thread, as they
    read files and call services. All other requests are signed without a wait.
    """

    def __init__(self, sender: Sender, region: str, headers: Mapping[str, str], session: Session | None = None) -> None:
        """`headers`: those of the provider, which are signed too; `session`: None for AWS's defaults."""
        self._sender = sender
        self._region = region
        self._headers = {"content-type": "application/json", **{name.lower(): headers[name] for name in headers}}
        self._session = session
        self._credentials: Any = None
        self._frozen: Any = None
        """What requests are signed with."""
        self._renewal: asyncio.Task[None] | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """AWS quotes the session's token where it refuses a signature."""
        own = (self._frozen.secret_key, self._frozen.token) if self._frozen else ()
        return (*self._sender.secrets, *filter(None, own))

    async def send(self, method: str, url: str, *, headers: Headers, body: bytes, connect_s: float) -> Response:
        """As the sender's. Raises `ProviderAuthError` where there are no credentials."""
        if self._frozen is None or self._expires():
            renewal = self._renew()
            if self._frozen is None or self._expires(MIN_LIFE_S):
                await asyncio.shield(renewal)  # whoever gives up, others wait for it too
        signed = self._sign(method, url, body)
        lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items()).encode("ascii")
        both = Headers(headers.lines + lines, headers.names | {name.lower() for name in signed})
        return await self._sender.send(method, url, headers=both, body=body, connect_s=connect_s)

    def _expires(self, within_s: float | None = None) -> bool:
        """Whether the credentials do, within that time; None: the time after which botocore renews them."""
        renewable = isinstance(self._credentials, RefreshableCredentials)
        return renewable and bool(self._credentials.refresh_needed(within_s))

    def _renew(self) -> asyncio.Task[None]:
        """Find the credentials, or renew them: one task for all who ask meanwhile."""
        if self._renewal is None or self._renewal.done():
            self._renewal = asyncio.create_task(asyncio.to_thread(self._freeze))
            self._renewal.add_done_callback(_report)
        return self._renewal

    def _freeze(self) -> None:
        """Blocks."""
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
        """The headers that the signature adds."""
        request = AWSRequest(method=method, url=url, data=body, headers=self._headers)
        SigV4Auth(self._frozen, SERVICE, self._region).add_auth(request)
        return {name: value for name, value in request.headers.items() if name.lower() not in self._headers}


def _report(renewal: asyncio.Task[None]) -> None:
    """Who waits is told by an exception; in the background nobody waits."""
    if not renewal.cancelled() and (error := renewal.exception()) is not None:
        log.warning("%s", error)
