"""The short way from the server to a handler and back, without the layers of the framework.

The framework's routing, arguments, guards, hooks and response layers cost a request more time than its decision.
Handlers marked `direct` need none of them. They take only the request, check the caller, read the body and return a
`Response`. The framework does the rest for them, such as their documentation, and serves all other calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from litestar import Litestar, Request, Response
from litestar.enums import ScopeType
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.routes import HTTPRoute
from litestar.types import (
    HTTPResponseStartEvent,
    HTTPScope,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    LifeSpanSendMessage,
    Receive,
    Scope,
    Send,
)

from semroute.api import error_responses, http_connection, path_aliases
from semroute.api.decompression import CONTENT_ENCODING, DecodedBody
from semroute.api.error_responses import AnyRequest
from semroute.api.origin_checks import OriginGate, preflight, readable
from semroute.api.request_intake import Body, BodyLimits
from semroute.errors import RequestError

PIECE_BYTES = 64 * 1024
DIRECT = "direct"
"""The keyword that marks a direct handler."""


class Service(Litestar):
    """An application that calls direct handlers itself, and limits how many requests run at once."""

    failure = ""
    """Why the application cannot start, if the reason is not a defect. This says more than a traceback. Empty: it can
    start."""
    gate: OriginGate | None = None
    """Checks which requests are let in. None: the application has not started."""

    def __init__(self, *, bodies: BodyLimits, **options: Any) -> None:
        """`bodies`: the limits for bodies."""
        super().__init__(request_max_body_size=bodies.max_bytes, **options)
        self._bodies = bodies
        self._direct: Mapping[tuple[object, object], HTTPRouteHandler] = {
            (method, route.path): handler
            for route in self.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if handler.opt.get(DIRECT)
            for method in handler.http_methods
        }

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """Leave out what the framework has for models of other libraries. Its import of pydantic takes as long as the
        rest of this class.
        """
        return [*plugins, MsgspecDIPlugin()]

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Serve one connection scope."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(cast("HTTPScope", scope), cast("Receive", receive), cast("Send", send))
        elif scope["type"] == "lifespan":
            await super().__call__(scope, receive, self._telling(cast("LifeSpanSend", send)))
        else:
            await super().__call__(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        assert self.gate is not None, "nothing is served before the application has started"
        handler = self._direct.get((scope["method"], scope["path"]))
        if handler is None and (path := path_aliases.canonical(scope["path"])) != scope["path"]:
            scope["path"] = path
            handler = self._direct.get((scope["method"], path))
        scope["litestar_app"] = self
        scope.setdefault("state", {})
        found = self.gate.look(scope)
        welcome = b"origin" in found and self.gate.welcomes(found)
        if welcome:
            send = readable(send, found[b"origin"])
            if (headers := preflight(scope, found)) is not None:
                await send({"type": "http.response.start", "status": 204, "headers": headers})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
        try:
            self.gate.check(scope, found, welcome=welcome)
        except RequestError as error:
            request: AnyRequest = Request(scope, receive, send)
            refusal = error_responses.on_semroute_error(request, error)
            await refusal.to_asgi_response(None, request)(scope, receive, send)
            return
        body = Body(scope, receive, self._bodies)
        take: Receive = body
        if CONTENT_ENCODING in found:
            take = DecodedBody(body, scope, found[CONTENT_ENCODING], self._bodies.max_bytes)
        try:
            if handler is not None:
                await self._answer(handler, scope, take, send)
            else:
                await super().__call__(scope, take, send)
        finally:
            body.leave()

    def _telling(self, send: LifeSpanSend) -> LifeSpanSend:
        async def tell(message: LifeSpanSendMessage) -> None:
            if message["type"] == "lifespan.startup.failed" and self.failure:
                message = {"type": message["type"], "message": self.failure}
            await send(message)

        return tell

    async def _answer(self, handler: HTTPRouteHandler, scope: HTTPScope, receive: Receive, send: Send) -> None:
        request: AnyRequest = Request(scope, receive, send)
        try:
            response = await handler.fn(request)
        except Exception as error:  # noqa: BLE001 - as in the framework: each error is answered, and defects are logged
            response = error_responses.answer_to(request, error)
        await response.to_asgi_response(None, request)(scope, receive, send)


def headers_of(request: AnyRequest) -> dict[str, str]:
    """Return the request's headers, by names in lower case. If several have one name, the last counts."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in request.scope["headers"]}


class Rendered(Response[bytes]):
    """An answer with status 200 whose body is already JSON."""

    def __init__(self, body: bytes, headers: Mapping[str, str]) -> None:
        # This class needs nothing that the framework's own class prepares.
        self.content = body
        self._fields = {"content-type": "application/json", "content-length": str(len(body)), **headers}

    def to_asgi_response(self, app: Litestar | None, request: Any, **_: Any) -> Any:
        """Return the ASGI application that sends the answer."""
        return self._serve

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        head: HTTPResponseStartEvent = {
            "type": "http.response.start",
            "status": 200,
            "headers": encode_headers(self._fields),
        }
        body, connection = self.content, http_connection.connection_of(scope)
        if len(body) <= PIECE_BYTES and connection is not None and connection.send_whole(send, head, body):
            return
        await send(head)
        # A long body goes out in pieces. Each piece waits until the caller has taken the ones before. Until then the
        # request is under way.
        for start in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        last = body[-(len(body) % PIECE_BYTES or PIECE_BYTES) :]
        await send({"type": "http.response.body", "body": last, "more_body": False})


def encode_headers(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return headers in the form of ASGI."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
