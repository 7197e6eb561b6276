"""Endpoints that learn from the service's own log, for the page `/ui` and for scripts.

The map of the utterances is made here. Everything else runs in a process of its own, one order at a time. Its answer is
a stream of lines: `{"progress": …}` again and again, then `{"result": …}` or `{"error": …}`. When the caller leaves,
the process is ended.
"""

from __future__ import annotations

import asyncio
import time

import msgspec
from litestar import MediaType, Response, get, post
from litestar.handlers import HTTPRouteHandler

from semroute.api import guards, openapi
from semroute.api.completions import decode
from semroute.api.error_responses import AnyRequest
from semroute.api.learning_jobs import LearningJobs
from semroute.api.request_intake import read_body
from semroute.api.streamed_responses import EventStream, Presence
from semroute.api.worker_pipe import Lifeline
from semroute.bases import Frozen, RouteFileStruct
from semroute.decision import Candidate
from semroute.dialects.shared.body_parsing import convert
from semroute.errors import NotFoundError, PayloadTooLargeError, RequestError
from semroute.gateway.gateway import Gateway
from semroute.learning.route_map import RouteMap, map_of, picture
from semroute.learning.service_jobs import WORKS, Order, Work
from semroute.messages import LONG_BYTES
from semroute.router import Router
from semroute.routing.difficulty import Reading

MAX_PROMPT_CHARS, MAX_PROMPT_BYTES = 100_000, 1_500_000
"""The longest prompt for the map, and the longest body. In JSON, a character takes up to 12 bytes."""
GUARDS = [guards.whole_log_reader]
"""Whoever may read the whole log may learn from it."""
_json = msgspec.json.Encoder().encode


class PromptOnMapBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /learning/map`: a prompt to put on the map."""

    prompt: str
    """Up to 100,000 characters."""


class PromptOnMap(Frozen, frozen=True, kw_only=True):
    """A prompt on the map."""

    config_version: str
    """The version of the route files. If it is not that of the map, ask for the map again."""
    x: float
    y: float
    route: str | None
    """The route that its meaning leads to. Rules are not asked. None: no route is sure enough."""
    in_scope: float | None
    candidates: tuple[Candidate, ...]


class Maps:
    """The map of the router in service. It is made once for each router."""

    def __init__(self) -> None:
        self._version = ""
        """The version of the route files that the map shows."""
        self._drawn: tuple[RouteMap, bytes] | None = None
        self._turn = asyncio.Lock()

    async def of(self, router: Router) -> tuple[RouteMap, bytes]:
        """Return the map of a router, and its picture as JSON. Raises `NotFoundError` if there is nothing to show."""
        if not router.config.routes:
            raise NotFoundError("there is no map, because the route files define no routes")
        async with self._turn:
            if self._drawn is None or self._version != router.config.version:
                self._drawn = await asyncio.to_thread(_drawn, router)
                self._version = router.config.version
            return self._drawn

    async def read(self, router: Router, prompt: str) -> Reading:
        """Return what a router reads from a prompt. One prompt is read at a time, so that requests come first."""
        async with self._turn:
            [reading] = await asyncio.to_thread(router.read, [prompt])
            return reading


def _drawn(router: Router) -> tuple[RouteMap, bytes]:
    made = map_of(router)
    return made, _json(picture(router, made))


@get("/learning/map", guards=GUARDS)
async def utterance_map(request: AnyRequest) -> Response[bytes]:
    """Return the places of routes and their utterances on a map in two dimensions, each from -1 to 1.

    A large set of utterances is thinned out.
    """
    gateway: Gateway = request.app.state.gateway
    maps: Maps = request.app.state.maps
    _, drawn = await maps.of(gateway.serving.router)
    return Response(drawn, media_type=MediaType.JSON)


@post("/learning/map", guards=GUARDS, status_code=200, operation_class=openapi.reads(PromptOnMapBody, dial=False))
async def prompt_on_map(request: AnyRequest) -> Response[bytes]:
    """Put a prompt on the map. Nothing is logged, and no model is called."""
    body = await read_body(request)
    if len(body) > MAX_PROMPT_BYTES:
        raise PayloadTooLargeError(f"the body has {len(body):,} bytes, expected at most {MAX_PROMPT_BYTES:,}")
    prompt = convert(decode(body), PromptOnMapBody).prompt
    if not prompt.strip() or len(prompt) > MAX_PROMPT_CHARS:
        got = f"{len(prompt):,} characters" if prompt.strip() else "no text"
        raise RequestError(f"prompt: got {got}, expected 1 to {MAX_PROMPT_CHARS:,}", param="prompt")
    gateway: Gateway = request.app.state.gateway
    maps: Maps = request.app.state.maps
    router = gateway.serving.router
    route_map, _ = await maps.of(router)
    reading = await maps.read(router, prompt)
    if not len(reading.embedding):
        raise RequestError("prompt: got a text that asks for nothing, expected some words", param="prompt")
    ((x, y),) = route_map.place(reading.embedding[None])
    placed = PromptOnMap(
        config_version=router.config.version,
        x=round(float(x), 4),
        y=round(float(y), 4),
        route=router.choose_semantic(reading.match).route,
        in_scope=reading.match.in_scope,
        candidates=reading.match.candidates,
    )
    return Response(_json(placed), media_type=MediaType.JSON)


async def _read(request: AnyRequest, kind: type[RouteFileStruct]) -> msgspec.Raw:
    """Return the body as MessagePack. Raises `RequestError`."""
    body = await read_body(request) or b"{}"

    def read() -> msgspec.Raw:
        return msgspec.Raw(msgspec.msgpack.encode(convert(decode(body), kind)))

    return await asyncio.to_thread(read) if len(body) > LONG_BYTES else read()


def _handler(name: str, work: Work) -> HTTPRouteHandler:
    """Return the handler that starts one kind of work."""

    async def begin(request: AnyRequest) -> EventStream:
        jobs: LearningJobs = request.app.state.learning_jobs
        lifeline: Lifeline = request.app.state.lifeline
        body = await _read(request, work.body)
        files = lifeline.good.files
        assert files is not None, "a service that has started knows its route files"
        order = Order(
            work=name,
            body=body,
            database_url=jobs.database_url,
            files=files,
            now=time.time(),
        )
        return EventStream(jobs.begin(request, order), Presence(request.receive), request.app.state.keepalive_s)

    begin.__doc__ = work.about
    operation = openapi.reads(work.body, dial=False)
    return post(f"/learning/{name}", guards=GUARDS, status_code=200, operation_class=operation)(begin)


HANDLERS = (utterance_map, prompt_on_map, *(_handler(name, work) for name, work in WORKS.items()))
