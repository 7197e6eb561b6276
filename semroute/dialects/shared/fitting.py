"""Makes the request for a provider: the caller's headers that go on, and a body within the provider's limits.

Each dialect lists the headers, and `field_limits.py` the limits. `limit_rules.py` holds the rules by which a body is
changed. Names and ids that were changed are put back into the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from semroute.config.schema.models import Model
from semroute.dialects.protocols import WireRequest
from semroute.dialects.shared.cache_marks import MOST_MARKS, fewer_marks
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import CHAT, ChatRequest, Chunk, Completion, Part, ToolCall

HASH_CHARS = 8
"""The length of the digest at the end of a shortened name. It keeps two names from becoming the same."""
_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")


class Limits(NamedTuple):
    """What one provider accepts."""

    rules: Node
    mark: bytes
    """How it writes a mark for the prompt's cache, if it takes only a few of them. Empty: it takes any number."""


def fitted(
    body: dict[str, object],
    limits: Limits,
    request: ChatRequest,
    model: Model,
    dropped: Dropped,
    *,
    path: str,
    headers: dict[str, str] | None = None,
    endpoint: str = CHAT,
    answers_name_model: bool = True,
) -> WireRequest:
    """Make the request, with a body that the provider accepts.

    `answers_name_model` is False if the provider's answers do not contain the model's name.
    """
    fitting = Fitting(dropped, model, request.input_tokens)
    encoded = msgspec.json.encode(fit(body, limits.rules, fitting))
    if limits.mark and encoded.count(limits.mark) > MOST_MARKS:
        encoded = fewer_marks(encoded, dropped)
    return WireRequest(
        path=path,
        body=encoded,
        headers=headers or {},
        dropped=tuple(dropped.notes),
        adapted=tuple(dropped.adapted),
        renamed=fitting.renamed,
        model="" if answers_name_model else model.name,
        endpoint=endpoint,
    )


# --- how a body is changed --------------------------------------------------------------------------------------------


class Fitting:
    """The state of one request while its body is changed."""

    def __init__(self, dropped: Dropped, model: Model, input_tokens: int = 0) -> None:
        """`input_tokens` is how many tokens the request sends, as far as they were counted."""
        self.dropped = dropped
        self.model = model
        self.input_tokens = input_tokens
        self.renamed: dict[str, str] = {}
        """The value that is sent, and what the caller wrote."""
        self._seen: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}
        self._answered: dict[str, str] = {}

    def rename(self, value: str, sent: str, what: str) -> str:
        """Replace a name or an id. It is changed back in the answer."""
        self.renamed[sent] = value
        self.dropped.adapt(f"{what}: sent in the provider's form")
        return sent

    def call(self, id_: str, form: Callable[[str], str | None], *, unique: bool) -> str:
        """Return the id to send for a call. `form` returns another id if the provider refuses this one, else None."""
        before = self._seen.get(id_, 0)
        self._seen[id_] = before + 1
        sent = form(f"{id_}#{before}") or shorten(f"{id_}#{before}", 40) if unique and before else form(id_)
        sent = id_ if sent is None else self.rename(id_, sent, "messages.tool_calls.id")
        self._waiting.setdefault(id_, deque()).append(sent)
        return sent

    def result(self, id_: str, form: Callable[[str], str | None]) -> str:
        """Return the id to send for a result: that of its call. If several calls have the id, the oldest counts."""
        if waiting := self._waiting.get(id_):
            self._answered[id_] = waiting.popleft()
        elif id_ not in self._answered:  # its call is not in the conversation
            self._answered[id_] = form(id_) or id_
        return self._answered[id_]


def shorten(value: str, chars: int) -> str:
    """Shorten a name to letters, digits, `_` and `-`. The same value gives the same name each time."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARS]
    head = _PLAIN.sub("_", value[:chars])
    head = head if head[:1].isalpha() or head[:1] == "_" else f"_{head}"
    return f"{head[: chars - HASH_CHARS - 1]}_{digest}"


Rule = Callable[[Any, Fitting], Any]
_CONTAINERS = (dict, list)


class Node:
    """The rules for one place in a body, and for the places below it."""

    __slots__ = ("each", "fields", "rules")

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.fields: dict[str, Node] = {}
        self.each: Node | None = None
        """The rules for each item, if this place is a list."""


def tree(rules: Iterable[tuple[Sequence[str], Rule]]) -> Node:
    """Make a tree of rules. In a path such as `messages[].tool_calls[].id`, `[]` is each item of a list."""
    root = Node()
    for paths, rule in rules:
        for path in paths:
            node = root
            for step in path.replace("[]", ".[]").split("."):
                if step != "[]":
                    node = node.fields.setdefault(step, Node())
                else:
                    node.each = node = node.each or Node()
            node.rules.append(rule)
    return root


def fit(value: Any, node: Node, fitting: Fitting) -> Any:
    """Return the value as the provider accepts it. Changed parts are copies: the caller's body stays as it is."""
    if type(value) is dict:
        value = _fit_fields(value, node.fields, fitting)
    elif type(value) is list and node.each is not None:
        value = _fit_items(value, node.each, fitting)
    for rule in node.rules:
        value = rule(value, fitting)
    return value


def _fit_fields(value: dict[str, Any], fields: dict[str, Node], fitting: Fitting) -> dict[str, Any]:
    changed = value
    for name in value:
        if name in fields:
            old, inner = value[name], fields[name]
            if inner.rules or type(old) in _CONTAINERS:
                new = fit(old, inner, fitting)
                if new is not old:
                    changed = {**value} if changed is value else changed
                    changed[name] = new
    return changed


def _fit_items(value: list[Any], inner: Node, fitting: Fitting) -> list[Any]:
    """Do what `fit` does for each item, but faster. For most items there is nothing to do."""
    changed, fields, rules = value, inner.fields, inner.rules
    for place, old in enumerate(value):
        if type(old) is dict and not rules:
            for name in old:
                if name in fields and (fields[name].rules or type(old[name]) in _CONTAINERS):
                    break
            else:
                continue
            new = _fit_fields(old, fields, fitting)
        else:
            new = fit(old, inner, fitting)
        if new is not old:
            changed = [*value] if changed is value else changed
            changed[place] = new
    return changed


# --- the caller's own names and ids, put back -------------------------------------------------------------------------


class Restorer:
    """Puts the caller's own names and ids back into an answer."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        """`renamed` holds the value that was sent, and what the caller wrote."""
        self._renamed = renamed
        # The sent values are plain ASCII. In a text their quotes would be escaped, so texts do not match.
        self._sent = re.compile(rb'"(%s)"' % b"|".join(re.escape(each.encode()) for each in renamed))

    def completion(self, completion: Completion) -> Completion:
        """Restore a whole answer."""
        return msgspec.structs.replace(
            completion, parts=self._parts(completion.parts), raw=self._sent.sub(self._written, completion.raw)
        )

    def chunk(self, chunk: Chunk) -> Chunk:
        """Restore a chunk of a streamed answer."""
        return msgspec.structs.replace(
            chunk, parts=self._parts(chunk.parts), raw=self._sent.sub(self._written, chunk.raw)
        )

    def _parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return tuple(self._part(part) if isinstance(part, ToolCall) else part for part in parts)

    def _part(self, part: ToolCall) -> ToolCall:
        name, id_ = self._renamed.get(part.name, part.name), self._renamed.get(part.id, part.id)
        return part if (name, id_) == (part.name, part.id) else msgspec.structs.replace(part, name=name, id=id_)

    def _written(self, match: re.Match[bytes]) -> bytes:
        return msgspec.json.encode(self._renamed[match[1].decode()])
