"""Who made the files and batches that are at a provider. All of them belong to the provider's one account.

With keys, a key sees what it made, and what a key of its team made. A key with the scope `admin` sees everything, also
what was made elsewhere. Nobody else does: to others, what they did not make does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from semroute.api import guards
from semroute.api.accounting import Books
from semroute.api.error_responses import AnyRequest
from semroute.caller import Caller
from semroute.errors import MalformedAnswerError, NotFoundError
from semroute.json_errors import UNREADABLE

KEPT_S = 10 * 365 * 86_400.0
"""Seconds for which the maker of a file or batch is remembered: longer than any provider keeps one."""
_SINGULAR = {"files": "file", "batches": "batch"}
_OUTPUTS = ("output_file_id", "error_file_id")
"""The files that a provider makes for a batch."""


class NextPage(NamedTuple):
    """A page of a list holds nothing that the caller made, and another page follows."""

    after: str
    """The last id on this page."""
    empty: bytes
    """What the caller gets if no further page is looked at."""


class OwnFiles:
    """What one caller may see of a provider's files or batches."""

    def __init__(self, request: AnyRequest, caller: Caller, provider: str, kind: str) -> None:
        """`kind`: `files` or `batches`."""
        books: Books = request.app.state.books
        self._state = books.state
        self._provider, self._kind = provider, kind
        self._sees_all = "admin" in caller.scopes
        own = guards.identity(request, caller)
        self._owner = (f"team {caller.team}" if caller.team else f"key {own}").encode("utf-8", "surrogateescape")

    async def require(self, id_: str, kind: str = "", param: str | None = None) -> None:
        """Raise `NotFoundError` for what the caller did not make. `kind`: another one than is asked for."""
        kind = kind or self._kind
        if not self._sees_all and await self._state.get(self._key(kind, id_)) != self._owner:
            what = _SINGULAR[kind]
            place = f"$.{param}: " if param else ""
            raise NotFoundError(f"{place}this key has made no {what} {id_[:100]!r}", param=param)

    async def require_named(self, body: bytes) -> bytes:
        """Require the files that the body of a batch names. Returns the body as it was read: no name stands twice."""
        fields = msgspec.json.decode(body)
        for name, value in fields.items():
            for id_ in value if isinstance(value, list) else (value,):
                if "file" in name and isinstance(id_, str):
                    await self.require(id_, "files", name)
        return msgspec.json.encode(fields)

    async def made(self, answer: bytes) -> bytes:
        """Remember who made the file or batch in an answer. Returns the answer."""
        match _read(answer):
            case {"id": str(id_)} as fields:
                await self._remember(self._kind, (id_,), self._owner)
                await self._remember("files", _outputs(fields), self._owner)
        return answer

    async def seen(self, answer: bytes) -> bytes:
        """Remember the files that a batch has made: they are its maker's. Returns the answer."""
        match _read(answer):
            case {"id": str(id_)} as fields if self._kind == "batches":
                owner = await self._state.get(self._key("batches", id_))
                if owner is not None:
                    await self._remember("files", _outputs(fields), owner)
        return answer

    async def listed(self, answer: bytes) -> bytes | NextPage:
        """Return the part of a list that the caller made."""
        match _read(answer):
            case {"data": list(data)} as page if all(isinstance(each, dict) for each in data):
                pass
            case _:
                raise MalformedAnswerError(f"the provider's list of {self._kind} has no `data`")
        keys = {id_: self._key(self._kind, id_) for each in data if isinstance(id_ := each.get("id"), str)}
        owners = await self._state.get_many(list(keys.values()))
        own = [each for each in data if self._sees_all or owners.get(keys.get(each.get("id"), "")) == self._owner]
        for each in own:
            if (owner := owners.get(keys.get(each.get("id"), ""))) is not None:
                await self._remember("files", _outputs(each), owner)
        ends = {"first_id": own[0]["id"] if own else None, "last_id": own[-1]["id"] if own else None}
        ends = {name: id_ for name, id_ in ends.items() if name in page}
        kept = answer if len(own) == len(data) else msgspec.json.encode({**page, "data": own, **ends})
        if own or page.get("has_more") is not True or not keys:
            return kept
        return NextPage(list(keys)[-1], kept)

    async def forget(self, answer: bytes) -> bytes:
        """Forget who made a file that is deleted now. Returns the answer."""
        match _read(answer):
            case {"id": str(id_), "deleted": True}:
                await self._state.delete(self._key(self._kind, id_))
        return answer

    async def _remember(self, kind: str, ids: Iterable[str], owner: bytes) -> None:
        for id_ in ids:
            await self._state.put(self._key(kind, id_), owner, KEPT_S)

    def _key(self, kind: str, id_: str) -> str:
        return f"made:{self._provider}:{kind}:{id_}"


def _outputs(batch: dict[str, Any]) -> list[str]:
    return [id_ for name in _OUTPUTS if isinstance(id_ := batch.get(name), str)]


def _read(answer: bytes) -> Any:
    try:
        return msgspec.json.decode(answer)
    except UNREADABLE:
        return None
