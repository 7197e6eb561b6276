"""Decide what the log keeps of prompts and answers. datafog and detect-secrets find what is personal or secret."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Iterator

from semroute.record import Content

MAX_ERROR_CHARS = 500
MAX_SEARCHED_CHARS = 1_000_000
"""If a prompt is longer, little of an error is kept: a search for all its lines would hold up the event loop."""
MAX_REDACTED_CHARS = 16_384
"""How much of a text is redacted and kept. A megabyte takes some seconds, and other records wait meanwhile."""
LINE_CHARS, SHARED_CHARS = 1000, 200
"""A longer line is searched in overlapping parts, because the time grows with the square of its length."""
MIN_QUOTED_CHARS = 8
"""A shorter line of a prompt may occur in any message by chance, so it is not looked for."""
_NO_QUOTES = str.maketrans("\"'", "  ")
# Tokens that detect-secrets does not find, though their first letters tell what they are.
_TOKEN = re.compile(r"\b(?:sk|pk|rk|sr|gsk|xai|hf|tok|key|ghp|glpat|xox[a-z]|AIza)[-_A-Za-z0-9]{16,}\b")


def text_to_keep(text: str | None, content: Content) -> str | None:
    """Return a text as the log may keep it. Redaction takes a millisecond, so do not call this on the event loop."""
    if text is None or content == "none":
        return None
    if content == "hash":
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return redact(_ends(text)) if content == "redacted" else text


def _ends(text: str) -> str:
    """Return the head and the tail of a long text."""
    half = MAX_REDACTED_CHARS // 2
    return text if len(text) <= MAX_REDACTED_CHARS else f"{text[:half]}\n[…]\n{text[-half:]}"


def can_redact() -> bool:
    """Return whether the libraries of the extra `redact` are installed."""
    return all(importlib.util.find_spec(name) for name in ("datafog", "detect_secrets"))


def redact(text: str) -> str:
    """Remove keys and passwords (detect-secrets), e-mails, phone, card and social security numbers (DataFog)."""
    import datafog

    for secret in sorted(set(_secrets(text)), key=len, reverse=True):
        if len(secret) >= MIN_QUOTED_CHARS:
            text = text.replace(secret, "[SECRET]")
    cleaned: str = datafog.sanitize(_TOKEN.sub("[SECRET]", text), engine="regex")
    return cleaned


def _secrets(text: str) -> Iterator[str]:
    """Yield what detect-secrets takes for keys and passwords.

    From a single line it returns every word, so only those are yielded that are random enough by its limits. If a
    line holds quoted text, it looks at nothing else, so each line is searched without its quotes as well. It finds a
    password without quotes only in settings files, so each line is read as a line of such a file.
    """
    from detect_secrets.core.scan import scan_line
    from detect_secrets.plugins.high_entropy_strings import HighEntropyStringsPlugin
    from detect_secrets.plugins.keyword import KeywordDetector
    from detect_secrets.settings import default_settings, get_plugins

    settings = KeywordDetector()
    lines = dict.fromkeys(look for line in _lines(text) for look in (line, line.translate(_NO_QUOTES)))
    with default_settings():
        limits = {
            plugin.secret_type: plugin for plugin in get_plugins() if isinstance(plugin, HighEntropyStringsPlugin)
        }
        for line in lines:
            for secret in (*scan_line(line), *settings.analyze_line(filename="settings.ini", line=line)):
                limit, value = limits.get(secret.type), secret.secret_value or ""
                if limit is None or limit.calculate_shannon_entropy(value) > limit.entropy_limit:
                    yield value


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text, long ones in parts."""
    for line in text.splitlines():
        for place in range(0, max(1, len(line) - SHARED_CHARS), LINE_CHARS - SHARED_CHARS):
            yield line[place : place + LINE_CHARS]


def without_prompt(error: str | None, prompt: str) -> str | None:
    """Remove from an error's text what it quotes of the prompt, as providers often do."""
    if error is None:
        return None
    if len(prompt) > MAX_SEARCHED_CHARS:
        return f"{error.partition(':')[0][:MAX_ERROR_CHARS]}: [the prompt is too long to look for it here]"
    for line in {prompt, *prompt.splitlines()}:
        if len(quoted := line.strip()) >= MIN_QUOTED_CHARS and quoted in error:
            error = error.replace(quoted, "[prompt]")
    return error[:MAX_ERROR_CHARS]
