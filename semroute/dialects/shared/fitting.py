"""Make a body fit its receiver: ids, names, lengths, counts and ranges. `field_limits.py` lists what each one takes.

A rule looks at the value of one field, and gives it back or another one. Names and ids come back to the caller as the
caller wrote them: the request remembers what was sent for each.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from semroute.config.schema.models import LEAST_TOKENS, Model
from semroute.dialects.shared.body_parsing import objects_of
from semroute.dialects.shared.data_urls import image_type, split_data_url
from semroute.dialects.shared.dropped import Dropped
from semroute.messages import Chunk, Completion, Part, ToolCall

HASH_CHARS = 8
"""Of the digest at the end of a name that was changed: two names never become one."""
_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COMBINED = ("allOf", "anyOf", "oneOf")


class Fitting:
    """One request on its way to a receiver."""

    def __init__(self, dropped: Dropped, model: Model, input_tokens: int = 0) -> None:
        """`dropped`: takes the notes. `input_tokens`: what the request sends, as far as it was counted."""
        self.dropped = dropped
        self.model = model
        self.input_tokens = input_tokens
        self.renamed: dict[str, str] = {}
        """What was sent, and what the caller wrote."""
        self._seen: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}
        self._answered: dict[str, str] = {}

    def rename(self, value: str, sent: str, what: str) -> str:
        """Send something else for a value that comes back."""
        self.renamed[sent] = value
        self.dropped.adapt(f"{what}: sent in the provider's form")
        return sent

    def call(self, id_: str, form: Callable[[str], str | None], *, unique: bool) -> str:
        """The id of a call as it is sent. `form`: another id, where the receiver does not take this one."""
        before = self._seen.get(id_, 0)
        self._seen[id_] = before + 1
        sent = form(f"{id_}#{before}") or shorten(f"{id_}#{before}", 40) if unique and before else form(id_)
        sent = id_ if sent is None else self.rename(id_, sent, "tool call ids")
        self._waiting.setdefault(id_, deque()).append(sent)
        return sent

    def result(self, id_: str, form: Callable[[str], str | None]) -> str:
        """The id of the call that a result answers, as it was sent: of several with one id, the oldest."""
        if waiting := self._waiting.get(id_):
            self._answered[id_] = waiting.popleft()
        elif id_ not in self._answered:  # its call is not in the conversation
            self._answered[id_] = form(id_) or id_
        return self._answered[id_]


Rule = Callable[[Any, Fitting], Any]


_CONTAINERS = (dict, list)


class Node:
    """What is to be done at a place of a body, and below it."""

    __slots__ = ("each", "fields", "rules")

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self.fields: dict[str, Node] = {}
        self.each: Node | None = None
        """For the items of a list."""


def tree(rules: Iterable[tuple[Sequence[str], Rule]]) -> Node:
    """A tree of rules. A path is written `messages[].tool_calls[].id`: `[]` is each item of a list."""
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
    """The value as the receiver takes it. What is changed is copied: the caller's own body stays as it is."""
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
    """As `fit` of each: items are mostly objects without a rule of their own, nor of their fields."""
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


# --- rules ------------------------------------------------------------------------------------------------------------


def shorten(value: str, chars: int) -> str:
    """A name of letters, digits, `_` and `-` that begins with a letter or `_`: the same value gives the same name."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARS]
    head = _PLAIN.sub("_", value[:chars])
    head = head if head[:1].isalpha() or head[:1] == "_" else f"_{head}"
    return f"{head[: chars - HASH_CHARS - 1]}_{digest}"


def drawn(value: str, chars: int) -> str:
    """So many letters and digits that the value stands for."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:chars])


def names(pattern: str, chars: int) -> Rule:
    """Names of tools."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (takes(value) and len(value) <= chars):
            return value
        return fitting.rename(value, shorten(value, chars), "tool names")

    return rule


def ids(
    role: Literal["call", "result", "item"],
    pattern: str = r"(?s).+",
    chars: int = 0,
    *,
    exact: bool = False,
    unique: bool = True,
) -> Rule:
    """Ids of tool calls, on the call and on its result. `chars`: at most, or exactly; 0: any number.

    `item`: a whole item of the Responses dialect, whose type says which of the two it is. `unique`: each call has its
    own; some servers count the calls of each turn from 0.
    """
    takes = re.compile(pattern).fullmatch

    def form(id_: str) -> str | None:
        if takes(id_) and (not chars or (len(id_) == chars if exact else len(id_) <= chars)):
            return None
        return drawn(id_, chars) if exact else shorten(id_, chars or 64)

    def one(value: str, fitting: Fitting, *, is_result: bool) -> str:
        return fitting.result(value, form) if is_result else fitting.call(value, form, unique=unique)

    def rule(value: Any, fitting: Fitting) -> Any:
        if role != "item":
            return one(value, fitting, is_result=role == "result") if isinstance(value, str) else value
        if not isinstance(value, dict) or not isinstance(value.get("call_id"), str):
            return value
        id_ = value["call_id"]
        sent = one(id_, fitting, is_result=str(value.get("type")).endswith("_output"))
        return value if sent == id_ else {**value, "call_id": sent}

    return rule


def digest(what: str, chars: int, pattern: str = r"(?s).*") -> Rule:
    """A text that only has to be the same each time: one that is too long is sent as its SHA-256, in hexadecimal."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (len(value) <= chars and takes(value)):
            return value
        fitting.dropped.adapt(f"{what}: sent as its SHA-256")
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:chars]

    return rule


