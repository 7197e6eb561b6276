"""Pass OpenAI's files, batches and moderations on to one provider as they are.

The provider must be in the route files. It gets the path, query, body and media type of the caller's request, but no
other headers. The caller gets the body and media type of its answer.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode

import msgspec
from litestar import Response, delete, get, post
from litestar.types import Receive

from semroute.api import guards
from semroute.api.completions import decode
from semroute.api.decompression import DecodedBody
from semroute.api.error_responses import AnyRequest
from semroute.api.fast_path import headers_of
from semroute.api.idempotency_header import HEADER, answer_once
from semroute.api.origin_checks import SAFE
from semroute.api.passthrough_call import PassthroughAccount, PassthroughAnswer, Reads
from semroute.api.passthrough_owners import NextPage, OwnFiles
from semroute.api.request_intake import Body, read_body, read_piece
from semroute.caller import Caller
from semroute.config.config import Config
from semroute.config.schema.providers import ProviderSettings
from semroute.errors import ForbiddenError, NoModelError, NotFoundError, PayloadTooLargeError, RequestError
from semroute.gateway.gateway import Gateway
from semroute.providers.raw_forwarding import can_pass_on
from semroute.providers.streamed_upload import Upload
from semroute.settings import Settings

PROVIDER, NAMES = "provider", "x-semroute-provider"
"""The parameter, and the header, that name a provider."""
JSON = "application/json"
_ID = re.compile(r"(?!\.+$)[A-Za-z0-9_.:-]{1,256}")


@post("/v1/moderations", status_code=200, direct=True)
async def moderations(request: AnyRequest) -> Response[Any]:
    """Pass on OpenAI's moderations. `model` is a model's id, or a name that only the provider knows."""
    caller = await _admit(request)
    fields = decode(await read_body(request))
    config = _config(request)
    model = config.models.get(fields["model"]) if isinstance(fields.get("model"), str) else None
    if model is None:
        provider = _choose(request, config)
    else:
        provider = _named(config, model.provider)
        fields["model"] = model.name
    return _once(request, caller, provider, "/moderations", msgspec.json.encode(fields))


@post("/v1/files", status_code=200, direct=True)
async def upload(request: AnyRequest) -> Response[Any]:
    """Pass on OpenAI's upload of a file, which is a form, piece by piece."""
    caller, headers = await _admit(request), headers_of(request)
    if HEADER in headers:
        raise RequestError(
            f"{HEADER}: uploads are passed on in pieces, so they cannot be repeated: leave out this header",
            param=HEADER,
        )
    settings: Settings = request.app.state.settings
    size = int(headers["content-length"]) if "content-length" in headers else None
    if size is not None and size > settings.max_upload_bytes:
        raise PayloadTooLargeError(f"the file is over the limit of {settings.max_upload_bytes} bytes")
    cast("Body | DecodedBody", request.receive).pass_on(settings.max_upload_bytes)
    body = Upload(_pieces(request), size)
    media = headers.get("content-type", JSON)
    provider = _choose(request, _config(request))
    owners = _owners(request, caller, provider, "files")
    return _passed(request, caller, provider, "/files", body, media, None if owners is None else owners.made)


@get(["/v1/files", "/v1/batches"])
async def listed(request: AnyRequest) -> Response[Any]:
    """List the provider's files or batches: those that the caller made, if keys are needed."""
    return await _simple(request, request.url.path.removeprefix("/v1"), OwnFiles.listed)


@post("/v1/batches", status_code=200, direct=True)
async def batch(request: AnyRequest) -> Response[Any]:
    """Pass on OpenAI's batch. Its file holds many requests, which the provider answers later."""
    return await _simple(request, "/batches", OwnFiles.made)


@get(["/v1/files/{id_:str}", "/v1/batches/{id_:str}"])
async def one(request: AnyRequest, id_: str) -> Response[Any]:
    """Return a file or a batch."""
    return await _simple(request, f"/{request.url.path.split('/')[2]}/{_checked(id_)}", OwnFiles.seen, id_)


@get("/v1/files/{id_:str}/content")
async def content(request: AnyRequest, id_: str) -> Response[Any]:
    """Return the content of a file, piece by piece."""
    return await _simple(request, f"/files/{_checked(id_)}/content", None, id_)


@delete("/v1/files/{id_:str}", status_code=200)
async def remove(request: AnyRequest, id_: str) -> Response[Any]:
    """Delete a file."""
    return await _simple(request, f"/files/{_checked(id_)}", OwnFiles.forget, id_)


@post("/v1/batches/{id_:str}/cancel", status_code=200)
async def cancel(request: AnyRequest, id_: str) -> Response[Any]:
    """Cancel a batch."""
    return await _simple(request, f"/batches/{_checked(id_)}/cancel", OwnFiles.seen, id_)


