"""What the families of models on Amazon Bedrock take through Converse, by their names.

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
    """What a model takes."""

    claude: anthropic_models.Traits | None = None
    """It is a Claude, of this generation; None: another."""
    thinking: Literal["", "reasoningConfig", "reasoning_effort"] = ""
    """What tells it how much to think, where it is no Claude; empty: nothing does."""
    forced: Literal["", "any", "tool"] = ""
    """`any`: it can be forced to call a tool; `tool`: a certain one, too."""
    top_k: tuple[str, ...] = ()
    """Where `top_k` stands among its additional fields; empty: it takes none."""
    cache: bool = False
    """It takes cache points."""
    cache_ttl: bool = False
    """It takes a cache point's time to live."""
    cache_tools: bool = False
    """It takes cache points after tools."""
    schemas: bool = False
    """It takes a JSON Schema for its answer, and strict tools."""
    tells_errors: bool = False
    """It takes the status of a tool's result."""
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
"""The first that the name matches."""
_LONG_CACHE = re.compile(r"claude-(opus|sonnet|haiku)-(4-[5-9]|[5-9])|fable|mythos")


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """The traits of a model by its name; one that says nothing of the family is taken to know the common part only."""
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
