"""The endpoints that Ollama's clients call: answers, and the list of models. Source: https://docs.ollama.com/api."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, head, post

from semroute.access.permissions import usable_models, usable_routes
from semroute.api import guards, openapi
from semroute.api.completions import answer, decode
from semroute.api.error_responses import AnyRequest
from semroute.api.fast_path import Rendered
from semroute.api.request_intake import read_body
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.dialects.ollama.client import (
    NothingAskedError,
    Ollama,
    OllamaChatBody,
    OllamaGenerate,
    OllamaGenerateBody,
    named,
)
from semroute.dialects.ollama.client_answer import Said, loaded, said_in_chat, said_in_text
from semroute.dialects.ollama.client_stream import LINES
from semroute.errors import RequestError, UnknownModelError
from semroute.gateway.gateway import Gateway
from semroute.routing.decide import AUTO
from semroute.routing.model_aliases import alias_target, whole_names

SPOKEN = "0.13.0"
"""The version of Ollama whose calls are served. Some clients refuse older ones."""
EPOCH = "1970-01-01T00:00:00Z"
DIGEST = "0" * 64
DEFAULT_CONTEXT_TOKENS = 128_000
"""The context length of a model without `context_tokens` in the route files."""
_CAPABILITIES = {"tools": "tools", "vision": "vision", "reasoning": "thinking"}
"""Ollama's names of capabilities, by feature."""
_chat = Ollama()
_generate = OllamaGenerate()


@post("/api/chat", status_code=200, operation_class=openapi.reads(OllamaChatBody), direct=True)
async def chat(request: AnyRequest) -> Response[Any]:
    """Ollama's chat: `model` is `auto`, `auto:<route>` or a model id. Streamed unless `stream` is false."""
    return await _answer(request, _chat, said_in_chat)


@post("/api/generate", status_code=200, operation_class=openapi.reads(OllamaGenerateBody), direct=True)
async def generate(request: AnyRequest) -> Response[Any]:
    """Ollama's generate: one prompt. Streamed unless `stream` is false."""
    return await _answer(request, _generate, said_in_text)


@get("/api/tags", guards=[guards.known])
async def tags(request: AnyRequest) -> dict[str, Any]:
    """List what `model` may be with the caller's key."""
    config, caller = _config(request), guards.caller_of(request)
    names = _names(config, caller)
    aliases = [alias for alias in whole_names(config.aliases) if config.aliases[alias] in names]
    return {"models": [_tag(name) for name in names + aliases]}


@get("/api/ps", guards=[guards.known])
async def running(request: AnyRequest) -> dict[str, Any]:
    """List the models in memory. The list is empty, because no model is loaded here."""
    return {"models": []}


@post("/api/show", status_code=200, guards=[guards.known])
async def show(request: AnyRequest) -> Response[bytes]:
    """Return what is known of a model."""
    body = decode(await read_body(request))
    name = body.get("model") or body.get("name")
    if not isinstance(name, str):
        raise RequestError("$.model: expected a model's name", param="model")
    return Rendered(msgspec.json.encode(_shown(_config(request), _find(request, named(name)))), {})


@get("/api/version", guards=[guards.known])
async def version(request: AnyRequest) -> dict[str, str]:
    """Return the version of Ollama whose calls are served."""
    return {"version": SPOKEN}


@head(["/", "/api/tags", "/api/version"], guards=[guards.known], include_in_schema=False)
async def probed() -> None:
    """Say that the service answers. Ollama's command asks this before each call."""


@get("/", guards=[guards.known], include_in_schema=False)
async def greeting() -> Response[bytes]:
    """Say in a text for people that the service answers."""
    return Response(b"semroute is running: see /ui and /schema", media_type="text/plain; charset=utf-8")


async def _answer(request: AnyRequest, dialect: Ollama, said: Said) -> Response[Any]:
    try:
        return await answer(request, dialect, media_type=LINES)
    except NothingAskedError as asked:
        _find(request, asked.model)
        return Rendered(msgspec.json.encode(loaded(asked.model, said, unload=asked.unload)), {})


def _config(request: AnyRequest) -> Config:
    gateway: Gateway = request.app.state.gateway
    return gateway.serving.router.config


def _names(config: Config, caller: Caller) -> list[str]:
    may = usable_models(config, caller)
    routes = [f"{AUTO}:{name}" for name in usable_routes(config, caller)]
    return [AUTO, *routes, *(id_ for id_ in config.models if id_ in may)]


def _find(request: AnyRequest, name: str) -> str:
    """Return what a name stands for, if the caller may use it. Raises `UnknownModelError`."""
    config = _config(request)
    found = alias_target(config, name)
    if found not in _names(config, guards.caller_of(request)):
        raise UnknownModelError(f"model {name!r} does not exist; see /api/tags", param="model")
    return name


def _tag(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": EPOCH,
        "size": 0,
        "digest": DIGEST,
        "details": _details(),
    }


def _details() -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "semroute",
        "family": "semroute",
        "families": ["semroute"],
        "parameter_size": "",
        "quantization_level": "",
    }


def _shown(config: Config, name: str) -> dict[str, Any]:
    """Describe what a model can do. `auto` and a route can do what at least one of their models can."""
    model = config.models.get(name)
    route = config.routes.get(name.removeprefix(f"{AUTO}:"))
    ids = [name] if model is not None else route.models if route is not None else list(config.models)
    models = [config.models[id_] for id_ in ids]
    features = {feature for each in models for feature in each.features}
    able = [capability for feature, capability in _CAPABILITIES.items() if feature in features]
    context = max((each.context_tokens or DEFAULT_CONTEXT_TOKENS for each in models), default=DEFAULT_CONTEXT_TOKENS)
    return {
        "modelfile": "",
        "parameters": "",
        "template": "{{ .Prompt }}",
        "license": "",
        "modified_at": EPOCH,
        "details": _details(),
        "model_info": {"general.architecture": "semroute", "semroute.context_length": context},
        "capabilities": ["completion", *able],
    }


HANDLERS = (chat, generate, tags, running, show, version, probed, greeting)
