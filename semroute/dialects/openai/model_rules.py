"""Changes a body in one of OpenAI's two dialects to what the chosen model and its server accept.

A caller's own body is changed too: callers write it for one model, and routing may choose another. Fields that only
OpenAI has are carried from one of the two dialects to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from semroute.config.presets import PRIVATE_FIELDS, Preset
from semroute.config.schema.models import Model
from semroute.dialects.gemini.models import traits_of as gemini_traits
from semroute.dialects.openai.content import parse_schema, thinking_chunk, with_signatures, without
from semroute.dialects.openai.models import Traits, traits_of
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.json_output import instruction
from semroute.dialects.shared.model_abilities import EFFORTS, fitting_effort
from semroute.errors import UnsupportedError
from semroute.messages import ChatRequest, Effort

LOGPROBS = "message.output_text.logprobs"
"""The value of `include` that asks for log-probabilities in Responses."""
_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_PLAIN: dict[str, object] = {"temperature": 1, "top_p": 1}
"""Default values, which ask for nothing."""
_MINDED = frozenset({"reasoning_effort", "prompt_cache_options", "service_tier", *_SAMPLING})
"""Fields that some models accept only in part. Fields that a model refuses are in its traits."""
_OF_5_6 = ("mode", "context")
SHARED = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")
"""Fields with the same name and meaning in both dialects, which a `ChatRequest` does not hold."""
NEWER = ("prompt_cache_options", "prompt_cache_retention")
"""OpenAI's fields that no other server knows."""
LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")


def suit_chat(body: dict[str, Any], server: str, model: Model, dropped: Dropped) -> None:
    """Change a body of Chat Completions in place. Raises `UnsupportedError` if the model needs Responses."""
    traits = traits_of(server, model.name)
    if traits.usual is None and _MINDED.isdisjoint(body) and not any([field in body for field in traits.refuses]):
        return  # the most common case for models of other vendors
    _refuse(body, traits.refuses, dropped)
    asked = body.get("reasoning_effort")
    effort = _fitted(asked, traits, dropped)
    if effort is not None and (body.get("tools") or body.get("functions")):
        effort = _for_tools(effort, traits, model, dropped)
    if asked is not None or effort != traits.usual:
        _say_effort(body, effort, traits)
    _sampling(body, effort, traits, dropped)
    _newer_fields(body, traits, dropped)


def suit_responses(body: dict[str, Any], model: Model, dropped: Dropped) -> None:
    """Change a body of Responses in place."""
    traits = traits_of("", model.name)
    _refuse(body, tuple(field for field in traits.refuses if field != "reasoning_effort"), dropped)
    reasoning = body.get("reasoning")
    reasoning = dict(reasoning) if isinstance(reasoning, dict) else {}
    if "reasoning_effort" in traits.refuses and reasoning.pop("effort", None) is not None:
        dropped.add("reasoning_effort")
    asked = reasoning.get("effort")
    effort = _fitted(asked, traits, dropped)
    if asked is not None and effort is not None:
        reasoning["effort"] = effort
    for field in _OF_5_6:
        if not traits.cache_options and reasoning.pop(field, None) is not None:
            dropped.add(f"reasoning.{field}")
    if reasoning != (body.get("reasoning") or {}):
        _put(body, "reasoning", reasoning)
    _sampling(body, effort, traits, dropped)
    include = body.get("include")
    if isinstance(include, list) and LOGPROBS in include and not _may_sample(effort, traits):
        dropped.add("logprobs")
        _put(body, "include", [each for each in include if each != LOGPROBS])
    _newer_fields(body, traits, dropped)


def _refuse(body: dict[str, Any], fields: Iterable[str], dropped: Dropped) -> None:
    for field in fields:
        value = body.pop(field, None)
        if value not in (None, 0, [], {}):
            dropped.add(field)


def _fitted(asked: object, traits: Traits, dropped: Dropped) -> Effort | None:
    """Return the effort at which the model will reason. None: it is not known."""
    effort = next((each for each in EFFORTS if each == asked), None)
    if effort is None:
        return traits.usual if asked is None else None
    return fitting_effort(effort, traits.efforts, dropped)


def _for_tools(effort: Effort, traits: Traits, model: Model, dropped: Dropped) -> Effort:
    """Return the effort for a request with tools.

    Over Chat Completions, some models call tools only without reasoning, and others never do.
    """
    if traits.chat_tools == "never":
        raise UnsupportedError(
            f"{model.name} calls tools only over the Responses API: write `dialect: responses` for its provider"
        )
    if traits.chat_tools == "always" or effort == "none":
        return effort
    why = "the model reasons and calls tools at once only over `dialect: responses`"
    dropped.add(f"reasoning_effort {effort}: sent as none, as {why}")
    return "none"


def _say_effort(body: dict[str, Any], effort: Effort | None, traits: Traits) -> None:
    if effort is None:
        return
    if effort == "none" and traits.off == "thinking":
        body.pop("reasoning_effort", None)
        body.setdefault("thinking", {"type": "disabled"})
    else:
        body["reasoning_effort"] = effort


def _may_sample(effort: Effort | None, traits: Traits) -> bool:
    return traits.sampling == "always" or (traits.sampling == "unreasoning" and effort == "none")


