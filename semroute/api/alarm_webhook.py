"""Tell an endpoint of the operator about alarms, as Standard Webhooks says (standardwebhooks.com, 1.0)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
from datetime import UTC, datetime

import msgspec

from semroute import __version__
from semroute.config.check_alarms import webhook_key
from semroute.config.schema.alarms import AlarmWebhook
from semroute.errors import ProviderError
from semroute.learning.alarm_watch import AlarmEvent
from semroute.providers.transport import Sender, encode_headers

DEADLINE_S = 5.0
"""The longest time that a message may take."""


def body_of(event: AlarmEvent) -> bytes:
    """Return the message as JSON. It holds no prompts and no answers."""
    alarm = event.alarm
    data = {**msgspec.structs.asdict(alarm), "text": alarm.text}
    data |= {name: _moment(getattr(alarm, name)) for name in ("at", "since")}
    message = {"type": event.type, "timestamp": _moment(event.at), "data": data}
    return msgspec.json.encode(message)


def headers_of(webhook: AlarmWebhook, event: AlarmEvent, body: bytes, now: float) -> dict[str, str]:
    """Return the headers of a message. `now`: seconds since 1970."""
    headers = {
        "content-type": "application/json",
        "user-agent": f"semroute/{__version__}",
        "webhook-id": event.id,
        "webhook-timestamp": str(int(now)),
    }
    key = None if webhook.secret is None else webhook_key(webhook.secret)
    if key is not None:
        signed = b"%b.%d.%b" % (event.id.encode(), int(now), body)
        digest = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
        headers["webhook-signature"] = f"v1,{digest}"
    return headers


async def tell(sender: Sender, webhook: AlarmWebhook, event: AlarmEvent, now: float) -> str | None:
    """Send a message once. Returns why it did not arrive. None: it did, with an answer of status 200 to 299.

    What the endpoint answers is not read, and no message names its address.
    """
    body = body_of(event)
    try:
        headers = encode_headers(headers_of(webhook, event, body, now))
        async with asyncio.timeout(DEADLINE_S):
            sent = sender.send("POST", webhook.url, headers=headers, body=body, connect_s=DEADLINE_S)
            async with await sent as response:
                status = response.status
    except TimeoutError:
        return f"it did not answer within {DEADLINE_S:g} s"
    except ProviderError as error:
        return str(error)
    return None if 200 <= status < 300 else f"it answered with status {status}, expected one from 200 to 299"


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
