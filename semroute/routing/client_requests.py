"""What clients send of their own accord, as `clients.toml` lists it. Pure but for that file, which is read once."""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from semroute.bases import RouteFileStruct
from semroute.config.schema.rules import Harness
from semroute.messages import Message

TABLE = Path(__file__).with_name("clients.toml")
MAX_SESSION_CHARS = 256
"""Of a conversation's name. Of a longer one the hash counts."""
MAX_CHARS = 20_000
"""Of the system prompt and of the last user turn: what a client asks on its own account stands in their heads."""

Words = Annotated[str, Meta(min_length=1)]


class Sign(RouteFileStruct, frozen=True, kw_only=True):
    """What all entries say."""

    client: str
    """Who sends it."""
    version: str
    """In which version it was seen; empty: not known."""
    source: Words
    """Where that is known from."""
    seen: Any
    """The day on which somebody looked it up."""


class SessionSign(Sign, frozen=True, kw_only=True):
    """Where a conversation's name stands."""

    header: str = ""
    """The name of a header, in lower case. Of these three, one is given."""
    field: str = ""
    """A field of the body."""
    metadata: str = ""
    """A key of the request's metadata."""
    part: str = ""
    """A regular expression, whose first group is the conversation's name; the whole where it does not match."""


class Context(Sign, frozen=True, kw_only=True):
    """A block that a client writes into the user's turn."""

    opens: Words
    closes: Words


class Errand(Sign, frozen=True, kw_only=True):
    """What a client asks on its own account."""

    kind: Harness
    role: Literal["system", "user"]
    words: Words
    """They stand in the system prompt, or in the last user turn."""


class Table(RouteFileStruct, frozen=True, kw_only=True):
    """The file."""

    session: tuple[SessionSign, ...]
    context: tuple[Context, ...]
    errand: tuple[Errand, ...]


KNOWN = msgspec.convert(tomllib.loads(TABLE.read_text("utf-8")), Table)
_PARTS = [(one, re.compile(one.part) if one.part else None) for one in KNOWN.session]
_HEADERS = frozenset(one.header for one in KNOWN.session if one.header)
_FIELDS = frozenset(one.field for one in KNOWN.session if one.field)
_METADATA = frozenset(one.metadata for one in KNOWN.session if one.metadata)
CLOSES = "</"
"""How each block's end begins."""
_OPENERS = tuple(one.opens for one in KNOWN.context)
_CLOSERS = tuple(one.closes for one in KNOWN.context)


def session_of(headers: Mapping[str, str], body: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """The name of the conversation that a request belongs to; empty: it has none. `headers`: by names in lower case."""
    if _HEADERS.isdisjoint(headers) and _FIELDS.isdisjoint(body) and _METADATA.isdisjoint(metadata):  # as mostly
        return ""
    for sign, part in _PARTS:
        value = headers.get(sign.header) or body.get(sign.field) or metadata.get(sign.metadata)
        if not isinstance(value, str) or not (name := value.strip()):
            continue
        if part is not None and (match := part.search(name[: 4 * MAX_SESSION_CHARS])) is not None:
            name = match[1]
        if len(name) <= MAX_SESSION_CHARS:
            return name
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return ""


def typed(text: str) -> str:
    """What a user typed of a text: without the blocks that a client has put before and behind it."""
    if CLOSES not in text:  # as in most
        return text
    start, end = whole = _inside(text, 0, len(text))
    while True:
        start, end = _inside(text, start, end)
        if (after := _after_block(text, start, end)) is not None:
            start = after
        elif (before := _before_block(text, start, end)) is not None:
            end = before
        else:
            return text[start:end] if (start, end) != whole else text


def _inside(text: str, start: int, end: int) -> tuple[int, int]:
    """The same span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _after_block(text: str, start: int, end: int) -> int | None:
    """Where a block ends with which a span begins."""
    if not text.startswith(_OPENERS, start, end):
        return None
    block = next(one for one in KNOWN.context if text.startswith(one.opens, start, end))
    closes = text.find(block.closes, start, end)
    return None if closes < 0 else closes + len(block.closes)


def _before_block(text: str, start: int, end: int) -> int | None:
    """Where a block begins with which a span ends."""
    if not text.endswith(_CLOSERS, start, end):
        return None
    block = next(one for one in KNOWN.context if text.endswith(one.closes, start, end))
    opens = text.rfind(block.opens, start, end)
    return None if opens < 0 else opens


def errand(messages: Iterable[Message]) -> Harness | None:
    """What a client asks on its own account. None: it asks for its user, as far as is known."""
    every = list(messages)
    last = next((message.text for message in reversed(every) if message.role == "user"), "")
    heads = {"system": system_text(every)[:MAX_CHARS], "user": last[:MAX_CHARS]}
    return next((one.kind for one in KNOWN.errand if one.words in heads[one.role]), None)


def system_text(messages: Iterable[Message]) -> str:
    """The system prompt, all of it."""
    return "\n".join(message.text for message in messages if message.role == "system")
