"""Settings for thinking and sampling of Claude, whoever serves it.

Sources: https://platform.claude.com/docs/en/build-with-claude/extended-thinking,
https://platform.claude.com/docs/en/build-with-claude/adaptive-thinking.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.models import Traits
from semroute.dialects.shared.alternating_turns import has_results
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.model_abilities import EFFORTS, fitting_effort
from semroute.dialects.shared.thinking import BUDGETS, budget_of, effort_of, wants_thinking
from semroute.messages import ChatRequest, Effort, Message, Params, Thinking

DEFAULT_MAX_TOKENS = 8192
"""Anthropic requires a limit. This is used if neither the caller nor the route files give one."""
MIN_BUDGET_TOKENS = 1024
LOST = "reasoning_effort: the thoughts before the last tool call came from another provider"
Spoken = tuple[dict[str, Any], Effort | None]
"""The fields `thinking` and `effort` of a request. An empty `thinking` is left out."""


def thinking_of(
    request: ChatRequest, model: Model, traits: Traits, origins: Collection[str], dropped: Dropped
) -> Spoken:
    """Return the settings for thinking. `origins` are the providers whose thoughts the model recognises."""
    params = request.params
    if not wants_thinking(request, model, dropped):
        return {}, None
    effort = effort_of(params)
    if effort == "none":
        return switched_off(traits, None, dropped)
    if not traits.adaptive:
        return _budget(request, model, origins, dropped), None
    fitted = fitting_effort(effort, traits.efforts, dropped) if effort is not None else None
    return {"type": "adaptive", **({"display": "summarized"} if params.show_thinking else {})}, fitted


def switched_off(traits: Traits, effort: Effort | None, dropped: Dropped) -> Spoken:
    """Return the settings for no thinking, or for the least. `effort` is what the caller asks for as well."""
    if traits.off == "disabled":
        if (
            traits.off_up_to is not None
            and effort is not None
            and EFFORTS.index(effort) > EFFORTS.index(traits.off_up_to)
        ):
            dropped.add(f"reasoning_effort {effort}: sent as {traits.off_up_to}, as thinking is turned off")
            effort = traits.off_up_to
        return {"type": "disabled"}, effort
    if traits.off == "between_tools":
        dropped.adapt("reasoning_effort none: sent as `between_tools`")
        return {"type": "between_tools"}, effort
    lowest = traits.efforts[0]
    dropped.add(f"reasoning_effort none: the model always thinks, sent as {lowest}")
    return {}, lowest


def is_on(thinking: dict[str, Any]) -> bool:
    """Whether a `thinking` setting turns thinking on."""
    return thinking.get("type") in ("enabled", "adaptive")


def _budget(request: ChatRequest, model: Model, origins: Collection[str], dropped: Dropped) -> dict[str, Any]:
    """Return the setting with a budget of thinking tokens, which must be less than `max_tokens`."""
    max_tokens = max_tokens_of(request.params, model)
    wanted = budget_of(request.params) or -1
    exact = wanted > 0 and request.params.effort is None
    budget_tokens = wanted if exact else min(wanted if wanted > 0 else max_tokens, max_tokens // 2)
    budget_tokens = max(MIN_BUDGET_TOKENS, budget_tokens)
    if budget_tokens >= max_tokens:
        dropped.add(f"reasoning_effort: max_tokens {max_tokens} leaves no room for {budget_tokens} tokens of thinking")
        return {}
    if misses_thoughts(request.messages, origins):
        dropped.add(LOST)
        return {}
    return {"type": "enabled", "budget_tokens": budget_tokens}


def misses_thoughts(messages: tuple[Message, ...], origins: Collection[str]) -> bool:
    """Whether the request answers tool results, and the thoughts before those calls cannot be sent."""
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


# --- a caller's own settings ------------------------------------------------------------------------------------------


def fitted(
    thinking: dict[str, Any], effort: Effort | None, max_tokens: int, traits: Traits, dropped: Dropped
) -> Spoken:
    """Change a caller's settings for thinking to what the model accepts. They may be meant for another model."""
    if effort is not None and not traits.efforts:
        if thinking.get("type") != "adaptive":
            dropped.add(f"reasoning_effort {effort}")
            effort = None
    elif effort is not None:
        effort = fitting_effort(effort, traits.efforts, dropped)
    match thinking.get("type"):
        case "between_tools" if traits.off == "between_tools":
            return thinking, effort
        case "disabled" | "between_tools":
            return switched_off(traits, effort, dropped)
        case "enabled" if not traits.budgets:
            budget = thinking.get("budget_tokens")
            tokens = budget if isinstance(budget, int) else BUDGETS["high"]
            wanted: Effort = next((each for each, limit in BUDGETS.items() if 0 < tokens <= limit), "max")
            effort = effort or fitting_effort(wanted, traits.efforts, Dropped())
            dropped.add(f"thinking.budget_tokens {tokens}: sent as effort {effort}")
            shown = {"display": thinking["display"]} if "display" in thinking else {"display": "summarized"}
            return {"type": "adaptive", **shown}, effort
        case "adaptive" if not traits.adaptive:
            tokens = max(MIN_BUDGET_TOKENS, min(BUDGETS[effort or "high"], max_tokens // 2))
            if tokens >= max_tokens:
                dropped.add(f"thinking: max_tokens {max_tokens} leaves no room for it")
                return {}, None
            dropped.adapt(f"thinking.type adaptive: sent as budget_tokens {tokens}")
            return {"type": "enabled", "budget_tokens": tokens}, None
    return thinking, effort


# --- limits and sampling ----------------------------------------------------------------------------------------------


def max_tokens_of(params: Params, model: Model) -> int:
    """Return the token limit, which includes thinking."""
    limit = model.max_output_tokens
    if params.max_tokens is None:
        return limit or DEFAULT_MAX_TOKENS
    return min(params.max_tokens, limit) if limit else params.max_tokens


def sampling_of(params: Params, traits: Traits, thinks: bool, dropped: Dropped) -> dict[str, Any]:
    """Return the sampling settings. A model that thinks takes none, and `top_p` is not sent beside a temperature."""
    temperature, top_p, top_k = params.temperature, params.top_p, params.top_k
    if not traits.sampling or thinks:
        dropped.add_given(
            temperature=temperature is not None and temperature != 1,
            top_p=top_p is not None and top_p != 1,
            top_k=top_k is not None,
        )
        return {}
    if temperature is not None and top_p is not None:
        dropped.add_given(top_p=top_p != 1)
        top_p = None
    return {"temperature": temperature, "top_p": top_p, "top_k": top_k}
