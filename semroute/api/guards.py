"""Who may call a handler. Guards are coroutines: the framework runs plain functions in a thread."""

from __future__ import annotations

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from semroute.access import Access

Connection = ASGIConnection[Any, Any, Any, Any]


async def caller(connection: Connection, _: BaseRouteHandler) -> None:
    """A caller's key, where one is configured."""
    access: Access = connection.app.state.access
    headers = connection.headers
    key = headers.get("x-api-key") or headers.get("x-goog-api-key")
    access.require_caller(headers.get("authorization"), key)


async def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """The admin key."""
    access: Access = connection.app.state.access
    access.require_admin(connection.headers.get("authorization"), connection.headers.get("x-api-key"))
