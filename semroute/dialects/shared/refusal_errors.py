"""The words in which each vendor tells its callers that a request is refused.

Clients and frameworks look for these codes and sentences. They then shorten the conversation, try another model or give
up. So a caller gets a refusal in the words of its own vendor, whichever vendor refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from semroute.dialects.shared.body_parsing import message_of
from semroute.errors import (
    ContentPolicyError,
    ContextLengthError,
    ProviderError,
    ProviderModelError,
    ProviderRequestError,
    SemrouteError,
    UnsupportedError,
)


class RefusalWords(NamedTuple):
    """The words for one kind of refusal."""

    signs: tuple[str, ...]
    """Phrases in this vendor's messages. One of them is enough."""
    opening: str
    """The start of the message, if the message has none of these phrases."""
    codes: tuple[str, ...] = ()
    """semroute sends the first code. A provider's own error with any of them is passed on unchanged."""
    param: str | None = None


Words = dict[type[ProviderError], RefusalWords]

OPENAI: Words = {
    ContextLengthError: RefusalWords(
        ("maximum context length", "exceeds the context window"),
        "This model's maximum context length is exceeded: ",
        ("context_length_exceeded",),
        "messages",
    ),
    ContentPolicyError: RefusalWords(
        ("safety system", "usage policy", "content management policy"),
        "Your request was rejected as a result of our safety system: ",
        ("content_policy_violation", "content_filter", "invalid_prompt", "cyber_policy"),
    ),
    ProviderModelError: RefusalWords(
        ("does not exist",), "The model does not exist or you do not have access to it: ", ("model_not_found",), "model"
    ),
}
"""Source: https://platform.openai.com/docs/guides/error-codes. Frameworks look for the code `context_length_exceeded`
(LangChain 1.7, DSPy 3.4), or for "maximum context length" (CrewAI 1.15)."""
ANTHROPIC: Words = {
    ContextLengthError: RefusalWords(("prompt is too long", "exceed context limit"), "prompt is too long: "),
    ContentPolicyError: RefusalWords(("content filtering policy",), "Output blocked by content filtering policy: "),
    ProviderModelError: RefusalWords(("model: ",), "model: "),
}
"""Source: https://docs.anthropic.com/en/api/errors."""
GEMINI: Words = {
    ContextLengthError: RefusalWords(
        ("exceeds the maximum number of tokens",),
        "The input token count exceeds the maximum number of tokens allowed: ",
    ),
    ProviderModelError: RefusalWords(
        ("is not found for API version",), "The model is not found for API version v1beta: "
    ),
}
"""Source: https://ai.google.dev/gemini-api/docs/troubleshooting."""


def in_vendors_words(
    error: SemrouteError, words: Words, written: Callable[[str], str] = str
) -> tuple[RefusalWords | None, str]:
    """Return a vendor's words for an error, if it has any, and the message in these words.

    `written`: writes a field's path as that vendor does.
    """
    message = message_of(error, written)
    known = next((told for kind, told in words.items() if isinstance(error, kind)), None)
    if known is None or any(sign in message for sign in known.signs):
        return known, message
    return known, known.opening + message


def own_fields(own: dict[str, Any] | None, error: SemrouteError, words: Words) -> dict[str, Any]:
    """Return the fields of a provider's own error if it uses this vendor's words, else none.

    A code decides, or a phrase if the vendor has no codes. If the vendor has no words for the error, any words will do.
    `own` is the provider's error. None: it does not have the vendor's form.
    """
    if own is None:
        return {}
    known, _ = in_vendors_words(error, words)
    if known is None:
        return own
    said = own.get("code") in known.codes if known.codes else any(sign in own["message"] for sign in known.signs)
    return own if said else {}


def refused_body(error: SemrouteError) -> bytes | None:
    """Return the body with which a provider refused the request. None: the error is of another kind."""
    refusals = (ProviderRequestError, ContextLengthError, ContentPolicyError, ProviderModelError, UnsupportedError)
    return error.body if isinstance(error, refusals) else None
