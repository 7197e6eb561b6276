"""Tells what a provider's error means, by its words and codes. `refusals.toml` beside this file lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import msgspec

from semroute.bases import Frozen
from semroute.config.regular_expressions import Pattern, compiled, encodable
from semroute.errors import (
    ContentPolicyError,
    ContextLengthError,
    ProviderAuthError,
    ProviderError,
    ProviderModelError,
    ProviderServerError,
    RateLimitedError,
    UnsupportedError,
)

Name = Literal[
    "account",
    "over_limit",
    "overloaded",
    "rate_limited",
    "policy",
    "too_long",
    "unsupported",
    "model",
    "region",
    "key",
]
"""The meanings in order: if several fit, the first decides."""
MAX_CHARS = 4000
"""The most characters of an error that are read. The words that decide come first, and a long prompt may follow."""
LONGEST_WAIT_S = 86_400.0


class Meaning(NamedTuple):
    """What an error means for semroute."""

    error: type[ProviderError]
    status: int
    """The status, if the error came without one."""
    overrules: bool = False
    """This status replaces the provider's own. For example, a 400 may mean that our key is refused."""


MEANINGS: dict[Name, Meaning] = {
    "account": Meaning(ProviderAuthError, 402, overrules=True),
    "over_limit": Meaning(UnsupportedError, 413, overrules=True),
    "overloaded": Meaning(ProviderServerError, 529, overrules=True),
    "rate_limited": Meaning(RateLimitedError, 429),
    "policy": Meaning(ContentPolicyError, 400),
    "too_long": Meaning(ContextLengthError, 400),
    "unsupported": Meaning(UnsupportedError, 400),
    "model": Meaning(ProviderModelError, 404),
    "region": Meaning(ProviderAuthError, 403, overrules=True),
    "key": Meaning(ProviderAuthError, 401, overrules=True),
}


class RefusalWording(Frozen, frozen=True, kw_only=True):
    """The codes and words that one vendor uses for one meaning."""

    means: Name
    vendor: str
    codes: tuple[str, ...] = ()
    """Codes, compared as a whole and in lower case."""
    words: tuple[str, ...] = ()
    """Regular expressions that are searched for in the texts, in lower case."""
    source: str
    """Where somebody saw this error."""
    seen: date
    """When it was seen or read there."""


class _Table(Frozen, frozen=True):
    refusal: tuple[RefusalWording, ...]


def read(path: Path) -> tuple[RefusalWording, ...]:
    """Read the rows of a table of refusals."""
    return msgspec.toml.decode(path.read_bytes(), type=_Table).refusal


REFUSALS = read(Path(__file__).with_name("refusals.toml"))
_CODES: dict[str, Name] = {code: row.means for row in reversed(REFUSALS) for code in row.codes}
_WORDS: dict[Name, Pattern] = {
    name: compiled("(?ms)" + "|".join(word for row in REFUSALS if row.means == name for word in row.words))
    for name in get_args(Name)
}
_ALL = frozenset(get_args(Name))
_DECIDE: dict[int, frozenset[str]] = {
    401: frozenset({"account"}),
    402: frozenset({"account"}),
    429: frozenset({"account", "over_limit", "overloaded"}),
}
"""Statuses that are clear by themselves, with the meanings that words may still give them."""
_OF_5XX = _ALL - {"rate_limited", "overloaded"}
_OURS: frozenset[str] = frozenset({"account", "policy", "region", "key"})
_OWN_FAULT = re.compile(
    r"\b(?:unavailable|timed?.?out|down|had an error|internal error|connection|backend|crash(?:ed)?|unreachable)\b"
)
"""Words of a server that speaks of its own parts, such as its content filter. It refuses nothing then."""
_QUOTED = re.compile(
    r"(?P<of>\\?[\"']?(?<![\w.])(?:message|msg|error|details?|reason|description|title|template|exception)\\?[\"']?\s?[:=]\s?)?"
    r"(?<!\w)(?P<mark>[\"'`])(?P<said>(?:(?!(?P=mark)).|(?<=\w)(?P=mark)(?=\w))*)(?P=mark)(?!\w)"
    r"|“[^”]*”|«[^»]*»|»[^«]*«|「[^」]*」|『[^』]*』"
    r"|(?:(?<=value: )|(?<=input: )|(?<=\bgot ))[\"'`].*\Z",
    re.DOTALL,
)
"""Text in quotes, of which the last may be cut off. `of`: it is the message of another error."""


def meaning(status: int | None, codes: Iterable[str], texts: Iterable[str]) -> Meaning | None:
    """Return what the table says of an error. None: nothing. `status` is None if the error came without one."""
    decide = _OF_5XX if status is not None and status >= 500 else _DECIDE.get(status or 0, _ALL)
    lowered = [code.lower().rpartition("#")[2].partition(":")[0] for code in codes]  # AWS: `com.amazon#Name:https://…`
    said = _plain("\n".join((*lowered, *texts)))
    found = {_CODES[code] for code in lowered if code in _CODES}
    unclear = _OURS if status is not None and status >= 500 and _OWN_FAULT.search(said) else frozenset()
    for name, meant in MEANINGS.items():
        if name in decide and (name in found or (name not in unclear and _WORDS[name].search(said))):
            return meant
    return None


def _plain(text: str) -> str:
    """Return the text in lower case, with single spaces and plain quotes, without what it quotes of the request."""
    text = encodable(text[:MAX_CHARS]).lower().replace("%20", " ").replace("\u2019", "'")
    return without_quotes(re.sub(r"[ \t\r\f\v]+", " ", text))


def without_quotes(text: str) -> str:
    """Return the text without quoted sentences. They may be the caller's, unless they are another error's message."""
    return _QUOTED.sub(lambda quote: quote[0] if quote["of"] or quote[0].count(" ") < 2 else "''", text)


# --- when to ask again ------------------------------------------------------------------------------------------------

_WAIT = re.compile(
    r"\b(?:again|retry|wait)\b[^.\d]{0,24}?((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|hours?|h|minutes?|mins?|m"
    r"|seconds?|secs?|s)(?![a-z])\s*)+)",
    re.IGNORECASE,
)
_PIECE = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|mil|h|m|s)", re.IGNORECASE)
_FACTORS_S = {"ms": 0.001, "mil": 0.001, "h": 3600.0, "m": 60.0, "s": 1.0}


def wait_s(texts: Iterable[str]) -> float | None:
    """Return how long an error asks to wait, as in `Please try again in 1m2.5s`. None: it does not say."""
    found = _WAIT.search(without_quotes("\n".join(texts)[:MAX_CHARS]))
    if found is None:
        return None
    seconds = sum(float(number) * _FACTORS_S[unit.lower()] for number, unit in _PIECE.findall(found[1]))
    return seconds if seconds <= LONGEST_WAIT_S else None