def label(what: str, pattern: str, chars: int) -> Rule:
    """A name that nobody reads back."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (takes(value) and len(value) <= chars):
            return value
        fitting.dropped.adapt(f"{what}: sent in the provider's form")
        return shorten(value, chars)

    return rule


def first(what: str, count: int) -> Rule:
    """A list of at most so many."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, list) or len(value) <= count:
            return value
        fitting.dropped.add(f"{what} after the first {count}")
        return value[:count]

    return rule


def between(what: str, low: float | None, high: float | None) -> Rule:
    """A number of a range."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        kept = value
        if low is not None and value < low:
            kept = low
        if high is not None and value > high:
            kept = high
        if kept is not value:
            fitting.dropped.add(f"{what} {value:g}: sent as {kept:g}")
        return kept

    return rule


def most_tokens(value: Any, fitting: Fitting) -> Any:
    """The caller's limit is a ceiling, not a demand: a model that gives less is asked for what it gives."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    limit = fitting.model.room(fitting.input_tokens)
    if limit is not None and limit < min(value, LEAST_TOKENS):  # next to nothing: the provider judges
        limit = fitting.model.max_output_tokens
    if limit is None or value <= limit:
        return value
    fitting.dropped.adapt(f"max_tokens {value:g}: sent as {limit}")
    return limit


def pairs(count: int, key_chars: int, value_chars: int) -> Rule:
    """Metadata: so many pairs of texts. What is no text is sent as JSON."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, dict):
            return value
        kept: dict[str, str] = {}
        for key, each in list(value.items())[:count]:
            text = each if isinstance(each, str) else msgspec.json.encode(each).decode()
            kept[str(key)[:key_chars]] = text[:value_chars]
        if kept == value:
            return value
        fitting.dropped.adapt("metadata: sent in the provider's form")
        return kept

    return rule


def media(*type_fields: str) -> Rule:
    """An inline picture: its type as the data say. `type_fields`: what the field of the type may be called."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("data"), str):
            return value
        meant = {
            field: image_type(value[field], value["data"]) for field in type_fields if isinstance(value.get(field), str)
        }
        return value if all(value[field] == each for field, each in meant.items()) else {**value, **meant}

    return rule


def data_urls(value: Any, fitting: Fitting) -> Any:
    """An inline picture as a `data:` URL."""
    parts = split_data_url(value) if isinstance(value, str) else None
    if parts is None or not parts[1].endswith(";base64"):
        return value
    named, parameters, data = parts
    meant = image_type(named, data)
    return value if meant == named else f"data:{meant}{parameters},{data}"


def object_schema(value: Any, fitting: Fitting) -> Any:
    """The schema of a tool's arguments: an object, with its properties at the top."""
    if not isinstance(value, dict):
        return value
    if value.get("type") == "object" and "properties" in value and not any(each in value for each in _COMBINED):
        return value
    schema = _resolved(value)
    merged: dict[str, Any] = {"type": "object", "properties": {}}
    merged |= {key: each for key, each in schema.items() if key not in (*_COMBINED, "type")}
    required = list(schema.get("required") or ())
    for keyword in _COMBINED:
        branches = [_resolved({**each, "$defs": value.get("$defs")}) for each in objects_of(schema.get(keyword))]
        if not branches:
            continue
        for branch in branches:
            merged["properties"] = {**(branch.get("properties") or {}), **merged["properties"]}
        wanted = [list(branch.get("required") or ()) for branch in branches]
        needed = wanted[0] if keyword != "allOf" else [name for each in wanted for name in each]
        required += [name for name in needed if keyword == "allOf" or all(name in each for each in wanted)]
        fitting.dropped.add(f"`{keyword}` at the top of a tool's schema: sent as one object")
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema that only refers to one of its own definitions, as that definition."""
    reference = str(schema.get("$ref") or "")
    if not reference.startswith("#/"):
        return {key: each for key, each in schema.items() if each is not None}
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    kept = {key: each for key, each in schema.items() if key != "$ref" and each is not None}
    return {**kept, **found} if isinstance(found, dict) else kept


# --- and back ---------------------------------------------------------------------------------------------------------


class Restorer:
    """Gives the caller its own names and ids back."""

    def __init__(self, renamed: Mapping[str, str]) -> None:
        """`renamed`: what was sent, and what the caller wrote."""
        self._renamed = renamed
        # What was sent is plain ASCII. Inside of a text its quotes would be escaped, and it is not found.
        self._sent = re.compile(rb'"(%s)"' % b"|".join(re.escape(each.encode()) for each in renamed))

    def completion(self, completion: Completion) -> Completion:
        """A whole answer."""
        return msgspec.structs.replace(
            completion, parts=self._parts(completion.parts), raw=self._sent.sub(self._written, completion.raw)
        )

    def chunk(self, chunk: Chunk) -> Chunk:
        """A piece of a streamed one."""
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
