"""Recognise what clients add to requests, as listed in `clients.toml`. Pure, except that this file is read once."""

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
"""Characters of a conversation's name. A longer name is replaced by its hash."""
MAX_CHARS = 20_000
"""Characters that are read of the system prompt and of the last user turn. A client's own request shows at their
beginning."""

Words = Annotated[str, Meta(min_length=1)]


class Sign(RouteFileStruct, frozen=True, kw_only=True):
    """The fields of every entry."""

    client: str
    """The client that sends it."""
    version: str
    """The version in which it was seen. Empty: not known."""
    source: Words
    """The page that says so."""
    seen: Any
    """The day on which somebody looked it up."""


class SessionSign(Sign, frozen=True, kw_only=True):
    """A place that holds a conversation's name."""

    header: str = ""
    """The name of a header, in lower case. Exactly one of `header`, `field` and `metadata` is given."""
    field: str = ""
    """A field of the body."""
    metadata: str = ""
    """A key of the request's metadata."""
    part: str = ""
    """A regular expression whose first group is the conversation's name. If it does not match, the whole value is the
    name."""


class Context(Sign, frozen=True, kw_only=True):
    """A block that a client writes into the user's turn."""

    opens: Words
    closes: Words


class Errand(Sign, frozen=True, kw_only=True):
    """A request that a client makes for itself, such as one for a title."""

    kind: Harness
    role: Literal["system", "user"]
    words: Words
    """Words in the system prompt, or in the last user turn."""


class Template(Sign, frozen=True, kw_only=True):
    """A sentence of a template that a client or a library writes around the user's ask."""

    begins: Words
    """How the sentence begins."""


class Table(RouteFileStruct, frozen=True, kw_only=True):
    """The whole file."""

    session: tuple[SessionSign, ...]
    context: tuple[Context, ...]
    errand: tuple[Errand, ...]
    template: tuple[Template, ...]


KNOWN = msgspec.convert(tomllib.loads(TABLE.read_text("utf-8")), Table)
TEMPLATES = tuple(one.begins for one in KNOWN.template)
"""How the sentences of templates begin."""
_PARTS = [(one, re.compile(one.part) if one.part else None) for one in KNOWN.session]
_HEADERS = frozenset(one.header for one in KNOWN.session if one.header)
_FIELDS = frozenset(one.field for one in KNOWN.session if one.field)
_METADATA = frozenset(one.metadata for one in KNOWN.session if one.metadata)
CLOSES = "</"
"""The beginning of each block's end."""
_OPENERS = tuple(one.opens for one in KNOWN.context)
_CLOSERS = tuple(one.closes for one in KNOWN.context)


def session_of(headers: Mapping[str, str], body: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Return the name of a request's conversation. Empty: it has none. `headers`: names in lower case."""
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


def typed_text(text: str) -> str:
    """Return what the user typed: the text without the blocks that a client put before and behind it."""
    if CLOSES not in text:  # as in most
        return text
    start, end = whole = _inside(text, 0, len(text))
    # Looking at the end again after each block at the beginning, or the other way round, would take quadratic time.
    while (after := _after_block(text, start, end)) is not None:
        start, end = _inside(text, after, end)
    while (before := _before_block(text, start, end)) is not None:
        start, end = _inside(text, start, before)
    return text[start:end] if (start, end) != whole else text


def _inside(text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span without white space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _after_block(text: str, start: int, end: int) -> int | None:
    """Return the end of the block at the beginning of a span. None: there is no such block."""
    if not text.startswith(_OPENERS, start, end):
        return None
    block = next(one for one in KNOWN.context if text.startswith(one.opens, start, end))
    closes = text.find(block.closes, start, end)
    return None if closes < 0 else closes + len(block.closes)


def _before_block(text: str, start: int, end: int) -> int | None:
    """Return the start of the block at the end of a span. None: there is no such block."""
    if not text.endswith(_CLOSERS, start, end):
        return None
    block = next(one for one in KNOWN.context if text.endswith(one.closes, start, end))
    opens = text.rfind(block.opens, start, end)
    return None if opens < 0 else opens


def errand(messages: Iterable[Message]) -> Harness | None:
    """Return what a client asks for itself. None: as far as semroute knows, it asks for its user."""
    every = list(messages)
    last = next((message.text for message in reversed(every) if message.role == "user"), "")
    heads = {"system": system_text(every)[:MAX_CHARS], "user": last[:MAX_CHARS]}
    return next((one.kind for one in KNOWN.errand if one.words in heads[one.role]), None)


def system_text(messages: Iterable[Message]) -> str:
    """Return the whole system prompt."""
    return "\n".join(message.text for message in messages if message.role == "system")