def _sampling(body: dict[str, Any], effort: Effort | None, traits: Traits, dropped: Dropped) -> None:
    if _may_sample(effort, traits):
        return
    for field in _SAMPLING:
        value = body.pop(field, None)
        if value is not None and value is not False and value != _PLAIN.get(field):
            dropped.add(field)


def _newer_fields(body: dict[str, Any], traits: Traits, dropped: Dropped) -> None:
    if not traits.cache_options and body.pop("prompt_cache_options", None) is not None:
        dropped.add("prompt_cache_options")
    if not traits.ultrafast and body.get("service_tier") == "ultrafast":
        dropped.add("service_tier ultrafast")
        del body["service_tier"]


def _put(body: dict[str, Any], name: str, value: object) -> None:
    if value:
        body[name] = value
    else:
        body.pop(name, None)


# --- changes for one server -------------------------------------------------------------------------------------------


def suit_server(body: dict[str, Any], preset: Preset, model: Model, dropped: Dropped) -> None:
    """Change a body, also a caller's own, to what the server accepts."""
    for field in LIMIT_FIELDS:
        if preset.limit_field not in ("", field) and field in body:
            body.setdefault(preset.limit_field, body.pop(field))
    for field in preset.drop if preset.of_openai else (*preset.drop, *NEWER):
        if field in body and _asks(field, body.pop(field)):
            dropped.add(field)
    tier = body.get("service_tier")
    if preset.tiers and tier is not None and tier not in preset.tiers:
        dropped.add_given(**{f"service_tier {tier}": tier != "default"})
        del body["service_tier"]
    body |= {name: body.pop(field) for field, name in preset.rename.items() if field in body}
    if not preset.json_schema and isinstance(body.get("messages"), list):
        _instruct(body)
    if isinstance(messages := body.get("messages"), list):
        body["messages"] = _suited_messages(messages, preset, model, dropped)


def _instruct(body: dict[str, Any]) -> None:
    """Replace a JSON Schema by JSON mode and an instruction."""
    match body.get("response_format"):
        case {"type": "json_schema", "json_schema": dict(fields)}:
            text = instruction(parse_schema(fields))
            body["messages"] = [{"role": "system", "content": text}, *body["messages"]]
            body["response_format"] = {"type": "json_object"}


def _asks(field: str, value: object) -> bool:
    return value not in (None, False, [], {}) and not (field == "n" and value == 1)


def _suited_messages(messages: list[Any], preset: Preset, model: Model, dropped: Dropped) -> list[Any]:
    messages = without(PRIVATE_FIELDS.difference(preset.own_fields), messages)  # many servers refuse these
    if preset.call_signatures and gemini_traits(model.name).signs_calls:
        messages = with_signatures(messages)
    if preset.developer and not preset.message_drop and not preset.thoughts:
        return messages  # as they are: most servers take all forms
    reasons = "reasoning" in model.features
    return [_suited(message, preset, reasons, dropped) for message in messages]


def _suited(message: Any, preset: Preset, reasons: bool, dropped: Dropped) -> Any:
    if not isinstance(message, dict):
        return message
    thought = message.get("reasoning_content")
    if preset.thoughts == "chunks" and reasons and isinstance(thought, str) and thought:
        message = _with_chunk(message, thought)
    refused = [field for field in preset.message_drop if field in message]
    if refused:
        dropped.add_given(**{f"messages.{field}": _asks(field, message[field]) for field in refused})
        message = {field: value for field, value in message.items() if field not in refused}
    if message.get("role") == "developer" and not preset.developer:
        message = {**message, "role": "system"}
    if message.get("role") == "assistant" and preset.thoughts == "reasoning_content":
        message = {"reasoning_content": "", **message}
    return message


def _with_chunk(message: dict[str, Any], thought: str) -> dict[str, Any]:
    """Move the thought of a message into its content."""
    content = message.get("content")
    said = [{"type": "text", "text": content}] if isinstance(content, str) and content else content or []
    rest = {field: value for field, value in message.items() if field != "reasoning_content"}
    return {**rest, "content": [thinking_chunk(thought), *said]}


# --- from one of the two dialects to the other ------------------------------------------------------------------------


def carried_fields(request: ChatRequest, *, to: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields to copy into a body of the other dialect, and the names of fields that are still left out.

    `to` is the dialect of the new body.
    """
    if request.dialect not in ("openai", "responses") or request.dialect == to:
        return {}, request.unread
    raw = request.raw
    fields: dict[str, Any] = {name: raw[name] for name in SHARED if raw.get(name) is not None}
    taken = {*fields}
    options = raw.get("stream_options")
    if request.stream and isinstance(options, dict) and isinstance(options.get("include_obfuscation"), bool):
        fields["stream_options"] = {"include_obfuscation": options["include_obfuscation"]}
    verbosity = _verbosity[request.dialect](raw)
    if verbosity is not None:
        taken.add("verbosity" if request.dialect == "openai" else "text.verbosity")
        fields["verbosity"] = verbosity
    return fields, tuple(name for name in request.unread if name not in taken)


def _of_text(raw: dict[str, Any]) -> Any:
    text = raw.get("text")
    return text.get("verbosity") if isinstance(text, dict) else None


_verbosity: dict[str, Callable[[dict[str, Any]], Any]] = {
    "openai": lambda raw: raw.get("verbosity"),
    "responses": _of_text,
}
