"""A body in one of OpenAI's two dialects, as the model that was chosen takes it, and what both dialects share.

A caller's own body is changed as well: callers write it for one model, and routing chooses another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from semroute.config.schema.models import Model
from semroute.dialects.openai.models import Traits, traits_of
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.model_abilities import EFFORTS, fitting_effort
from semroute.errors import UnsupportedError
from semroute.messages import ChatRequest, Effort

LOGPROBS = "message.output_text.logprobs"
"""What asks for log-probabilities over Responses."""
_SAMPLING = ("temperature", "top_p", "logprobs", "top_logprobs")
_PLAIN: dict[str, object] = {"temperature": 1, "top_p": 1}
"""Values that ask for what a model does anyway."""
_MINDED = frozenset({"reasoning_effort", "prompt_cache_options", "service_tier", *_SAMPLING})
"""The fields that models differ in, beside those that some refuse."""
_OF_5_6 = ("mode", "context")
SHARED = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention")
"""Fields with one meaning in both dialects, beyond those that other dialects have too."""


def suit_chat(body: dict[str, Any], server: str, model: Model, dropped: Dropped) -> None:
    """Change a body of Chat Completions in place. Raises `UnsupportedError` where the model is not served that way."""
    traits = traits_of(server, model.name)
    if traits.usual is None and _MINDED.isdisjoint(body) and not any([field in body for field in traits.refuses]):
        return  # as with nearly all bodies for models that are not OpenAI's own
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
            dropped.add("stop sequences" if field == "stop" else field)


def _fitted(asked: object, traits: Traits, dropped: Dropped) -> Effort | None:
    """The effort at which the model will reason, as far as that is known."""
    effort = next((each for each in EFFORTS if each == asked), None)
    if effort is None:
        return traits.usual if asked is None else None
    return fitting_effort(effort, traits.efforts, dropped)


def _for_tools(effort: Effort, traits: Traits, model: Model, dropped: Dropped) -> Effort:
    """Over Chat Completions some models call tools only when they do not reason, others not at all."""
    if traits.chat_tools == "never":
        raise UnsupportedError(f"{model.name} calls tools over `dialect: responses` alone: write that for its provider")
    if traits.chat_tools == "always" or effort == "none":
        return effort
    why = "the model reasons and calls tools at once over `dialect: responses` alone"
    dropped.add(f"reasoning effort {effort}: sent as none, as {why}")
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
        dropped.add("service tier ultrafast")
        del body["service_tier"]


def _put(body: dict[str, Any], name: str, value: object) -> None:
    if value:
        body[name] = value
    else:
        body.pop(name, None)


# --- from one of the two dialects to the other ------------------------------------------------------------------------


def carried(request: ChatRequest, *, to: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What a body of the other of the two dialects takes as it is, and what of the request is still left unsaid.

    `to`: the dialect of the body.
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
