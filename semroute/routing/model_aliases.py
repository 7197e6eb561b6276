"""Names of models that clients insist on, and what they stand for here. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from semroute.config.check_aliases import WILD
from semroute.config.config import Config
from semroute.messages import ChatRequest
from semroute.routing.decide import AUTO

MAX_CHARS = 256
"""Characters. A longer name is not looked up."""


def alias_target(config: Config, name: str) -> str:
    """Return what a name stands for. `auto` and the ids of models stand for themselves."""
    if name == AUTO or name.startswith(f"{AUTO}:") or name in config.models or len(name) > MAX_CHARS:
        return name
    return next((target for alias, target in config.aliases.items() if _fits(alias, name)), name)


def resolve_aliases(config: Config, request: ChatRequest) -> ChatRequest:
    """Replace the aliases in a request by the names that they stand for."""
    if not config.aliases:
        return request
    model, models = alias_target(config, request.model), tuple(alias_target(config, name) for name in request.models)
    if (model, models) == (request.model, request.models):
        return request
    return replace(request, model=model, models=models)


def describe_alias(asked: ChatRequest, resolved: ChatRequest) -> str:
    """Say in words which alias was used. Empty: none."""
    if asked is resolved:
        return ""
    pairs = zip((asked.model, *asked.models), (resolved.model, *resolved.models), strict=True)
    return "".join(dict.fromkeys(f"; {name} is an alias of {target}" for name, target in pairs if name != target))


def whole_names(aliases: Iterable[str]) -> list[str]:
    """Return the aliases without `*`, which stand for one name each."""
    return [alias for alias in aliases if WILD not in alias]


def _fits(alias: str, name: str) -> bool:
    """Return whether an alias fits a name. Takes time in proportion to the name's length."""
    first, *others = alias.split(WILD)
    if not others:
        return name == alias
    *middle, last = others
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    place, end = len(first), len(name) - len(last)
    for piece in middle:
        found = name.find(piece, place, end)
        if found < 0:
            return False
        place = found + len(piece)
    return True
