"""A conversation stays where it is, unless what it is about clearly changes. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.config.schema import Config
from semroute.routing.decide import Choice
from semroute.types import Frozen

CLEAR_MARGIN = 0.5
"""How much more likely another route must be than the conversation's own. A turn such as "and the second one?" says
nothing of its own, and lands anywhere: of 20 like it 15 are taken by a shipped route, 5 of them by more than this. Of
the held-out prompts that are taken, 74% lead by more."""


class Remembered(Frozen, frozen=True, kw_only=True):
    """Where a conversation's last turn went."""

    route: str | None
    """null: the default."""
    model: str
    """The model that answered, or was to."""


def stick(config: Config, choice: Choice, remembered: Remembered | None) -> Choice:
    """The conversation's route and model, unless the prompt clearly asks for another route.

    Rules and pins are kept: they were set on purpose. So is the choice where the old place is gone from the files.
    Whether the model may still serve, and suits, is left to the plan.
    """
    if remembered is None or choice.reason in ("rule", "pinned") or _changed(choice, remembered):
        return choice
    if remembered.route is not None and remembered.route not in config.routes:
        return choice
    home = config.default if remembered.route is None else config.routes[remembered.route]
    model = config.models.get(remembered.model)
    if model is None or (model.group or model.id) not in home.models:
        return choice
    where = "the default" if remembered.route is None else remembered.route
    return replace(
        choice,
        reason="sticky",
        explanation=f"the session stays on {where}, on {remembered.model} where that suits ({choice.explanation})",
        route=remembered.route,
        models=home.models,
        policy=home.policy or config.policy,
        stays_on=remembered.model,
    )


def _changed(choice: Choice, remembered: Remembered) -> bool:
    if choice.reason == "default" or choice.route == remembered.route:
        return False
    if choice.reason == "classifier":
        return True
    confidence = {candidate.route: candidate.confidence for candidate in choice.compared.candidates}
    if remembered.route is None:
        return choice.compared.margin >= CLEAR_MARGIN
    return choice.compared.confidence - confidence.get(remembered.route, 0.0) >= CLEAR_MARGIN
