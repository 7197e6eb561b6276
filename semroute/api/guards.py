"""Who may call a handler.

Guards are coroutines: the framework runs plain functions in a thread. It also copies the handler for each call of a
guard, so that what answers prompts uses `admit` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from semroute.access.callers import Access
from semroute.api.accounting import Books
from semroute.errors import RequestError
from semroute.record import Caller, Scope

Connection = ASGIConnection[Any, Any, Any, Any]


async def known(connection: Connection, _: BaseRouteHandler) -> None:
    """Any good key."""
    _identify(connection)


async def caller(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may ask for answers."""
    admit(connection, "complete")


async def reader(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may read the log."""
    admit(connection, "read")


async def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """A key that may operate. Each call is noted in the audit log, refused ones too."""
    books: Books = connection.app.state.books
    who = connection.client.host if connection.client else ""
    allowed = False
    try:
        who = admit(connection, "admin").id or who
        allowed = True
    except RequestError:
        who = getattr(connection.state, "caller", Caller()).id or who
        raise
    finally:
        action = f"{connection.scope.get('method', '')} {connection.url.path}"
        await books.ask(partial(books.keys.audit, who, action, connection.url.query, allowed=allowed))


def admit(connection: Connection, scope: Scope, headers: Mapping[str, str] | None = None) -> Caller:
    """Who calls, with a key that is good for that. Raises `AccessError` and `ForbiddenError`.

    `headers`: the connection's, where they have been read.
    """
    access: Access = connection.app.state.access
    found = _identify(connection, headers)
    access.require(found, scope)
    return found


def _identify(connection: Connection, headers: Mapping[str, str] | None = None) -> Caller:
    access: Access = connection.app.state.access
    headers = connection.headers if headers is None else headers
    found = access.caller(headers.get("authorization"), headers.get("x-api-key") or headers.get("x-goog-api-key"))
    connection.scope["state"]["caller"] = found
    return found
