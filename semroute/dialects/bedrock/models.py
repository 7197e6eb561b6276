"""What the families of models on Amazon Bedrock accept over Converse, by name.

Sources: https://docs.aws.amazon.com/bedrock/latest/userguide/conversation-inference-supported-models-features.html,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ToolChoice.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html,
https://docs.aws.amazon.com/bedrock/latest/userguide/structured-output.html,
https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Literal

from semroute.bases import Frozen
from semroute.dialects.anthropic import models as anthropic_models


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model accepts."""

    claude: anthropic_models.Traits | None = None
    """The traits of its generation, if it is a Claude. None: it is another model."""
    thinking: Literal["", "reasoningConfig", "reasoning_effort"] = ""
    """The setting for thinking, for models other than Claude. Empty: there is none."""
    forced: Literal["", "any", "tool"] = ""
    """`any`: it can be forced to call some tool. `tool`: also to call a certain tool. Empty: neither."""
    top_k: tuple[str, ...] = ()
    """The path of `top_k` in its additional fields. Empty: it has no `top_k`."""
    cache: bool = False
    """It takes cache points."""
    cache_ttl: bool = False
    """It takes a time to live in cache points."""
    cache_tools: bool = False
    """It takes cache points after tools."""
    schemas: bool = False
    """It takes a JSON Schema for its answer, and strict tools."""
    tells_errors: bool = False
    """It takes a status in tool results."""
    cites: bool = False
    """It can cite documents."""


_NOVA = Traits(forced="tool", top_k=("inferenceConfig", "topK"), cache=True, tells_errors=True)
_NOVA_2 = Traits(
    forced="tool", top_k=("inferenceConfig", "topK"), cache=True, tells_errors=True, thinking="reasoningConfig"
)
_TRAITS: tuple[tuple[re.Pattern[str], Traits], ...] = (
    (re.compile(r"amazon\.nova-2"), _NOVA_2),
    (re.compile(r"amazon\.nova"), _NOVA),
    (re.compile(r"openai\.gpt"), Traits(schemas=True, thinking="reasoning_effort")),
    (
        re.compile(r"mistral\.(magistral|ministral|voxtral|mistral-large-3)"),
        Traits(forced="any", top_k=("top_k",), schemas=True),
    ),
    (re.compile(r"mistral\."), Traits(forced="any", top_k=("top_k",))),
    (re.compile(r"cohere\.command-r"), Traits(top_k=("k",))),
    (
        re.compile(r"qwen\.qwen3|deepseek\.v3|google\.gemma-3|minimax\.|moonshot\w*\.|nvidia\.nemotron"),
        Traits(schemas=True),
    ),
)
"""The first pattern that matches a name counts."""
_LONG_CACHE = re.compile(r"claude-(opus|sonnet|haiku)-(4-[5-9]|[5-9])|fable|mythos")


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """Return the traits of a model by its name. A name without a known family gets what all models accept."""
    if re.search("claude", name):
        claude = anthropic_models.traits_of(name)
        return Traits(
            claude=claude,
            forced="tool" if claude.forced else "",
            top_k=("top_k",),
            cache=True,
            cache_ttl=_LONG_CACHE.search(name) is not None,
            cache_tools=True,
            schemas=claude.schemas,
            tells_errors=True,
            cites=True,
        )
    return next((traits for pattern, traits in _TRAITS if pattern.search(name)), Traits())
