"""Changes a body, also a caller's own, to what the chosen model accepts."""

from __future__ import annotations

from typing import Any

from semroute.dialects.gemini.models import Traits
from semroute.dialects.shared.alternating_turns import GO_ON, GO_ON_NOTE
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.model_abilities import EFFORTS, fitting_effort
from semroute.dialects.shared.thinking import BUDGETS

_SAMPLING = {"temperature": "temperature", "topP": "top_p", "topK": "top_k"}


def suit(body: dict[str, Any], traits: Traits, dropped: Dropped) -> None:
    """Change a body in place. What the model would refuse is changed or left out, with a note.

    Google takes field names in snake case too.
    """
    name = "generation_config" if "generation_config" in body else "generationConfig"
    config = body.get(name)
    if isinstance(config, dict):
        fitted = _config(config, traits, dropped)
        if fitted:
            body[name] = fitted
        else:
            del body[name]
    match body.get("contents"):
        case [*_, {"role": "model", "parts": [*parts]}] if not traits.prefill and not _calls(parts):
            dropped.add(GO_ON_NOTE)
            body["contents"] = [*body["contents"], {"role": "user", "parts": [{"text": GO_ON}]}]


def _calls(parts: list[Any]) -> bool:
    return any(isinstance(part, dict) and ("functionCall" in part or "function_call" in part) for part in parts)


def _config(config: dict[str, Any], traits: Traits, dropped: Dropped) -> dict[str, Any]:
    fitted = dict(config)
    if not traits.sampling:
        for field, what in _SAMPLING.items():
            for spelled in (field, what):
                value = fitted.pop(spelled, None)
                dropped.add_given(**{what: value is not None and not (field != "topK" and value == 1)})
    for name in ("thinkingConfig", "thinking_config"):
        thinking = fitted.get(name)
        if isinstance(thinking, dict):
            fitted[name] = _thinking(thinking, traits, dropped)
    return fitted


def _thinking(thinking: dict[str, Any], traits: Traits, dropped: Dropped) -> dict[str, Any]:
    """Change the thinking level to one that the model knows, in the caller's spelling."""
    for name, budget in (("thinkingLevel", "thinkingBudget"), ("thinking_level", "thinking_budget")):
        written = thinking.get(name)
        level = next((each for each in EFFORTS if isinstance(written, str) and each == written.lower()), None)
        if level is None:
            continue
        rest = {field: value for field, value in thinking.items() if field != name}
        if not traits.levels:
            dropped.adapt(f"reasoning_effort {level}: sent as {BUDGETS[level]} tokens")
            return {**rest, budget: BUDGETS[level]}
        fitted = fitting_effort(level, traits.levels, dropped)
        return {**rest, name: fitted.upper() if str(written).isupper() else fitted}
    return thinking
