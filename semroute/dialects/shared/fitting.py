"""Changes ids, names, lengths, counts and numbers that a provider would refuse. `field_limits.py` lists the limits.

A rule gets the value of one field, and returns it or another value. The request remembers each name and id that was
changed, so that the caller gets its own back.
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
"""The length of the digest at the end of a shortened name. It keeps two names from becoming the same."""
_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")
_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COMBINED = ("allOf", "anyOf", "oneOf")


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


# --- rules ------------------------------------------------------------------------------------------------------------


def shorten(value: str, chars: int) -> str:
    """Shorten a name to letters, digits, `_` and `-`. The same value gives the same name each time."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:HASH_CHARS]
    head = _PLAIN.sub("_", value[:chars])
    head = head if head[:1].isalpha() or head[:1] == "_" else f"_{head}"
    return f"{head[: chars - HASH_CHARS - 1]}_{digest}"


def drawn(value: str, chars: int) -> str:
    """Make an id of letters and digits, which is the same each time for the same value."""
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:chars])


def names(pattern: str, chars: int) -> Rule:
    """Make the rule for tool names."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (takes(value) and len(value) <= chars):
            return value
        return fitting.rename(value, shorten(value, chars), "tools.function.name")

    return rule


def ids(
    role: Literal["call", "result", "item"],
    pattern: str = r"(?s).+",
    chars: int = 0,
    *,
    exact: bool = False,
    unique: bool = True,
) -> Rule:
    """Make the rule for ids of tool calls, on the call and on its result.

    `chars` is the most characters, or with `exact` the exact number. 0: any number. `role` is `item` for a whole item
    of the Responses dialect: its type says whether it is a call or a result. `unique`: all calls of a conversation must
    have different ids. Some servers number the calls of each turn from 0.
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
    """Make the rule for a text that only has to be the same each time. A long one is sent as its SHA-256 in hex."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (len(value) <= chars and takes(value)):
            return value
        fitting.dropped.adapt(f"{what}: sent as its SHA-256")
        return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:chars]

    return rule


def label(what: str, pattern: str, chars: int) -> Rule:
    """Make the rule for a name that no answer contains."""
    takes = re.compile(pattern).fullmatch

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, str) or (takes(value) and len(value) <= chars):
            return value
        fitting.dropped.adapt(f"{what}: sent in the provider's form")
        return shorten(value, chars)

    return rule


def first(what: str, count: int) -> Rule:
    """Make the rule for a list with a maximum length."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, list) or len(value) <= count:
            return value
        fitting.dropped.add(f"{what} after the first {count}")
        return value[:count]

    return rule


def between(what: str, low: float | None, high: float | None) -> Rule:
    """Make the rule for a number with a range."""

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
    """Lower the caller's token limit to what the model can give. A limit does not demand that many tokens."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    limit = fitting.model.room(fitting.input_tokens)
    if limit is not None and limit < min(value, LEAST_TOKENS):  # there is hardly any room: let the provider decide
        limit = fitting.model.max_output_tokens
    if limit is None or value <= limit:
        return value
    fitting.dropped.adapt(f"max_tokens {value:g}: sent as {limit}")
    return limit


def pairs(count: int, key_chars: int, value_chars: int) -> Rule:
    """Make the rule for metadata, which is a limited number of pairs of texts. Other values are sent as JSON."""

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
    """Make the rule for an inline picture: correct its media type. `type_fields` are the names of the type's field."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, dict) or not isinstance(value.get("data"), str):
            return value
        meant = {
            field: image_type(value[field], value["data"]) for field in type_fields if isinstance(value.get(field), str)
        }
        return value if all(value[field] == each for field, each in meant.items()) else {**value, **meant}

    return rule


def data_urls(value: Any, fitting: Fitting) -> Any:
    """Correct the media type of a picture in a `data:` URL."""
    parts = split_data_url(value) if isinstance(value, str) else None
    if parts is None or not parts[1].endswith(";base64"):
        return value
    named, parameters, data = parts
    meant = image_type(named, data)
    return value if meant == named else f"data:{meant}{parameters},{data}"


def object_schema(value: Any, fitting: Fitting) -> Any:
    """Turn the schema of a tool's arguments into one object with its properties at the top."""
    if not isinstance(value, dict):
        return value
    if value.get("type") == "object" and "properties" in value and not any(each in value for each in _COMBINED):
        return value
    schema = _resolved(value)
    merged: dict[str, Any] = {"type": "object", "properties": {}}
    merged |= {key: each for key, each in schema.items() if key not in (*_COMBINED, "type")}
    required = _names(schema.get("required"))
    for keyword in _COMBINED:
        branches = [_resolved({**each, "$defs": value.get("$defs")}) for each in objects_of(schema.get(keyword))]
        if not branches:
            continue
        for branch in branches:
            merged["properties"] = {**_object(branch.get("properties")), **_object(merged["properties"])}
        wanted = [_names(branch.get("required")) for branch in branches]
        needed = wanted[0] if keyword != "allOf" else [name for each in wanted for name in each]
        required += [name for name in needed if keyword == "allOf" or all(name in each for each in wanted)]
        fitting.dropped.add(f"tools.function.parameters.{keyword}: sent as one object")
    if required:
        merged["required"] = list(dict.fromkeys(required))
    return merged


def _resolved(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a reference at the top of a schema by the definition."""
    reference = str(schema.get("$ref") or "")
    if not reference.startswith("#/"):
        return {key: each for key, each in schema.items() if each is not None}
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    kept = {key: each for key, each in schema.items() if key != "$ref" and each is not None}
    return {**kept, **found} if isinstance(found, dict) else kept


def _names(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


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
