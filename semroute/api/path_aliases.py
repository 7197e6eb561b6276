"""Other paths of the same calls: some vendors' libraries always put a prefix before the path.

If a path begins with one of `PREFIXES`, it is served as if it began with the value beside it. So only the host needs to
be changed in the library.
"""

from __future__ import annotations

from typing import Final

PREFIXES: Final[dict[str, str]] = {
    "/openai/v1": "/v1",  # groq's library; Azure's newer address
    "/v1beta/openai": "/v1",  # Gemini's endpoint for OpenAI's clients
    "/v1/openai": "/v1",  # DeepInfra
    "/api/v1": "/v1",  # OpenRouter
    "/api/v3": "/v1",  # Volcengine's Ark
    "/inference/v1": "/v1",  # Fireworks
    "/inference": "/v1",  # GitHub Models
    "/compatible-mode/v1": "/v1",  # Qwen, of Alibaba's Model Studio
    "/compatibility/v1": "/v1",  # Cohere
    "/api/paas/v4": "/v1",  # Zhipu and Z.ai
    "/api/coding/paas/v4": "/v1",  # the same, for coding plans
    "/api/anthropic/v1": "/v1",  # the same, for Anthropic's clients
    "/anthropic/v1": "/v1",  # DeepSeek, Moonshot and MiniMax, for Anthropic's clients
    "/apps/anthropic/v1": "/v1",  # Qwen, for Anthropic's clients
}
"""Prefixes, each with its replacement. The longest one that fits counts, whatever the order."""
BARE: Final[frozenset[str]] = frozenset(
    f"/{path}" for path in ("chat/completions", "completions", "embeddings", "moderations", "responses", "models")
)
"""Paths that the libraries of DeepSeek and Perplexity use without any prefix."""
_LONGEST_FIRST = sorted(PREFIXES, key=len, reverse=True)


def canonical(path: str) -> str:
    """Return the path that is served for a path. In most cases it is the same."""
    if path in BARE:
        return f"/v1{path}"
    for prefix in _LONGEST_FIRST:
        if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "/":
            return PREFIXES[prefix] + path[len(prefix) :]
    return path
