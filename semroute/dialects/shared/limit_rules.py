"""The rules of `field_limits.py`: they change ids, names, lengths, counts and numbers that a provider would refuse.

A rule gets the value of one field, and returns it or another value. The request remembers each name and id that was
changed, so that the caller gets its own back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from semroute.config.schema.models import LEAST_TOKENS
from semroute.dialects.shared.body_parsing import objects_of
from semroute.dialects.shared.data_urls import image_type, split_data_url
from semroute.dialects.shared.fitting import Fitting, Rule, shorten

_ALPHABET = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_COMBINED = ("allOf", "anyOf", "oneOf")
BRIDGE = "Understood."
"""A turn of the assistant between a tool's result and the user."""


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


# --- whole lists ------------------------------------------------------------------------------------------------------


def unique(what: str, *path: str) -> Rule:
    """Make the rule for a list in which each name may stand once. `path` leads from an item to its name."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if not isinstance(value, list) or len(value) < 2:
            return value
        kept: list[Any] = []
        names: set[str] = set()
        for item in value:
            name = item
            for step in path:
                name = name.get(step) if isinstance(name, dict) else None
            if isinstance(name, str) and name in names:
                fitting.dropped.add(f"{what}: only the first of two with the same name")
                continue
            names.add(str(name))
            kept.append(item)
        return value if len(kept) == len(value) else kept

    return rule


def filled(what: str) -> Rule:
    """Make the rule for a text or a list of texts, of which none may be empty."""

    def rule(value: Any, fitting: Fitting) -> Any:
        if value != "" and not (isinstance(value, list) and "" in value):
            return value
        fitting.dropped.add(f"{what}: an empty text")
        return [item for item in value if item != ""] or None

    return rule


def mistral_order(value: Any, fitting: Fitting) -> Any:
    """Bring messages into an order that Mistral takes.

    It refuses a turn of the user after a tool's result, an assistant's turn that says nothing, and a last turn of the
    assistant that is not marked as the start of the answer. Sources, read on 2026-11-30:
    https://github.com/avante-corp/avante.nvim/pull/2695, https://github.com/OpenHands/OpenHands/issues/8685,
    https://github.com/huggingface/smolagents/issues/757.
    """
    if not isinstance(value, list):
        return value
    kept: list[Any] = []
    changed = False
    for message in value:
        role = message.get("role") if isinstance(message, dict) else None
        if role == "assistant" and not message.get("content") and not message.get("tool_calls"):
            fitting.dropped.adapt("messages: a turn of the assistant without content is left out")
            changed = True
            continue
        if role == "user" and kept and kept[-1].get("role") == "tool":
            fitting.dropped.adapt("messages: a turn of the assistant follows a tool's result")
            kept.append({"role": "assistant", "content": BRIDGE})
            changed = True
        kept.append(message)
    last = kept[-1] if kept else None
    if isinstance(last, dict) and last.get("role") == "assistant" and not last.get("tool_calls"):
        kept[-1] = {**last, "prefix": True}
        changed = True
    return kept if changed else value
