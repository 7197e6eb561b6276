"""What the generations of Gemini take, by their names, and a body as the model that was chosen takes it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from semroute.bases import Frozen
from semroute.dialects.shared import model_abilities
from semroute.dialects.shared.alternating_turns import GO_ON, GO_ON_NOTE
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.model_abilities import EFFORTS, Line, fitting_effort
from semroute.dialects.shared.thinking import BUDGETS
from semroute.messages import Effort


class Traits(Frozen, frozen=True, kw_only=True):
    """What a model takes."""

    levels: tuple[Effort, ...] = ("low", "medium", "high")
    """How much it can be told to think; empty: it is told how many tokens."""
    sampling: bool = False
    """It takes `temperature`, `topP` and `topK`."""
    prefill: bool = False
    """It goes on with a last turn that is the model's."""
    signs_calls: bool = True
    """It refuses a call of a tool without its thought signature."""


_DOCS = "https://ai.google.dev/gemini-api/docs/"
LINES: tuple[Line[Traits], ...] = (
    Line(
        r"gemini-(1|2)[.-]",
        Traits(levels=(), sampling=True, prefill=True, signs_calls=False),
        _DOCS + "generate-content/thinking",
        "2026-11-30",
    ),
    # Minimal thinking is refused from 3.7 on, sampling is deprecated since 2026-07-21, and a final turn of the model is
    # refused by 3.6 and later; all of 3 take what is sent here.
    Line(r"gemini-([3-9]|\d\d)", Traits(), _DOCS + "generate-content/whats-new-gemini-3.6", "2026-11-30"),
)
"""The first line that fits a name counts."""
_UNKNOWN = Traits(sampling=True, prefill=True, signs_calls=False)
_SAMPLING = {"temperature": "temperature", "topP": "top_p", "topK": "top_k"}


@lru_cache(1024)
def traits_of(name: str) -> Traits:
    """The traits of a model by its name; one that stands in no line is told a level, and taken to refuse nothing."""
    return model_abilities.of(LINES, name, _UNKNOWN)


def suit(body: dict[str, Any], traits: Traits, dropped: Dropped) -> None:
    """Change a body in place: what the model would refuse is sent as it takes it, or left out with a note.

    Google takes the names of fields in snake case as well.
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
    """How much to think: a level as the model knows it, and in the caller's own spelling."""
    for name, budget in (("thinkingLevel", "thinkingBudget"), ("thinking_level", "thinking_budget")):
        written = thinking.get(name)
        level = next((each for each in EFFORTS if isinstance(written, str) and each == written.lower()), None)
        if level is None:
            continue
        rest = {field: value for field, value in thinking.items() if field != name}
        if not traits.levels:
            dropped.adapt(f"thinking level {level}: sent as {BUDGETS[level]} tokens")
            return {**rest, budget: BUDGETS[level]}
        fitted = fitting_effort(level, traits.levels, dropped)
        return {**rest, name: fitted.upper() if str(written).isupper() else fitted}
    return thinking
