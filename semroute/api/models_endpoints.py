"""What `model` may be, in the form of each vendor.

Sources: https://platform.openai.com/docs/api-reference/models, https://platform.claude.com/docs/en/api/models-list,
https://ai.google.dev/api/models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from litestar import get
from msgspec.structs import replace

from semroute.access.permissions import takeable, usable
from semroute.api import guards
from semroute.api.error_responses import AnyRequest, dialect_of
from semroute.bases import Frozen
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.openai_shutdowns import shutdown_of
from semroute.config.schema.models import Model
from semroute.errors import RequestError, UnknownModelError
from semroute.gateway.gateway import Gateway
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import meant, whole_names

MAX_PAGE = 1000
"""How many models one page holds at most, and in Anthropic's form also if nothing is said."""
GEMINI_PAGE = 50
"""How many one page holds in Gemini's form if nothing is said."""
UNKNOWN_DAY = "1970-01-01T00:00:00Z"
"""What Anthropic's form says of a model whose day is not known."""


class Listed(Frozen, frozen=True, kw_only=True):
    """A name that `model` may have."""

    id: str
    owner: str
    description: str = ""
    input_tokens: int | None = None
    """The most that it takes; of a virtual model, that its largest one takes."""
    output_tokens: int | None = None
    thinks: bool = False
    shutdown_date: str = ""
    """The day from which its provider does not serve it any more; empty: none is known."""
    metadata: dict[str, Any] = {}
    """What OpenAI's form tells besides."""


@get(["/v1/models", "/v1beta/models"], guards=[guards.known])
async def models(request: AnyRequest) -> dict[str, Any]:
    """What `model` may be with the caller's key: `auto`, each route as `auto:<route>`, and each model.

    In Gemini's form under `/v1beta`, and where the request has the header `x-goog-api-key` or `x-goog-api-client`; in
    Anthropic's where it has `anthropic-version`; else in OpenAI's.
    """
    return _PAGES.get(dialect_of(request).name, _openai_page)(request, _listed(request))


@get(["/v1/models/{name:path}", "/v1beta/models/{name:path}"], guards=[guards.known])
async def model(request: AnyRequest, name: str) -> dict[str, Any]:
    """One of them."""
    wanted = name.removeprefix("/")
    gateway: Gateway = request.app.state.gateway
    target = meant(gateway.serving.router.config, wanted)
    found = next((replace(model, id=wanted) for model in _listed(request) if model.id == target), None)
    if found is None:
        raise UnknownModelError(f"model {wanted!r} does not exist; see /v1/models", param="model")
    return _FORMS.get(dialect_of(request).name, _openai)(found)


def _listed(request: AnyRequest) -> list[Listed]:
    gateway: Gateway = request.app.state.gateway
    return listed(gateway.serving.router.config, guards.caller_of(request))


def listed(config: Config, caller: Caller) -> list[Listed]:
    """What a caller may name."""
    may = usable(config, caller)
    real = [model for model in config.models.values() if model.id in may]
    virtual = [(AUTO, "Routes each request by its intent.")]
    virtual += [(f"{AUTO}:{name}", config.routes[name].description) for name in takeable(config, caller)]
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


# --- the forms --------------------------------------------------------------------------------------------------------


def _openai(model: Listed) -> dict[str, Any]:
    """Source of `shutdown_date`: https://developers.openai.com/api/docs/deprecations, 2026-11-30."""
    ends = {"shutdown_date": model.shutdown_date} if model.shutdown_date else {}
    return {
        "id": model.id,
        "object": "model",
        "created": 0,
        "owned_by": model.owner,
        "metadata": model.metadata,
        **ends,
    }


def _anthropic(model: Listed) -> dict[str, Any]:
    return {
        **_openai(model),
        "type": "model",
        "display_name": model.id,
        "created_at": UNKNOWN_DAY,
        "lifecycle": "active",
        "max_input_tokens": model.input_tokens,
        "max_tokens": model.output_tokens,
    }


def _gemini(model: Listed) -> dict[str, Any]:
    limits = {"inputTokenLimit": model.input_tokens, "outputTokenLimit": model.output_tokens}
    return {
        "name": f"models/{model.id}",
        "baseModelId": model.id,
        "version": "1",
        "displayName": model.id,
        "description": model.description,
        **{name: tokens for name, tokens in limits.items() if tokens is not None},
        "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
        "thinking": model.thinks,
    }


def _openai_page(_: AnyRequest, every: Sequence[Listed]) -> dict[str, Any]:
    return {"object": "list", "data": [_openai(model) for model in every]}


def _anthropic_page(request: AnyRequest, every: Sequence[Listed]) -> dict[str, Any]:
    """`before_id` asks for those just before a model, `after_id` for those after one."""
    limit = _count(request, "limit", MAX_PAGE)
    before, after = request.query_params.get("before_id"), request.query_params.get("after_id")
    if before is not None:
        rest = every[: _place(every, before, "before_id")]
        page = rest[max(0, len(rest) - limit) :]
    else:
        rest = every[_place(every, after, "after_id") + 1 :] if after is not None else every
        page = rest[:limit]
    return {
        "data": [_anthropic(model) for model in page],
        "has_more": len(page) < len(rest),
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }


def _gemini_page(request: AnyRequest, every: Sequence[Listed]) -> dict[str, Any]:
    """A page's token is the id of the last model on it."""
    size = _count(request, "pageSize", GEMINI_PAGE)
    token = request.query_params.get("pageToken")
    rest = every[_place(every, token, "pageToken") + 1 :] if token else every
    page = rest[:size]
    more = {"nextPageToken": page[-1].id} if len(page) < len(rest) else {}
    return {"models": [_gemini(model) for model in page], **more}


def _place(every: Sequence[Listed], id_: str, name: str) -> int:
    """Where a model stands. Raises `RequestError`."""
    for place, model in enumerate(every):
        if model.id == id_:
            return place
    raise RequestError(f"?{name}: got {id_[:100]!r}, expected the id of a model in the list", param=name)


def _count(request: AnyRequest, name: str, default: int) -> int:
    """How many models a page may hold. Raises `RequestError`."""
    said = request.query_params.get(name)
    if said is None or (said == "0" and name == "pageSize"):
        return default
    if not (said.isascii() and said.isdigit()) or not int(said[:10]):
        raise RequestError(f"?{name}: got {said[:100]!r}, expected a number from 1 to {MAX_PAGE}", param=name)
    return min(int(said[:10]), MAX_PAGE)


_PAGES: dict[str, Callable[[AnyRequest, Sequence[Listed]], dict[str, Any]]] = {
    "anthropic": _anthropic_page,
    "gemini": _gemini_page,
}
_FORMS: dict[str, Callable[[Listed], dict[str, Any]]] = {"anthropic": _anthropic, "gemini": _gemini}
