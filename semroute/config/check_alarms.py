"""Check what route files say of alarms."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from urllib.parse import urlsplit

from semroute.config.config import Draft
from semroute.config.problems import error, warning
from semroute.config.problems import incomplete as _incomplete
from semroute.errors import Problem

SECRET = "whsec_"
"""The beginning of a secret whose rest is a key in base64, as Standard Webhooks writes it."""


def check_alarms(draft: Draft) -> Iterator[Problem]:
    """Find a webhook that cannot be called, and alarms that can never be raised.

    No message repeats the webhook's address or secret: the address may hold a token.
    """
    alarms, log = draft.merged.alarms, draft.merged.log
    if log is not None and not log.embedding and log.retry_minutes is not None:
        told = "`embedding` is false, so retries cannot be found"
        yield warning(draft, "log.retry_minutes", told, "no-embedding", "keep embeddings, or remove `retry_minutes`")
    if alarms is None:
        return
    if log is not None and not log.embedding and {"prompts", "in_scope"} & set(alarms.watch):
        told = "`log.embedding` is false, so the alarms `prompts` and `in_scope` have nothing to read"
        yield warning(draft, "alarms", told, "no-embedding", "keep embeddings, or write `watch: [quality]`")
    if alarms.webhook is None:
        return
    if _incomplete(draft, "alarms.webhook"):
        return
    if not _is_address(alarms.webhook.url):
        expected = "expected a whole address that starts with https:// or http://"
        yield error(draft, "alarms.webhook.url", f"got something else, {expected}")
    if alarms.webhook.secret is not None and webhook_key(alarms.webhook.secret) is None:
        expected = f"expected a key in base64 after {SECRET}, or a text that does not begin with it"
        yield error(draft, "alarms.webhook.secret", f"got something else, {expected}")


def webhook_key(secret: str) -> bytes | None:
    """Return the key that a secret stands for. None: it is not what it looks like."""
    if not secret.startswith(SECRET):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(SECRET), validate=True) or None
    except binascii.Error:
        return None


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return whole and url.isascii() and url.isprintable() and " " not in url
