"""Requests that no model of their route can take: which those are, and who takes them instead."""

from __future__ import annotations

from collections.abc import Iterator

from semroute.config.config import Draft
from semroute.config.problems import incomplete, problem_of, uncertain
from semroute.config.schema.models import Feature, ModelEntry
from semroute.errors import Problem

NEEDS: dict[Feature, str] = {"vision": "images", "tools": "tools", "json": "JSON as their output"}
"""What requests may need, in words."""
LONG_TOKENS = 200_000
"""A window of so many tokens is not told: hardly a request is longer."""
ADVICE = "add a model that can, or leave it so"


def check_substitutes(draft: Draft) -> Iterator[Problem]:
    """Plans whose requests may go to others, as far as single models tell; nothing where no model could take them."""
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
            message = f"none of these models takes {', or '.join(told)}: such requests go elsewhere"
            yield problem_of(draft, f"{key}.models", message, "info", "substitutes", ADVICE)


def _taker(draft: Draft, able: list[str]) -> str:
    """Who is asked first of those that can: the default's models in their order, then the cheapest."""
    models, default = draft.merged.models, draft.merged.default
    assert default is not None  # see `check_substitutes`
    usual = [id_ for id_ in default.models if id_ in able]
    return usual[0] if usual else min(able, key=lambda id_: models[id_].input_price + models[id_].output_price)


def _window(models: list[ModelEntry]) -> int | None:
    """The largest window; None: it is not known of all of them."""
    known = [model.context_tokens for model in models if model.context_tokens is not None]
    return max(known) if len(known) == len(models) else None
