"""A conversation stays where it is, unless what it is about clearly changes. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from semroute.config.schema import Config
from semroute.routing.decide import Choice
from semroute.types import Frozen

CLEAR_MARGIN = 0.2
"""How much more likely another route must be than the conversation's own. A turn such as "and the second one?" says
nothing of its own, and lands anywhere; a new subject leads by more."""


class Remembered(Frozen, frozen=True, kw_only=True):
    """Where a conversation's last turn went."""

    route: str | None
    """null: the default."""
    model: str
    """The model that answered, or was to."""


def stick(config: Config, choice: Choice, remembered: Remembered | None) -> Choice:
    """The conversation's route with its model first, unless the prompt clearly asks for another.

    Rules and pins are kept: they were set on purpose. So is the choice where the old place is gone from the files.
    """
    if remembered is None or choice.reason not in ("semantic", "default") or _changed(choice, remembered):
        return choice
    if remembered.route is not None and remembered.route not in config.routes:
        return choice
    home = config.default if remembered.route is None else config.routes[remembered.route]
    if remembered.model not in home.models:
        return choice
    where = "the default" if remembered.route is None else remembered.route
    return replace(
        choice,
        reason="sticky",
        explanation=f"the session stays on {where} with {remembered.model} ({choice.explanation})",
        route=remembered.route,
        models=(remembered.model, *(model for model in home.models if model != remembered.model)),
        policy=home.policy or config.policy,
    )


def _changed(choice: Choice, remembered: Remembered) -> bool:
    if choice.reason == "default" or choice.route == remembered.route:
        return False
    confidence = {candidate.route: candidate.confidence for candidate in choice.compared.candidates}
    own = choice.compared.threshold if remembered.route is None else confidence.get(remembered.route, 0.0)
    return choice.compared.confidence - own >= CLEAR_MARGIN
