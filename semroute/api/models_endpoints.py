"""List what `model` may be, in the form of each vendor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import get
from msgspec.structs import replace

from semroute.access.permissions import usable_models, usable_routes
from semroute.api import guards
from semroute.api.error_responses import AnyRequest, dialect_of
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.openai_shutdowns import shutdown_of
from semroute.config.schema.models import Model
from semroute.dialects.registry import model_list
from semroute.dialects.shared.model_list import Listed
from semroute.errors import UnknownModelError
from semroute.gateway.gateway import Gateway
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import alias_target, whole_names


@get(["/v1/models", "/v1beta/models"], guards=[guards.known])
async def models(request: AnyRequest) -> dict[str, Any]:
    """List what `model` may be with the caller's key: `auto`, each route as `auto:<route>`, and each model.

    The list has Gemini's form under `/v1beta`, or if the request has the header `x-goog-api-key` or
    `x-goog-api-client`. It has Anthropic's form if the request has the header `anthropic-version`, else OpenAI's.
    """
    return model_list(dialect_of(request)).render_page(_listed(request), request.query_params)


@get(["/v1/models/{name:path}", "/v1beta/models/{name:path}"], guards=[guards.known])
async def model(request: AnyRequest, name: str) -> dict[str, Any]:
    """Return one model."""
    wanted = name.removeprefix("/")
    gateway: Gateway = request.app.state.gateway
    target = alias_target(gateway.serving.router.config, wanted)
    found = next((replace(model, id=wanted) for model in _listed(request) if model.id == target), None)
    if found is None:
        raise UnknownModelError(f"model {wanted!r} does not exist; see /v1/models", param="model")
    return model_list(dialect_of(request)).render_one(found)


def _listed(request: AnyRequest) -> list[Listed]:
    gateway: Gateway = request.app.state.gateway
    return listed(gateway.serving.router.config, guards.caller_of(request))


def listed(config: Config, caller: Caller) -> list[Listed]:
    """Return what a caller may name."""
    may = usable_models(config, caller)
    real = [model for model in config.models.values() if model.id in may]
    virtual = [(AUTO, "Routes each request by its intent.")]
    virtual += [(f"{AUTO}:{name}", config.routes[name].description) for name in usable_routes(config, caller)]
    found = [*(_virtual(id_, about, real) for id_, about in virtual), *map(_real, real)]
    known = {model.id: model for model in found}
    named = ((alias, known.get(config.aliases[alias])) for alias in whole_names(config.aliases))
    return found + [replace(model, id=alias) for alias, model in named if model is not None]


def _virtual(id_: str, about: str, real: Sequence[Model]) -> Listed:
    return Listed(
        id=id_,
        owner="semroute",
        description=about,
        input_tokens=max((model.context_tokens or 0 for model in real), default=0) or None,
        output_tokens=max((model.max_output_tokens or 0 for model in real), default=0) or None,
        thinks=any("reasoning" in model.features for model in real),
        metadata={"description": about},
    )


def _real(model: Model) -> Listed:
    known = shutdown_of(model.name)
    date = model.shutdown_date or (known.date if known else None)
    return Listed(
        shutdown_date=date.isoformat() if date is not None else "",
        id=model.id,
        owner=model.provider,
        input_tokens=model.context_tokens,
        output_tokens=model.max_output_tokens,
        thinks="reasoning" in model.features,
        metadata={
            "name": model.name,
            "tier": model.tier,
            "context_tokens": model.context_tokens,
            "features": list(model.features),
            "input_price": float(model.input_price),
            "output_price": float(model.output_price),
        },
    )
