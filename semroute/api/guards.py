"""Check who may call a handler.

Guards are coroutines, because the framework runs plain functions in a thread. It also copies the handler for each call
of a guard, so handlers that answer prompts use `admit` instead.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from semroute.access.callers import Access
from semroute.api.accounting import Books
from semroute.caller import Caller, Scope
from semroute.config.dialects import key_headers
from semroute.errors import AccessError, ForbiddenError, RequestError

KEY_HEADERS = key_headers()
"""The headers in which clients of some vendors send a key. Others send it in `Authorization`."""
REFUSED_EVERY_S = 60.0
"""Seconds between two entries of the audit log about refused calls."""

Connection = ASGIConnection[Any, Any, Any, Any]


async def known(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in any valid key."""
    await admitted(connection, None)


async def caller(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in a key that may ask for answers."""
    await admitted(connection, "complete")


async def reader(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in a key that may read the log."""
    await admitted(connection, "read")


async def whole_log_reader(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in a key that may read the whole log."""
    found = await admitted(connection, "read")
    if found.restricted:
        raise ForbiddenError(
            f"the key {found.id} is limited to some routes or models, and this covers all: use a key without limits"
        )


async def admin(connection: Connection, _: BaseRouteHandler) -> None:
    """Let in a key that may operate the service. The audit log notes each call, and once a minute the refused ones."""
    books: Books = connection.app.state.books
    who = connection.client.host if connection.client else ""
    action = f"{connection.scope.get('method', '')} {connection.url.path}"
    try:
        who = (await admitted(connection, "admin")).id or who
    except RequestError:
        refusals: Refusals = connection.app.state.refusals
        if (detail := refusals.another()) is not None:
            who = getattr(connection.state, "caller", Caller()).id or who
            await books.ask(partial(books.keys.audit, who, action, detail, allowed=False))
        raise
    await books.ask(partial(books.keys.audit, who, action, connection.url.query))


class Refusals:
    """Counts refused admin calls. Anybody can make them, so they are noted together, not each in a row."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = -math.inf
        self._untold = 0

    def another(self) -> str | None:
        """Return what the audit log should say about this refused call and those before it. None: nothing yet."""
        self._untold += 1
        now = self._clock()
        if now < self._next:
            return None
        untold, self._untold, self._next = self._untold, 0, now + REFUSED_EVERY_S
        return f"and {untold - 1} more before it" if untold > 1 else ""


def admit(connection: Connection, scope: Scope | None, headers: Mapping[str, str] | None = None) -> Caller:
    """Return the caller, whose key must have the scope. Raises `AccessError` and `ForbiddenError`.

    `scope` None: any valid key will do. `headers`: those of the connection, if they have been read already.
    """
    access: Access = connection.app.state.access
    found = access.caller(token_of(connection.headers if headers is None else headers))
    connection.scope["state"]["caller"] = found
    if scope is not None and scope not in found.scopes:
        access.require(found, scope)
    return found


async def admitted(connection: Connection, scope: Scope | None, headers: Mapping[str, str] | None = None) -> Caller:
    """Return the caller as `admit` does. If the key is unknown, look in the database for a new one."""
    try:
        return admit(connection, scope, headers)
    except AccessError:
        await _look(connection, headers)
        return admit(connection, scope, headers)


async def may(connection: Connection, scope: Scope) -> bool:
    """Return whether the caller may do something."""
    try:
        await admitted(connection, scope)
    except RequestError:
        return False
    return True


def caller_of(connection: Connection) -> Caller:
    """Return the caller, after a guard has let them in."""
    found: Caller = connection.scope["state"]["caller"]
    return found


async def _look(connection: Connection, headers: Mapping[str, str] | None = None) -> None:
    """Look in the database once for an unknown key, however many requests send it meanwhile."""
    access: Access = connection.app.state.access
    books: Books = connection.app.state.books
    token = token_of(connection.headers if headers is None else headers)
    if access.looks_new(token) and await books.look_for_keys() and access.looks_new(token):
        access.note_stranger(token)


def token_of(headers: Mapping[str, str]) -> str:
    """Return the key in `Authorization: Bearer …`, else in a header of `KEY_HEADERS`. Empty: no key was sent."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return next((headers[name] for name in KEY_HEADERS if name in headers), "")


def identity(connection: Connection, caller: Caller) -> str:
    """Return what tells callers apart: the key's id, or the text that they send as a key if no key is needed."""
    if caller.id:
        return f"{caller.id} {caller.name}"
    return "\n".join(connection.headers.get(name, "") for name in ("authorization", *KEY_HEADERS))
