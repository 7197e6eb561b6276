"""Find requests that no model of their route can take, and the models that take them instead."""

from __future__ import annotations

from collections.abc import Iterator

from semroute.config.config import Draft
from semroute.config.problems import incomplete, problem_of, uncertain
from semroute.config.schema.models import Feature, ModelEntry
from semroute.errors import Problem

NEEDS: dict[Feature, str] = {"vision": "images", "tools": "tools", "json": "JSON as their output"}
"""What a request may need, in words."""
LONG_TOKENS = 200_000
"""A context window of this many tokens or more is not reported: hardly any request is longer."""
ADVICE = "add a model that can, or ignore this if it is what you want"


def check_substitutes(draft: Draft) -> Iterator[Problem]:
    """Find plans whose requests may go to other models. A need that no model at all can meet is not reported."""
    models, merged = draft.merged.models, draft.merged
    if uncertain(draft, "models") or merged.default is None:
        return
    plans = {"default": merged.default.models} | {f"routes.{route.name}": route.models for route in merged.routes}
    for key, ids in plans.items():
        meant = [models[id_] for id_ in ids if id_ in models]
        if not meant or incomplete(draft, f"{key}.models"):
            continue
        told = []
        for feature, words in NEEDS.items():
            able = [id_ for id_, model in models.items() if feature in model.features]
            if able and not any(feature in model.features for model in meant):
                told.append(f"{words} (`{_taker(draft, able)}` does)")
        if (most := _window(meant)) is not None and most < LONG_TOKENS:
            larger = [id_ for id_, model in models.items() if (model.context_tokens or most + 1) > most]
            told += [f"more than {most:,} tokens (`{_taker(draft, larger)}` does)"] if larger else []
        if told:
            message = f"none of these models takes {', or '.join(told)}: such requests go to another model"
            yield problem_of(draft, f"{key}.models", message, "info", "substitutes", ADVICE)


def _taker(draft: Draft, able: list[str]) -> str:
    """Return the model that is asked first: the first of the default that can take the request, or else the
    cheapest.
    """
    models, default = draft.merged.models, draft.merged.default
    assert default is not None  # see `check_substitutes`
    usual = [id_ for id_ in default.models if id_ in able]
    return usual[0] if usual else min(able, key=lambda id_: models[id_].input_price + models[id_].output_price)


def _window(models: list[ModelEntry]) -> int | None:
    """Return the largest context window, or None if one of the windows is not known."""
    known = [model.context_tokens for model in models if model.context_tokens is not None]
    return max(known) if len(known) == len(models) else None
