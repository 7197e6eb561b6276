"""Feedback: from callers with a key, and from end users with a signed link."""

from __future__ import annotations

import asyncio
import hashlib
import html
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from itsdangerous import BadData, URLSafeTimedSerializer
from litestar import MediaType, Response, get, post
from msgspec import Meta

from semroute.access.permissions import log_scope, usable_routes
from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.completions import decode
from semroute.api.error_responses import AnyRequest
from semroute.bases import RouteFileStruct
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.dialects.shared.body_parsing import convert
from semroute.errors import AccessError, NotFoundError, PayloadTooLargeError, RequestError
from semroute.gateway.gateway import Gateway
from semroute.settings import PREFIX, Settings
from semroute.stores.interfaces import Feedback

Found = TypeVar("Found")

LINK_S = 30 * 86_400
"""Seconds for which a signed link works."""
MAX_BYTES = 64 * 1024
"""The most bytes of a body. A comment of 2,000 characters takes at most 24,000 of them."""
PATIENCE_S, LOOK_EVERY_S = 2.0, 0.1
"""Seconds to wait for a record that another process may be about to write, and seconds between two looks."""

PAGE = """<!doctype html><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>Feedback</title>
<form method="post"><p>Was the answer good?</p>
<label><input type="radio" name="thumbs" value="up" required> yes</label>
<label><input type="radio" name="thumbs" value="down"> no</label>
<p><textarea name="comment" maxlength="2000" placeholder="What was wrong?"></textarea></p>
<button>Send</button></form>"""


