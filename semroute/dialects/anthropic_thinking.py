"""What Claude is told of thinking and sampling, wherever it is served.

Sources: https://platform.claude.com/docs/en/build-with-claude/extended-thinking,
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from semroute.dialects.anthropic_blocks import NAME
from semroute.dialects.anthropic_models import Traits
from semroute.dialects.dropped import Dropped
from semroute.dialects.thinking import budget_of, effort_of, is_sealed, wants_thinking
from semroute.dialects.turns import has_results
from semroute.types import ChatRequest, Effort, Message, Model, Params, Thinking

DEFAULT_MAX_TOKENS = 8192
"""Anthropic wants a limit; this one stands in where neither the caller nor the registry names one."""
MIN_BUDGET_TOKENS = 1024
_LOST = "reasoning effort: the thoughts before the last tool call are another provider's"


def thinking_of(
    request: ChatRequest, model: Model, traits: Traits, origins: Collection[str], dropped: Dropped
) -> dict[str, Any]:
    """Whether to think, and how much; empty: nothing is said of it. `origins`: whose thoughts it recognises."""
    params = request.params
    if not wants_thinking(request, model, dropped):
        return {}
    if effort_of(params) == "none":
        if traits.must_think:
            dropped.add("reasoning effort none: the model always thinks")
            return {}
        return {"type": "disabled"}
    if traits.adaptive:
        return {"type": "adaptive", **({"display": "summarized"} if params.show_thinking else {})}
    return _budget(request, model, origins, dropped)


def _budget(request: ChatRequest, model: Model, origins: Collection[str], dropped: Dropped) -> dict[str, Any]:
    """How many tokens it may think: less than it may answer in all."""
    max_tokens = max_tokens_of(request.params, model)
    wanted = budget_of(request.params) or -1
    exact = wanted > 0 and request.params.effort is None
    budget_tokens = wanted if exact else min(wanted if wanted > 0 else max_tokens, max_tokens // 2)
    budget_tokens = max(MIN_BUDGET_TOKENS, budget_tokens)
    if budget_tokens >= max_tokens:
        dropped.add(f"reasoning effort: max_tokens {max_tokens} leaves no room for {budget_tokens} tokens of thinking")
        return {}
    if _misses_thoughts(request.messages, origins):
        dropped.add(_LOST)
        return {}
    return {"type": "enabled", "budget_tokens": budget_tokens}


def _misses_thoughts(messages: tuple[Message, ...], origins: Collection[str]) -> bool:
    """Whether a tool's result is being answered, and what was thought before the turn's calls cannot be sent."""
    start = 0
    for number, message in enumerate(messages):
        after_result = number > 0 and messages[number - 1].role == "tool"
        if message.role == "user" and not after_result and not has_results((message,)):
            start = number + 1
    turn = messages[start:]
    if not has_results(turn):
        return False
    first = next((message for message in turn if message.role == "assistant"), None)
    return not any(isinstance(part, Thinking) and part.origin in origins for part in (first.parts if first else ()))


def keep_own_thoughts(body: dict[str, Any], request: ChatRequest, model: Model, dropped: Dropped) -> None:
    """Take the thoughts of other providers out of a caller's own body: Anthropic refuses what it has not signed."""
    messages: list[dict[str, Any]] = []
    for message in body.get("messages") or ():
        content = message.get("content")
        own = [block for block in content if not _is_foreign(block)] if isinstance(content, list) else content
        if own == content:
            messages.append(message)
            continue
        dropped.add("thinking of another provider")
        if own:
            messages.append({**message, "content": own})
    if dropped.notes:
        body["messages"] = messages
    # Who serves this dialect beside Anthropic may not sign: what has no origin is that provider's.
    if (body.get("thinking") or {}).get("type") == "enabled" and _misses_thoughts(request.messages, (NAME, "")):
        dropped.add(_LOST)
        del body["thinking"]
    if (request.params.max_tokens or 0) > (limit := max_tokens_of(request.params, model)):
        _leave_room(body, limit, dropped)


def _leave_room(body: dict[str, Any], max_tokens: int, dropped: Dropped) -> None:
    """Thinking must leave room for the answer where the model gives less than the caller allows."""
    match body.get("thinking"):
        case {"type": "enabled", "budget_tokens": int(budget_tokens)} if budget_tokens >= max_tokens:
            half = max_tokens // 2
            if half < MIN_BUDGET_TOKENS:
                dropped.add(f"thinking: max_tokens {max_tokens} leaves no room for it")
                del body["thinking"]
            else:
                dropped.adapt(f"budget_tokens {budget_tokens}: sent as {half}")
                body["thinking"] = {**body["thinking"], "budget_tokens": half}


def _is_foreign(block: dict[str, Any]) -> bool:
    return is_sealed(block.get("signature")) or is_sealed(block.get("data"))


def effort_level(request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> Effort | None:
    """The effort that a model of that generation is told, if any."""
    if not traits.efforts or "reasoning" not in model.features:
        return None
    effort = effort_of(request.params)
    if effort is None or effort == "none" or effort in traits.efforts:
        return None if effort == "none" else effort
    nearest: Effort = "low" if effort == "minimal" else "high"
    dropped.add(f"reasoning effort {effort}: sent as {nearest}")
    return nearest


def max_tokens_of(params: Params, model: Model) -> int:
    """The most that it may say, thinking included."""
    limit = model.max_output_tokens
    if params.max_tokens is None:
        return limit or DEFAULT_MAX_TOKENS
    return min(params.max_tokens, limit) if limit else params.max_tokens


def sampling_of(params: Params, traits: Traits, thinks: bool, dropped: Dropped) -> dict[str, Any]:
    """Anthropic's temperature ends at 1, and a model that thinks takes none. `top_p` goes with no temperature."""
    temperature, top_p, top_k = params.temperature, params.top_p, params.top_k
    if not traits.sampling or thinks:
        dropped.add_given(
            temperature=temperature is not None and temperature != 1,
            top_p=top_p is not None and top_p != 1,
            top_k=top_k is not None,
        )
        return {}
    if temperature is not None and temperature > 1:
        dropped.add(f"temperature {temperature:g}: sent as 1")
        temperature = 1.0
    if temperature is not None and top_p is not None:
        dropped.add_given(top_p=top_p != 1)
        top_p = None
    return {"temperature": temperature, "top_p": top_p, "top_k": top_k}
