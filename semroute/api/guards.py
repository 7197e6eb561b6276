"""Who may call a handler. Guards are coroutines: the framework runs plain functions in a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from semroute.access.callers import Access
from semroute.access.keys import KeyStore
from semroute.errors import RequestError
from semroute.record import Caller, Scope

Connection = ASGIConnection[Any, Any, Any, Any]


async def known(connection: Connection, _: BaseRouteHandler) -> None:
    """Any good key."""
    _identify(connection)


async def router(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may ask for decisions."""
    _require(connection, "route")


async def caller(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may ask for answers."""
    _require(connection, "complete")


async def reader(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may read the log."""
    _require(connection, "read")


async def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may operate. Each call is noted in the audit log, refused ones too."""
    store: KeyStore = connection.app.state.key_store
    who = connection.client.host if connection.client else ""
    allowed = False
    try:
        who = _require(connection, "admin").id or who
        allowed = True
    except RequestError:
        who = getattr(connection.state, "caller", Caller()).id or who
        raise
    finally:
        action = f"{connection.scope.get('method', '')} {connection.url.path}"
        await asyncio.to_thread(store.audit, who, action, connection.url.query, allowed=allowed)


def _require(connection: Connection, scope: Scope) -> Caller:
    access: Access = connection.app.state.access
    found = _identify(connection)
    access.require(found, scope)
    return found


def _identify(connection: Connection) -> Caller:
    access: Access = connection.app.state.access
    headers = connection.headers
    found = access.caller(headers.get("authorization"), headers.get("x-api-key") or headers.get("x-goog-api-key"))
    connection.state.caller = found
    return found
