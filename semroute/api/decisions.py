"""Endpoints that read the log: decisions, statistics, budgets, admin calls."""

from __future__ import annotations

import base64
import datetime
import struct
import time
from decimal import Decimal
from typing import Any

import msgspec
from litestar import MediaType, Response, get, post

from semroute.access.permissions import log_scope, usable_models, usable_routes
from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.completions import decode
from semroute.api.error_responses import AnyRequest
from semroute.bases import RouteFileStruct
from semroute.caller import Caller
from semroute.dialects.shared.body_parsing import convert
from semroute.errors import ForbiddenError, NotFoundError, RequestError
from semroute.gateway.gateway import Gateway
from semroute.learning.learned_table import learned_table
from semroute.stores.decision_log import MAX_PAGE
from semroute.stores.grades import read_grades
from semroute.stores.interfaces import LogScope, Query
from semroute.stores.rollups import ARM, DIMENSIONS, KEEP_DAYS, PURPOSE, day_of

MAX_DAYS = 30
"""How many days statistics cover if no span is given."""
LAST_S = datetime.datetime.max.replace(tzinfo=datetime.UTC).timestamp() - 1
"""The last moment that has a date, in seconds since 1970."""

_encoder = msgspec.json.Encoder(decimal_format="number")
_TEXTS = ("route", "model", "key", "team", "feature", "outcome", "error", "label")


class ResetBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /admin/budgets/reset`, which may be empty."""

    counter: str = ""


@get("/decisions", guards=[guards.reader])
async def decisions(request: AnyRequest) -> Response[bytes]:
    """List records, newest first. A key for some routes or models sees only their records and its own.

    Filters: `since`, `until`, `route`, `model`, `key`, `team`, `feature`, `outcome`, `label`, `error` (a part of its
    text), `min_cost_usd`, `max_cost_usd`. Pages: `limit`, and as `cursor` the `next_cursor` of the page before.
    """
    books: Books = request.app.state.books
    query = msgspec.structs.replace(read_query(request.query_params), within=_within(request))
    found = await books.ask(books.log.page, query)
    cursor = encode_cursor(found[-1]["id"]) if len(found) == query.limit else None
    return json_answer({"decisions": found, "next_cursor": cursor})


@get("/decisions/{id_:str}", guards=[guards.reader])
async def decision(request: AnyRequest, id_: str) -> Response[bytes]:
    """Return one whole record."""
    books: Books = request.app.state.books
    found = await books.ask(books.log.read, id_, _within(request))
    if found is None:
        raise NotFoundError(f"there is no decision {id_!r} in the log")
    vector = found.pop("embedding")
    packed = None if vector is None else base64.b64encode(struct.pack(f"<{len(vector)}e", *vector)).decode()
    del found["features"]  # long, and of use to a replay only
    return json_answer({**found, "embedding_float16": packed})


@get("/stats", guards=[guards.reader])
async def stats(request: AnyRequest) -> Response[bytes]:
    """Return totals `by` model, tier, route, key, team, feature, day or all, from `since` to `until`, inclusive.

    By `purpose`: what trials beside the requests were for, and what they cost. No other total holds them. By `arm`:
    the requests of each arm of an experiment, as `experiment/arm`.

    A key for some routes sees only totals by route, and a key for some models only totals by model.
    """
    books: Books = request.app.state.books
    parameters = request.query_params
    by = parameters.get("by", "model")
    if by not in (every := (*DIMENSIONS, "day", PURPOSE, ARM)):
        raise RequestError(f"by: got {by!r}, expected one of {', '.join(every)}", param="by")
    mine = _own_part(request, by)
    today = day_of(datetime.datetime.now(datetime.UTC).timestamp())
    since, until = _moment(parameters, "since"), _moment(parameters, "until")
    last = today if until is None else day_of(until)
    first = last - MAX_DAYS + 1 if since is None else day_of(since)
    rows = await books.ask(books.log.stats, by, first, last)
    if mine is not None:
        rows = [row for row in rows if row["value"] in mine]
    if by == "day":
        rows = [{**row, "value": iso_day(int(row["value"]))} for row in rows]
    if by == "key":
        rows = await books.ask(books.keys.named, rows)
    return json_answer({"by": by, "since": iso_day(first), "until": iso_day(last), "rows": rows})


@get("/learned", guards=[guards.reader])
async def learned(request: AnyRequest) -> Response[bytes]:
    """Show how good each model is on each route, as feedback and judges say. `learns`: whether decisions use it.

    A key for some routes or models sees only their rows.
    """
    books: Books = request.app.state.books
    gateway: Gateway = request.app.state.gateway
    config, caller, today = gateway.serving.router.config, guards.caller_of(request), day_of(time.time())
    _, days = await books.ask(read_grades, books.database, today - KEEP_DAYS)
    may, routes = usable_models(config, caller), usable_routes(config, caller)
    rows = [
        row
        for row in learned_table(config, days or (), today)
        if not caller.restricted or (row.model in may and (not row.route or row.route in routes))
    ]
    return json_answer({"rows": rows, "trouble": gateway.learned.trouble if gateway.learned is not None else None})


@get("/budgets", guards=[guards.reader])
async def budgets(request: AnyRequest) -> Response[bytes]:
    """List each budget that concerns the caller's key, and how much of it is spent."""
    books: Books = request.app.state.books
    gateway: Gateway = request.app.state.gateway
    config, reader = gateway.serving.router.config, guards.caller_of(request)
    return json_answer({"budgets": await books.accounts.report(config, await _callers(books), reader)})


@post("/admin/budgets/reset", guards=[guards.admin], status_code=200)
async def reset_budget(request: AnyRequest) -> Response[bytes]:
    """Set what was spent of a budget to 0. `counter`, in the query or the body, names it as in `GET /budgets`."""
    books: Books = request.app.state.books
    gateway: Gateway = request.app.state.gateway
    counter = request.query_params.get("counter") or convert(decode(await request.body() or b"{}"), ResetBody).counter
    if not await books.reset(gateway.serving.router.config, await _callers(books), counter):
        got = f"got {counter!r}" if counter else "is missing"
        raise RequestError(f"counter: {got}, expected one that GET /budgets names", param="counter")
    return json_answer({"counter": counter, "spent_usd": 0})


@get("/admin/audit", guards=[guards.admin])
async def audit(request: AnyRequest) -> Response[bytes]:
    """List admin calls, newest first."""
    books: Books = request.app.state.books
    return json_answer({"audit": await books.ask(books.keys.audited)})


def _within(request: AnyRequest) -> LogScope | None:
    gateway: Gateway = request.app.state.gateway
    return log_scope(gateway.serving.router.config, guards.caller_of(request))


def _own_part(request: AnyRequest, by: str) -> frozenset[str] | None:
    """Return which rows of statistics a caller may see. None: all. Raises `ForbiddenError`."""
    caller = guards.caller_of(request)
    gateway: Gateway = request.app.state.gateway
    config = gateway.serving.router.config
    if not caller.restricted:
        return None
    if by == "route" and not caller.models:
        return frozenset(caller.routes)
    if by == "model" and not caller.routes:
        return usable_models(config, caller)
    some = " and ".join(kind for kind, names in (("routes", caller.routes), ("models", caller.models)) if names)
    instead = {"routes": "by=route", "models": "by=model"}.get(some, "a key without these limits")
    raise ForbiddenError(
        f"the key {caller.id} is limited to some {some}, and statistics by {by} cover more than these: use {instead}"
    )


async def _callers(books: Books) -> list[Caller]:
    """Return the callers whose keys are still valid."""
    now = time.time()
    return [key.caller for key in await books.ask(books.keys.all) if not key.ended(now)]


def read_query(parameters: Any) -> Query:
    """Read the filters of a query string. Raises a `RequestError` that names the parameter at fault."""
    known = {*_TEXTS, "since", "until", "min_cost_usd", "max_cost_usd", "limit", "cursor"}
    for name in parameters:
        if name not in known:
            raise RequestError(f"{name}: unknown, expected one of {', '.join(sorted(known))}", param=name)
    limit = _number(parameters, "limit")
    if limit is not None and not (limit == int(limit) and 1 <= limit <= MAX_PAGE):
        raise RequestError(f"limit: got {limit}, expected a whole number from 1 to {MAX_PAGE}", param="limit")
    cursor = parameters.get("cursor")
    return Query(
        **{name: parameters[name] for name in _TEXTS if name in parameters},
        since=_moment(parameters, "since"),
        until=_moment(parameters, "until"),
        min_cost_usd=_number(parameters, "min_cost_usd"),
        max_cost_usd=_number(parameters, "max_cost_usd"),
        limit=50 if limit is None else int(limit),
        before=None if cursor is None else _decode_cursor(cursor),
    )


def encode_cursor(id_: str) -> str:
    """Return the cursor of the next page."""
    return base64.urlsafe_b64encode(id_.encode()).decode()


def iso_day(day: int) -> str:
    """Turn days since 1970 into YYYY-MM-DD."""
    return (datetime.date(1970, 1, 1) + datetime.timedelta(days=day)).isoformat()


def _decode_cursor(cursor: str) -> str:
    try:
        return base64.b64decode(cursor, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise RequestError(
            f"cursor: got {cursor!r}, expected `next_cursor` of the page before", param="cursor"
        ) from None


def _moment(parameters: Any, name: str) -> float | None:
    """Read a time: ISO 8601, in UTC unless it has an offset, or seconds since 1970."""
    text = parameters.get(name)
    if text is None:
        return None
    try:
        try:
            moment = datetime.datetime.fromtimestamp(float(text), datetime.UTC)
        except ValueError:
            moment = datetime.datetime.fromisoformat(text.replace(" ", "+"))
    except (ValueError, OverflowError):
        expected = "expected a time such as 2026-01-31 or 2026-01-31T12:00:00Z"
        raise RequestError(f"{name}: got {text!r}, {expected}", param=name) from None
    seconds = (moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)).timestamp()
    return min(max(0.0, seconds), LAST_S)  # an offset may lead past the first or last moment


def _number(parameters: Any, name: str) -> Decimal | None:
    text = parameters.get(name)
    if text is None:
        return None
    try:
        number = Decimal(text)
    except ArithmeticError:
        raise RequestError(f"{name}: got {text!r}, expected a number", param=name) from None
    if not number.is_finite() or number.copy_abs() > 10**6:
        raise RequestError(f"{name}: got {text!r}, expected a number up to 1,000,000", param=name)
    return number


def json_answer(body: Any) -> Response[bytes]:
    """Return a body as JSON. Amounts of money are numbers."""
    return Response(_encoder.encode(body), media_type=MediaType.JSON)
