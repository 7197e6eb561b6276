"""Endpoints about the service itself: routes, health, metrics, reload."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Response, get, head, post

from semroute.access.callers import Access
from semroute.access.permissions import usable_models, usable_routes
from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.alarm_service import Alarms
from semroute.api.error_responses import AnyRequest
from semroute.config.config import Config
from semroute.errors import RequestError
from semroute.gateway.gateway import Gateway
from semroute.reload import Reloader
from semroute.telemetry.prometheus import CONTENT_TYPE, Gauges

MAX_TOLD = 20
"""The most models with an open circuit breaker that `/health/ready` names."""
SHOW_EVERY_S = 1.0
"""Seconds between two moments in which each of several workers writes down its values. Any worker may be asked for
them."""


@get("/routes", guards=[guards.known])
async def routes(request: AnyRequest) -> dict[str, Any]:
    """List the routes in service that the caller's key may use."""
    config, caller = _config(request), guards.caller_of(request)
    may = usable_models(config, caller)
    described = [
        {
            "name": route.name,
            "description": route.description,
            "utterances": len(route.utterances),
            "models": [model for model in route.models if model in may],
            "threshold": config.abstain.threshold if route.threshold is None else route.threshold,
        }
        for route in map(config.routes.__getitem__, usable_routes(config, caller))
    ]
    default = [model for model in config.default.models if model in may]
    return {"config_version": config.version, "routes": described, "default": default}


@get("/health/live")
async def live() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "alive"}


@head(["/health/live", "/health/ready"], include_in_schema=False)
async def probed() -> None:
    """Say that the process answers, without a body."""


@get("/health/ready")
async def ready(request: AnyRequest) -> dict[str, Any]:
    """Say whether requests can be served: `ready`, or `degraded` with warnings. `access` says who is served.

    Only callers who may read see the warnings. Others see how many there are.
    """
    gateway: Gateway = request.app.state.gateway
    reloader: Reloader = request.app.state.reloader
    access: Access = request.app.state.access
    broken = _listed([f"{model}: {why}" for model, why in gateway.serving.deployments.broken().items()])
    warnings = broken + [f"{model} cannot be called: {why}" for model, why in gateway.serving.unavailable.items()]
    if not gateway.serving.providers:
        warnings.insert(0, "no model can be called: requests that need an answer get status 503")
    if reloader.status.error is not None:
        warnings.insert(
            0, f"the route files cannot be used, so the last good ones stay in service: {reloader.status.error}"
        )
    books: Books = request.app.state.books
    alarms: Alarms = request.app.state.alarms
    troubles = books.warnings
    if gateway.learned is not None and gateway.learned.trouble is not None:
        troubles.append(f"grades cannot be read, so the quality learned last stays valid: {gateway.learned.trouble}")
    warnings += troubles + alarms.notes
    degraded = bool(troubles or broken) or not gateway.serving.providers or reloader.status.error is not None
    if warnings and not await guards.may(request, "read"):
        warnings = [f"{len(warnings)} warnings: send a key with the scope 'read' to see them"]
    if access.shut:  # nobody has a key, so anybody may see this
        warnings.append("every call needs a key, but no key exists: make one with `semroute keys create`")
    return {
        "status": "degraded" if degraded else "ready",
        "access": access.openness,
        "config_version": gateway.serving.router.config.version,
        "routes": len(gateway.serving.router.config.routes),
        "models_available": len(gateway.serving.providers),
        "warnings": warnings,
    }


@post("/admin/reload", guards=[guards.admin], status_code=200)
async def reload(request: AnyRequest) -> Response[dict[str, Any]]:
    """Read the route files now. If they cannot be used, the status is 409, and the old ones stay in service.

    With `dry_run=true` in the query, the old ones stay in any case, and the answer says what the new ones would change.
    """
    reloader: Reloader = request.app.state.reloader
    if _flag(request, "dry_run"):
        preview = await reloader.preview()
        dry = {"dry_run": True, **msgspec.to_builtins(preview)}
        return Response(dry, status_code=200 if preview.error is None else 409)
    status = await reloader.reload()
    body = {"config_version": status.config_version, "error": status.error}
    return Response(body, status_code=200 if status.error is None else 409)


def _flag(request: AnyRequest, name: str) -> bool:
    """Return whether a parameter of the query is true. Raises `RequestError` if it is neither true nor false."""
    said = request.query_params.get(name, "false")
    if said not in ("true", "false", "1", "0"):
        raise RequestError(f"{name}: got {said!r}, expected true or false", param=name)
    return said in ("true", "1")


def _listed(told: list[str]) -> list[str]:
    """Return the first of many warnings."""
    more = len(told) - MAX_TOLD
    return told if more <= 0 else [*told[:MAX_TOLD], f"and {more} more models whose circuit breaker is open"]


def _config(request: AnyRequest) -> Config:
    gateway: Gateway = request.app.state.gateway
    return gateway.serving.router.config


@get("/metrics", guards=[guards.whole_log_reader])
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Return Prometheus metrics. If keys are needed, this takes a key with the scope `read` and without limits."""
    books: Books = request.app.state.books
    if books.metrics is None:
        raise RequestError("metrics are switched off: set SEMROUTE_METRICS to true")
    books.metrics.show(_moment(request.app.state.gateway, books))
    return Response(books.metrics.render(), media_type=CONTENT_TYPE)


async def show(gateway: Gateway, books: Books) -> None:
    """Keep this worker's values up to date, because any worker may be asked. Runs until it is cancelled."""
    while books.metrics is not None:
        books.metrics.show(_moment(gateway, books))
        await asyncio.sleep(SHOW_EVERY_S)


def _moment(gateway: Gateway, books: Books) -> Gauges:
    waiting, dropped = (books.writer.waiting, books.writer.dropped) if books.writer else (0, 0)
    deployments = gateway.serving.deployments
    known, now = deployments.states(), deployments.clock.now()
    breakers = dict.fromkeys(gateway.serving.router.config.models, False)
    return Gauges(
        waiting=waiting,
        dropped=dropped,
        state_up=not books.state.error,
        running=gateway.recorder.running,
        breakers=breakers | {model: each.breaker.state(now) != "closed" for model, each in known.items()},
        latency_ms={model: each.latency_ms for model, each in known.items() if each.latency_ms is not None},
        learned={} if gateway.learned is None else gateway.learned.qualities(),
    )
