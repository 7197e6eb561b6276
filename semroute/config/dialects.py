"""The wire formats that semroute speaks, and what route files may say of providers of each.

A new dialect is a folder in `semroute/dialects/` and a line in `DIALECTS`. This table stands below the folders, because
route files are checked without them.
"""

from __future__ import annotations

from semroute.bases import Frozen


class DialectRules(Frozen, frozen=True, kw_only=True):
    """What is known of a dialect before its folder is loaded."""

    providers: bool = True
    """Models are served in it. False: only callers speak it."""
    key_headers: tuple[str, ...] = ()
    """Headers that carry the keys of its callers, in lower case, besides `authorization`. No rule sees them."""
    presets: bool = False
    """A provider may name a preset: one of the servers that speak this dialect."""
    of_openai: bool = False
    """OpenAI serves its own models in it. For such a provider the shutdown dates of models are known, the list of
    models says more about each, and files, batches and moderations are at the same address."""
    aws: bool = False
    """AWS serves it. A provider has a region, and requests without a key are signed with AWS's credentials."""


DIALECTS: dict[str, DialectRules] = {
    "anthropic": DialectRules(key_headers=("x-api-key",)),
    "gemini": DialectRules(key_headers=("x-goog-api-key",)),
    "openai": DialectRules(key_headers=("api-key",), presets=True, of_openai=True),
    "responses": DialectRules(of_openai=True),
    "bedrock": DialectRules(aws=True),
    "ollama": DialectRules(providers=False),
    "native": DialectRules(providers=False),
}
"""By name, which is the name of the folder. If a call carries several keys, that of the first dialect counts."""
ECHO = "echo"
"""The `dialect` of providers that answer with the prompt. They need no server, so `echo` is not a wire format."""
_ECHO = DialectRules()


def rules_of(name: str) -> DialectRules:
    """Return the rules for what a provider names as its dialect."""
    return DIALECTS.get(name, _ECHO)


def provider_dialects() -> tuple[str, ...]:
    """Return the values that a provider's `dialect` may have."""
    return (*(name for name, rules in DIALECTS.items() if rules.providers), ECHO)


def key_headers() -> tuple[str, ...]:
    """Return the headers that carry callers' keys, besides `authorization`."""
    return tuple(header for rules in DIALECTS.values() for header in rules.key_headers)
