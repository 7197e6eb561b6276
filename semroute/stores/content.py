"""What the log keeps of prompts and answers."""

from __future__ import annotations

import hashlib
import importlib.util
import re

from semroute.record import Content

MAX_ERROR_CHARS = 500
MIN_QUOTED_CHARS = 8
"""A prompt's line that is shorter may be a part of any message by chance."""
# What detect-secrets passes over: tokens that say what they are by their first letters.
_TOKEN = re.compile(r"\b(?:sk|pk|rk|sr|gsk|xai|hf|tok|key|ghp|glpat|xox[a-z]|AIza)[-_A-Za-z0-9]{16,}\b")


def kept(text: str | None, content: Content) -> str | None:
    """A text as the log may keep it. Takes a millisecond where it is redacted: not for the event loop."""
    if text is None or content == "none":
        return None
    if content == "hash":
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return redact(text) if content == "redacted" else text


def can_redact() -> bool:
    """Whether the libraries for it are there: the extra `redact`."""
    return all(importlib.util.find_spec(name) for name in ("datafog", "detect_secrets"))


def redact(text: str) -> str:
    """Without keys and passwords (detect-secrets), e-mails, phone, card and social security numbers (DataFog)."""
    import datafog
    from detect_secrets.core.scan import scan_line
    from detect_secrets.settings import default_settings

    with default_settings():
        found = {secret.secret_value for line in text.splitlines() for secret in scan_line(line)}
    for secret in sorted((secret for secret in found if secret and len(secret) >= MIN_QUOTED_CHARS), key=len)[::-1]:
        text = text.replace(secret, "[SECRET]")
    cleaned: str = datafog.sanitize(_TOKEN.sub("[SECRET]", text), engine="regex")
    return cleaned


def without_prompt(error: str | None, prompt: str) -> str | None:
    """An error's text without what it quotes of the prompt: providers like to quote."""
    if error is None:
        return None
    for line in {prompt, *prompt.splitlines()}:
        if len(line.strip()) >= MIN_QUOTED_CHARS:
            error = error.replace(line.strip(), "[prompt]")
    return error[:MAX_ERROR_CHARS]
