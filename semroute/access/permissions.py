"""Decide which routes and models of a configuration a key may use. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.service import Budget
from semroute.errors import ForbiddenError
from semroute.messages import ChatRequest
from semroute.routing.decide import AUTO
from semroute.routing.policy import with_deployments
from semroute.stores.interfaces import LogScope

MAX_NAMES = 20
"""How many names a message lists."""


def usable_models(config: Config, caller: Caller) -> frozenset[str]:
    """Return the ids of the models that a caller may use, including deployments.

    A key for some routes may use the models of those routes and the default models. A prompt that no route matches goes
    to the default models, as with any other key.
    """
    found = config.models.values()
    if not caller.routes:
        return frozenset(model.id for model in found if caller.may_use(model.id, model.group))
    routes = [config.routes[name].models for name in caller.routes if name in config.routes]
    named = {id_ for models in (config.default.models, *routes) for id_ in models}
    return frozenset(m.id for m in found if (m.id in named or m.group in named) and caller.may_use(m.id, m.group))


def usable_routes(config: Config, caller: Caller) -> list[str]:
    """Return the names of the routes that a caller may use."""
    return [name for name in config.routes if caller.may_take(name)]


def barred(config: Config, caller: Caller) -> dict[str, str]:
    """Return the models that a caller may not use, each with the reason."""
    if not caller.restricted:
        return {}
    may = usable_models(config, caller)
    return {id_: f"the key {caller.id} may not use it" for id_ in config.models if id_ not in may}


def refusal(config: Config, caller: Caller, models: Iterable[str]) -> ForbiddenError | None:
    """Return the error if a caller may use none of these models. None: the key allows at least one."""
    wanted, may = list(models), usable_models(config, caller)
    if not caller.restricted or not wanted or not may.isdisjoint(wanted):
        return None
    return ForbiddenError(f"the key {caller.id} may not use {_listed(wanted)}, only {_listed(sorted(may)) or 'none'}")


def check_names(config: Config, caller: Caller, request: ChatRequest) -> None:
    """Raise `ForbiddenError` if a request names a route or model that its caller may not use. Unknown names pass."""
    if not caller.restricted:
        return
    route = request.model.removeprefix(f"{AUTO}:")
    if not request.models and route in config.routes and request.model != route:
        if not caller.may_take(route):
            raise ForbiddenError(f"the key {caller.id} may not use route {route!r}, only {_listed(caller.routes)}")
        named = [config.models[id_] for id_ in config.routes[route].models]
    else:
        asked = {request.model, *request.models}
        named = [model for model in config.models.values() if model.id in asked or model.name in asked]
    error = refusal(config, caller, [one.id for model in named for one in with_deployments(model, config.models)])
    if error is not None:
        raise error


def log_scope(config: Config, caller: Caller) -> LogScope | None:
    """Return the part of the log that a caller may read. None: all of it."""
    if not caller.restricted:
        return None
    return LogScope(
        key=caller.id,
        routes=caller.routes or None,
        models=tuple(sorted(usable_models(config, caller))) if caller.models else None,
    )


def may_see_budget(config: Config, caller: Caller, budget: Budget) -> bool:
    """Return whether a caller may see how much of a budget is spent."""
    if not caller.restricted:
        return True
    if budget.route is not None or budget.model is not None:
        return budget.route in usable_routes(config, caller) or budget.model in usable_models(config, caller)
    return (budget.key is not None and budget.key in (caller.id, caller.name)) or (
        budget.team is not None and budget.team == caller.team
    )


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = len(every) - MAX_NAMES
    return ", ".join(every[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
