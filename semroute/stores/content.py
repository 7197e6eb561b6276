"""What the log keeps of prompts and answers."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator

from semroute.record import Content

MAX_ERROR_CHARS = 500
MIN_QUOTED_CHARS = 8
"""A prompt's line that is shorter may be a part of any message by chance."""
_NO_QUOTES = str.maketrans("\"'", "  ")
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

    for secret in sorted(set(_secrets(text)), key=len, reverse=True):
        if len(secret) >= MIN_QUOTED_CHARS:
            text = text.replace(secret, "[SECRET]")
    cleaned: str = datafog.sanitize(_TOKEN.sub("[SECRET]", text), engine="regex")
    return cleaned


def _secrets(text: str) -> Iterator[str]:
    """What detect-secrets takes for keys and passwords.

    Of a single line it names every word, and leaves it to us which are as random as its limits say. Where something is
    quoted, it looks at nothing else: so each line is looked at without its quotes, too. A password without quotes it
    knows in settings alone, so each line is read as one of those.
    """
    from detect_secrets.core.scan import scan_line
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.keyword import KeywordDetector
    from detect_secrets.settings import default_settings, get_plugins

    settings = KeywordDetector()
    lines = dict.fromkeys(look for line in text.splitlines() for look in (line, line.translate(_NO_QUOTES)))
    with default_settings():
        limits = {
            plugin.secret_type: plugin for plugin in get_plugins() if isinstance(plugin, HighEntropyStringsPlugin)
        }
        for line in lines:
            for secret in (*scan_line(line), *settings.analyze_line(filename="settings.ini", line=line)):
                limit, value = limits.get(secret.type), secret.secret_value or ""
                if limit is None or limit.calculate_shannon_entropy(value) > limit.entropy_limit:
                    yield value


def without_prompt(error: str | None, prompt: str) -> str | None:
    """An error's text without what it quotes of the prompt: providers like to quote."""
    if error is None:
        return None
    for line in {prompt, *prompt.splitlines()}:
        if len(line.strip()) >= MIN_QUOTED_CHARS:
            error = error.replace(line.strip(), "[prompt]")
    return error[:MAX_ERROR_CHARS]
