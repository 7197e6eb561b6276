"""Changes a caller's own body in Anthropic's form to what the chosen model accepts.

Callers write a body for one model, and routing may choose another. What that model would refuse is changed or left out
with a note: how much to think, sampling, a forced tool, a last turn of the assistant, and thinking blocks of another
model.
"""

from __future__ import annotations

from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.anthropic.api_versions import SAMPLING
from semroute.dialects.anthropic.content import NAME
from semroute.dialects.anthropic.models import Traits, family_of, reads_thoughts, traits_of
from semroute.dialects.anthropic.thinking import (
    LOST,
    MIN_BUDGET_TOKENS,
    fitted,
    is_on,
    max_tokens_of,
    misses_thoughts,
    sampling_of,
)
from semroute.dialects.shared.alternating_turns import GO_ON, GO_ON_NOTE
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.dialects.shared.thinking import is_sealed, unseal
from semroute.messages import ChatRequest

FORCED = "tool_choice: the model cannot be forced"
FORCED_THINKING = "tool_choice: a model that thinks cannot be forced"


def suit(body: dict[str, Any], request: ChatRequest, model: Model, dropped: Dropped) -> None:
    """Change the body in place. Nested values are copied before they are changed, because they are the caller's."""
    _keep_readable_thoughts(body, model, dropped)
    if family_of(model.name):
        _suit_claude(body, request, model, traits_of(model.name), dropped)
    # Other providers of this dialect may not sign thoughts, so one without an origin counts as theirs.
    if (body.get("thinking") or {}).get("type") == "enabled" and misses_thoughts(request.messages, (NAME, "")):
        dropped.add(LOST)
        del body["thinking"]
    if (request.params.max_tokens or 0) > (limit := max_tokens_of(request.params, model)):
        _leave_room(body, limit, dropped)


def _suit_claude(body: dict[str, Any], request: ChatRequest, model: Model, traits: Traits, dropped: Dropped) -> None:
    thinking, output = _object(body, "thinking"), _object(body, "output_config")
    effort = parse_effort(output.get("effort"))
    sent, level = fitted(thinking, effort, max_tokens_of(request.params, model), traits, dropped)
    if sent != thinking:
        _put(body, "thinking", sent)
    if level != effort:
        kept = {name: value for name, value in output.items() if name != "effort"}
        _put(body, "output_config", {**kept, **({"effort": level} if level else {})})
    thinks = is_on(sent)
    if any(name in body for name in SAMPLING) and (thinks or not traits.sampling or traits.schemas):
        settings = sampling_of(request.params, traits, thinks, dropped)
        for name in SAMPLING:
            _put(body, name, settings.get(name))
    _free_choice(body, traits, thinks, dropped)
    if not traits.prefill:
        _end_with_user(body, dropped)


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _put(body: dict[str, Any], name: str, value: object) -> None:
    """Set a field, or remove it if the value is None or empty."""
    if value in (None, {}):
        body.pop(name, None)
    else:
        body[name] = value


def _free_choice(body: dict[str, Any], traits: Traits, thinks: bool, dropped: Dropped) -> None:
    choice = _object(body, "tool_choice")
    if choice.get("type") not in ("any", "tool") or (traits.forced and not thinks):
        return
    dropped.add(FORCED_THINKING if traits.forced else FORCED)
    body["tool_choice"] = {"type": "auto", **{name: choice[name] for name in choice if name not in ("type", "name")}}


def _end_with_user(body: dict[str, Any], dropped: Dropped) -> None:
    match body.get("messages"):
        case [*messages, {"role": "assistant"} as last]:
            pass
        case _:
            return
    dropped.add(GO_ON_NOTE)
    body["messages"] = [*messages, last, {"role": "user", "content": GO_ON}]


# --- thinking blocks --------------------------------------------------------------------------------------------------


def _keep_readable_thoughts(body: dict[str, Any], model: Model, dropped: Dropped) -> None:
    """Remove the thoughts that the model cannot read. Anthropic refuses thoughts that it did not sign."""
    messages: list[dict[str, Any]] = []
    changed = False
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        if not isinstance(content, list):
            messages.append(message)
            continue
        own = [block for each in content if (block := _readable(each, model, dropped)) is not None]
        if own == content:
            messages.append(message)
            continue
        changed = True
        if own:
            messages.append({**message, "content": own})
    if changed:
        body["messages"] = messages


def _readable(block: Any, model: Model, dropped: Dropped) -> Any:
    """Return a block as the model reads it. None: the model cannot read it."""
    field = next((name for name in ("signature", "data") if isinstance(block, dict) and is_sealed(block.get(name))), "")
    if not field:
        return block
    thought = unseal("", block[field], NAME)
    if thought.origin != NAME:
        dropped.add("thinking of another provider")
        return None
    if not reads_thoughts(model.name, thought.model):
        dropped.add("thinking of another model")
        return None
    return {**block, field: thought.signature}


def _leave_room(body: dict[str, Any], max_tokens: int, dropped: Dropped) -> None:
    """Lower the thinking budget if the model's token limit is lower than the caller's, so that the answer has room."""
    match body.get("thinking"):
        case {"type": "enabled", "budget_tokens": int(budget_tokens)} if budget_tokens >= max_tokens:
            half = max_tokens // 2
            if half < MIN_BUDGET_TOKENS:
                dropped.add(f"thinking: max_tokens {max_tokens} leaves no room for it")
                del body["thinking"]
            else:
                dropped.adapt(f"thinking.budget_tokens {budget_tokens}: sent as {half}")
                body["thinking"] = {**body["thinking"], "budget_tokens": half}
