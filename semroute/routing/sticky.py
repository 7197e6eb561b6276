"""Keep a conversation on its route and model, unless its subject clearly changes. Pure.

A change is clear if another route leads the conversation's own by `CLEAR_MARGIN`, and the turn says something of its
own. "thanks", "ok" and "why?" match small talk with much confidence, but do not end a conversation about code. Staying
costs a few tokens. Leaving costs the provider's cache of all that was said. So a turn of fewer than `TELLING_TOKENS`
goes only to a route with better models: "fix my bug" leaves small talk, but "lol" does not leave coding.

Of 70 turns that only follow up, 48 lead by this margin on a shipped route, and one of these has that many tokens. Of
the held-out prompts that a route takes, 74% are clear.
"""

from __future__ import annotations

from msgspec.structs import replace

from semroute.bases import Frozen
from semroute.config.config import Config
from semroute.routing.decide import DEFAULT_TAKES_IT, Choice
from semroute.routing.difficulty import Standing
from semroute.routing.facts import Facts
from semroute.routing.policy import expected_quality

CLEAR_MARGIN = 0.5
"""How much more likely another route must be than the conversation's own."""
TELLING_TOKENS = 7
"""Estimated tokens: about five English words."""


class Remembered(Frozen, frozen=True, kw_only=True):
    """Where a conversation's last turn went."""

    route: str | None
    """The route. None: the default."""
    model: str
    """The model that answered, or that was planned first."""


def stick(config: Config, choice: Choice, remembered: Remembered | None, facts: Facts) -> Choice:
    """Keep the conversation's route and model, unless the prompt clearly asks for another route.

    Choices of rules and pins are kept, because they were made on purpose. The choice is also kept if the old route or
    model is gone from the files. The plan decides whether the model may still serve and suits.
    """
    if remembered is None or choice.reason in ("rule", "pinned"):
        return choice
    if remembered.route is not None and remembered.route not in config.routes:
        return choice
    home = config.default if remembered.route is None else config.routes[remembered.route]
    model = config.models.get(remembered.model)
    if model is None or (model.group or model.id) not in home.models:
        return choice
    if _leads(choice, remembered.route) and (
        _tells(choice, facts)
        or _best(config, choice.models, choice.route) > _best(config, home.models, remembered.route)
    ):
        return choice
    where = "the default" if remembered.route is None else remembered.route
    alone = choice.explanation.removesuffix(DEFAULT_TAKES_IT)
    return replace(
        choice,
        reason="sticky",
        explanation=f"the session stays on {where}, with {remembered.model} if it suits (this turn alone: {alone})",
        route=remembered.route,
        models=home.models,
        policy=home.policy or config.policy,
        stays_on=remembered.model,
    )


def _leads(choice: Choice, home: str | None) -> bool:
    """Return whether another route leads the conversation's by enough, or a classifier named it."""
    if choice.reason == "default" or choice.route == home:
        return False
    if choice.reason == "classifier":
        return True
    if home is None:
        return choice.compared.margin >= CLEAR_MARGIN
    own = next((one.confidence for one in choice.compared.candidates if one.route == home), 0.0)
    return choice.compared.confidence - own >= CLEAR_MARGIN


def _tells(choice: Choice, facts: Facts) -> bool:
    """Return whether the turn says enough by itself. If a classifier decided, it may have seen the earlier turns."""
    return choice.reason == "classifier" or facts.last_turn_tokens >= TELLING_TOKENS


def _best(config: Config, models: tuple[str, ...], route: str | None) -> float:
    """Return the highest quality among models."""
    return max(expected_quality(config.models[name], route, Standing()) for name in models)