class FeedbackBody(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /feedback`. Give at least one of its last four fields. It replaces earlier feedback."""

    decision: str = ""
    """The id in the answer's header `x-semroute-decision`."""
    thumbs: Literal["up", "down"] | None = None
    """Short for a `score` of 1 or 0."""
    score: Annotated[float, Meta(ge=0, le=1)] | None = None
    """0 bad to 1 good."""
    label: Annotated[str, Meta(max_length=128)] | None = None
    """The right route. Empty: no route should have taken the prompt."""
    comment: Annotated[str, Meta(max_length=2000)] | None = None


class LinkRequest(RouteFileStruct, frozen=True, kw_only=True):
    """The body of `POST /feedback/links`."""

    decision: str
    """The id that `x-semroute-decision` gave."""


@post("/feedback", guards=[guards.caller], status_code=200)
async def feedback(request: AnyRequest) -> dict[str, str]:
    """Record how good an answer was, or which route was the right one."""
    given = convert(decode(await _body(request)), FeedbackBody)
    if not given.decision:
        raise RequestError(
            "`decision`: missing, expected the id in the answer's header x-semroute-decision", param="decision"
        )
    await _take(request, given.decision, given, guards.caller_of(request))
    return {"decision": given.decision, "status": "recorded"}


@post("/feedback/links", guards=[guards.caller], status_code=200)
async def link(request: AnyRequest) -> dict[str, Any]:
    """Make a link for an end user without a key to say how good one answer was. It works for 30 days."""
    decision = convert(decode(await _body(request)), LinkRequest).decision
    books: Books = request.app.state.books
    if (seen := log_scope(_config(request), guards.caller_of(request))) is not None:
        await _when_there(request, decision, lambda: books.log.read(decision, seen))
    expires = int(time.time()) + LINK_S
    return {"path": f"/feedback/{links(_secret(request)).dumps(decision)}", "expires": expires}


@get("/feedback/{token:str}")
async def linked_page(request: AnyRequest, token: str) -> Response[str]:
    """Return the page of a signed link. Only its form records feedback, because mail programs open links too."""
    _decision_of(request, token)
    return Response(PAGE, media_type=MediaType.HTML)


@post("/feedback/{token:str}", status_code=200)
async def linked(request: AnyRequest, token: str) -> Response[str]:
    """Record feedback by a signed link, as a form or as JSON without `decision`."""
    decision = _decision_of(request, token)
    if request.headers.get("content-type", "").startswith("application/json"):
        given = convert(decode(await _body(request)), FeedbackBody)
    else:
        await _body(request)
        form = {name: str(value) for name, value in (await request.form()).items() if value}
        given = convert(form, FeedbackBody)
    await _take(request, decision, given)
    return Response(f"<!doctype html><p>Thank you.</p><!-- {html.escape(decision)} -->", media_type=MediaType.HTML)


async def _body(request: AnyRequest) -> bytes:
    """Read the body, up to the limit for feedback. A form of megabytes would take seconds to read."""
    body = await request.body()
    if len(body) > MAX_BYTES:
        raise PayloadTooLargeError(f"the body: got {len(body)} bytes, expected at most {MAX_BYTES}")
    return body


def links(secret: str) -> URLSafeTimedSerializer:
    """Return the signer of links. It makes and reads the last part of the path: a decision's id and a time."""
    return URLSafeTimedSerializer(
        secret, salt="semroute.feedback", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
    )


def _decision_of(request: AnyRequest, token: str) -> str:
    """Return the id of a link's decision. Raises `AccessError` if the link is forged or too old."""
    try:
        decision, signed_at = links(_secret(request)).loads(token, return_timestamp=True)
    except BadData:
        raise AccessError("this feedback link was not signed by this service, or was changed") from None
    # The library's `max_age` would also refuse a link from a machine whose clock is a second ahead.
    if signed_at.timestamp() + LINK_S < time.time():
        raise AccessError("this link has expired")
    return str(decision)


def _secret(request: AnyRequest) -> str:
    settings: Settings = request.app.state.settings
    if not settings.feedback_secret:
        raise RequestError(f"feedback links are off: set {PREFIX}FEEDBACK_SECRET to something long and random")
    return settings.feedback_secret


def _config(request: AnyRequest) -> Config:
    gateway: Gateway = request.app.state.gateway
    return gateway.serving.router.config


async def _take(request: AnyRequest, decision: str, given: FeedbackBody, caller: Caller | None = None) -> None:
    """Record feedback. `caller`: the owner of the key that allows it. None: a link allows it."""
    books: Books = request.app.state.books
    config = _config(request)
    score = {"up": 1.0, "down": 0.0}.get(given.thumbs or "", given.score)
    if score is None and given.label is None and given.comment is None:
        raise RequestError("the body: expected at least one of `thumbs`, `score`, `label` and `comment`, got none")
    routes = usable_routes(config, caller or Caller())
    if given.label and given.label not in routes:
        listed = f" ({', '.join(routes)})" if caller is not None else ""
        raise RequestError(f"label: got {given.label!r}, expected a route{listed}", param="label")
    said = Feedback(score=score, label=given.label, comment=given.comment)
    seen = log_scope(config, caller) if caller is not None else None
    noted = await _when_there(request, decision, lambda: books.log.feed_back(decision, said, time.time(), seen))
    if noted.by_feedback and books.metrics is not None:
        books.metrics.misroute(noted.route, noted.tier, "feedback", counted=noted.misrouted)


async def _when_there(request: AnyRequest, decision: str, use: Callable[[], Found | None]) -> Found:
    """Use a record as soon as it is in the log. It may still be on its way. Raises `NotFoundError`.

    `use`: returns None as long as the record is not there.
    """
    books: Books = request.app.state.books
    settings: Settings = request.app.state.settings

    def use_now() -> Found | None:
        if (found := use()) is None and books.writer is not None and books.writer.flush(PATIENCE_S):
            found = use()
        return found

    deadline = time.monotonic() + (PATIENCE_S if settings.shared else 0)
    found = await books.ask(use_now)
    while found is None:
        if time.monotonic() >= deadline:
            raise NotFoundError(f"there is no decision {decision!r} in the log")
        await asyncio.sleep(LOOK_EVERY_S)
        found = await books.ask(use)
    return found
