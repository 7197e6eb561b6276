"""Which requests may be put to another model once more, and what that model gets. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.messages import CHAT, ChatRequest

KEPT_BY_PROVIDER = (
    "background",
    "cachedContent",
    "container",
    "conversation",
    "mcp_servers",
    "plugins",
    "previous_response_id",
    "prompt",
    "tools",
    "web_search_options",
)
"""The beginnings of the names of fields that no dialect shares: tools that the provider itself runs, and what it keeps.
Such a request would do something twice, or would be another request elsewhere."""


def can_mirror(request: ChatRequest) -> bool:
    """Return whether another model may get this request too."""
    if request.endpoint != CHAT or request.long:
        return False
    return not any([name.startswith(KEPT_BY_PROVIDER) for name in request.unread])


def mirrored(request: ChatRequest) -> ChatRequest:
    """Return the request that the other model gets: the conversation, the tools as declared, and the parameters.

    It is never streamed. It has none of the caller's own fields, so nothing is stored at the provider, and no user is
    named there.
    """
    params = replace(request.params, n=None, user="", service_tier="", logprobs=False, top_logprobs=None)
    return replace(
        request,
        params=params,
        stream=False,
        strict=False,
        session="",
        metadata={},
        headers={},
        dialect="",
        raw={},
        unread=(),
    )