async def _simple(
    request: AnyRequest,
    path: str,
    reads: Callable[[OwnFiles, bytes], Awaitable[bytes | NextPage]] | None,
    id_: str = "",
) -> Response[Any]:
    """Pass a call on. `reads`: what becomes of its answer, if keys are needed. `id_`: the file or batch it is about."""
    caller = await _admit(request)
    body = await read_body(request)
    if body:
        decode(body)
    provider = _choose(request, _config(request))
    owners = _owners(request, caller, provider, path.split("/")[1])
    if owners is None:
        return _once(request, caller, provider, path, body)
    if id_:
        await owners.require(id_)
    elif body:
        body = await owners.require_named(body)
    return _once(request, caller, provider, path, body, None if reads is None else partial(reads, owners))


def _owners(request: AnyRequest, caller: Caller, provider: ProviderSettings, kind: str) -> OwnFiles | None:
    """Who may see what. None: no keys are needed, so everybody may see everything."""
    return OwnFiles(request, caller, provider.id, kind) if caller.id else None


def _once(
    request: AnyRequest,
    caller: Caller,
    provider: ProviderSettings,
    path: str,
    body: bytes,
    reads: Reads | None = None,
) -> Response[Any]:
    """Pass a call on. A call that changes something is passed on once for each `Idempotency-Key`."""
    key = headers_of(request).get(HEADER)
    if key is None or request.method in SAFE:
        return _passed(request, caller, provider, path, body, reads=reads)

    async def make(_: Receive) -> Response[Any]:
        return _passed(request, caller, provider, path, body, reads=reads)

    asked = "\0".join((request.method, provider.id, path, request.url.query, ""))
    return answer_once(request, caller, asked.encode("utf-8", "surrogateescape") + body, key, make)


async def _pieces(request: AnyRequest) -> AsyncIterator[bytes]:
    more = True
    while more:
        piece, more = await read_piece(request)
        if piece:
            yield piece


# --- who may, and where to --------------------------------------------------------------------------------------------


async def _admit(request: AnyRequest) -> Caller:
    """Return the caller. Raises `ForbiddenError` if the key has limits that cannot be enforced at the provider."""
    caller = await guards.admitted(request, "complete")
    bounded = caller.restricted or caller.usd_per_day is not None or caller.usd_per_month is not None
    if bounded and "passthrough" not in caller.scopes:
        raise ForbiddenError(
            f"the key {caller.id} may not use files, batches and moderations: the limits of its routes, models or "
            "budget cannot be enforced on calls that are passed on. Use a key with the scope 'passthrough'"
        )
    return caller


def _config(request: AnyRequest) -> Config:
    gateway: Gateway = request.app.state.gateway
    return gateway.serving.router.config


def _choose(request: AnyRequest, config: Config) -> ProviderSettings:
    """Return the provider that a request names, or the only possible one. Raises `RequestError`."""
    named = request.query_params.get(PROVIDER) or request.headers.get(NAMES)
    if named:
        return _named(config, named)
    able = [provider for provider in config.providers.values() if can_pass_on(provider)]
    chosen = [provider for provider in able if provider.passthrough] or able
    here = [provider for provider in chosen if not provider.unavailable] or chosen
    if len(here) == 1:
        return here[0]
    what = "more than one (" + ", ".join(provider.id for provider in here) + ")" if here else "none"
    raise RequestError(
        f"the request names no provider, and {what} in the route files takes files, batches and moderations: name one "
        f"as `?{PROVIDER}=ID` or in the header {NAMES}",
        param=PROVIDER,
    )


def _named(config: Config, id_: str) -> ProviderSettings:
    provider = config.providers.get(id_)
    if provider is None or not can_pass_on(provider):
        able = ", ".join(each.id for each in config.providers.values() if can_pass_on(each)) or "none"
        raise NotFoundError(
            f"the provider {id_[:100]!r} does not take files, batches and moderations, expected one that does: {able}",
            param=PROVIDER,
        )
    return provider


def _checked(id_: str) -> str:
    """Check that an id is only one part of a path, and return it."""
    if not _ID.fullmatch(id_):
        raise NotFoundError(f"got the id {id_[:100]!r}, expected letters, digits, `-`, `_`, `.` and `:` only")
    return id_


def _passed(
    request: AnyRequest,
    caller: Caller,
    settings: ProviderSettings,
    path: str,
    body: bytes | Upload,
    media: str = JSON,
    reads: Reads | None = None,
) -> Response[Any]:
    ours: Settings = request.app.state.settings
    if ours.echo or settings.unavailable:
        raise NoModelError({settings.id: settings.unavailable or "an echo stands for every provider"})
    query = [(name, value) for name, value in parse_qsl(request.url.query) if name != PROVIDER]
    target = path + (f"?{urlencode(query)}" if query else "")
    return PassthroughAnswer(request, PassthroughAccount(request, caller, settings, path), target, body, media, reads)


HANDLERS = (moderations, upload, listed, batch, one, content, remove, cancel)
