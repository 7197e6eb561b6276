"""Reads and writes Gemini's parts. Source: https://ai.google.dev/api/caching#Part."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from semroute.dialects.shared.body_parsing import arguments_of, error_moved_to, object_of, objects_of, without_empty
from semroute.dialects.shared.data_urls import data_url, read_data_url
from semroute.dialects.shared.dropped import Dropped
from semroute.dialects.shared.thinking import SEAL, is_sealed, seal, unseal
from semroute.errors import RequestError
from semroute.messages import Document, Image, Opaque, Part, Refusal, Text, Thinking, ToolCall, ToolResult

NAME: Final = "gemini"
SKIP_SIGNATURE = "skip_thought_signature_validator"
"""The signature for calls of other models, by Google's documentation. Gemini 3 refuses calls without a signature."""
_URL_SAFE = str.maketrans("-_", "+/")
"""Google takes and sends base64 in both alphabets."""
_SEALED = base64.b64encode(SEAL.encode()).decode()
_UNDERSCORE = re.compile(r"_([a-z])")
_CALLERS_OWN = {
    "args",
    "metadata",
    "parameters",
    "parametersJsonSchema",
    "response",
    "responseJsonSchema",
    "responseSchema",
}
_IMAGE_TYPES = {"png": "image/png", "webp": "image/webp", "gif": "image/gif", "heic": "image/heic"}


def camel_case(value: Any) -> Any:
    """Return a body with field names in camel case. Google takes both spellings. Names that callers chose stay."""
    if isinstance(value, list):
        return [camel_case(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {key: each if key in _CALLERS_OWN else camel_case(each) for key, each in camel_names(value).items()}


def camel_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with their names in camel case."""
    return {_UNDERSCORE.sub(lambda match: match[1].upper(), key): each for key, each in fields.items()}


def as_written(error: RequestError, body: Mapping[str, Any]) -> RequestError:
    """Return the same error, with the path of its field as the caller wrote it, which may be in snake case."""
    steps: list[str] = []
    place: Any = body
    for step in (error.param or "").split("."):
        name, bracket, numbers = step.partition("[")
        if isinstance(place, dict):
            name = next((key for key in place if name in (key, *camel_names({key: None}))), name)
            place = place.get(name)
        for number in re.findall(r"\d+", numbers):
            place = place[int(number)] if isinstance(place, list) and int(number) < len(place) else None
        steps.append(f"{name}{bracket}{numbers}")
    return error_moved_to(error, ".".join(steps)) if error.param else error


def render_signature(thought: Thinking) -> str:
    """Return a thought's signature for a caller. It is always base64, because the official client decodes it."""
    signature = seal(thought, NAME) if thought.signature else ""
    return base64.b64encode(signature.encode("utf-8", "surrogatepass")).decode() if is_sealed(signature) else signature


def _parse_signature(part: Mapping[str, Any]) -> str:
    signature = str(part.get("thoughtSignature") or "")
    if not signature.startswith(_SEALED):
        return signature
    try:
        return base64.b64decode(signature.translate(_URL_SAFE)).decode("utf-8", "replace")
    except ValueError:
        return signature


# --- Gemini's parts to ours -------------------------------------------------------------------------------------------


def parse_part(part: Mapping[str, Any], calls: int, turn: str) -> Part | None:
    """Read one part. None: it is empty.

    `calls` is the number of tool calls before it. `turn` differs from turn to turn, so that made-up call ids differ.
    """
    signature = _parse_signature(part)
    match part:
        case {"text": str(text), "thought": True}:
            return unseal(text, signature, NAME)
        case {"text": str(text)}:
            if text:
                return Text(text=text)
            return unseal("", signature, NAME) if signature else None
        case {"functionCall": {"name": str(name), **call}}:
            arguments = arguments_of(call.get("args") or {})
            id_ = str(call.get("id") or call_id(name, turn, calls))
            return ToolCall(id=id_, name=name, arguments=arguments, index=calls, signature=signature)
        case {"inlineData": {"mimeType": str(media_type), "data": str(data)}}:
            return media(media_type, data_url(media_type, data.translate(_URL_SAFE)))
        case {"fileData": {"fileUri": str(url), **file}}:
            return media(str(file.get("mimeType") or ""), url)
        case _:
            return Opaque(kind=next(iter(part), "empty part"))


def media(media_type: str, url: str) -> Part:
    """Return the part for a file: a picture, a document, or one that other dialects cannot take."""
    if media_type.startswith("image/"):
        return Image(url=url)
    if media_type.startswith(("audio/", "video/")):
        return Opaque(kind=media_type)
    return Document(url=url)


def call_id(name: str, turn: str, number: int) -> str:
    """Make an id for a call that has none. Gemini may leave it out, but other dialects require it."""
    return "call_" + hashlib.sha256(f"{turn}:{number}:{name}".encode("utf-8", "surrogatepass")).hexdigest()[:24]


def keep_own_thoughts(body: dict[str, Any], dropped: Dropped, *, sign_calls: bool) -> None:
    """Remove thoughts of other providers from a caller's own body, and sign the calls of other models."""
    contents: list[Any] = []
    changed = False
    for content in camel_case(body.get("contents") or []):
        parts = content.get("parts") or []
        own = [part for part in parts if not is_sealed(_parse_signature(part))]
        if len(own) < len(parts):
            dropped.add("thinking of another provider")
            changed = True
        calls = [part for part in own if "functionCall" in part]
        if sign_calls and calls and not any("thoughtSignature" in part for part in calls):
            calls[0]["thoughtSignature"] = SKIP_SIGNATURE  # Gemini signs the first of several
            changed = True
        if own:
            contents.append({**content, "parts": own})
    if changed:
        body["contents"] = contents


# --- our parts to Gemini's --------------------------------------------------------------------------------------------


class Parts:
    """Renders the parts of one conversation. What Gemini cannot take is noted.

    Gemini wants a signature back on the part that it came with. Some dialects have no field for it, and send a thought
    without text instead. If a call follows, the signature is the call's. Otherwise it is that of the text beside it.
    """

    def __init__(self, dropped: Dropped, *, sign_calls: bool) -> None:
        self._dropped = dropped
        self._sign_calls = sign_calls
        self._names: dict[str, str] = {}

    def all(self, parts: Iterable[Part]) -> list[dict[str, Any]]:
        """Render the parts of one turn."""
        rendered: list[dict[str, Any]] = []
        waiting = ""
        has_calls = False
        for part in parts:
            if isinstance(part, Thinking) and part.origin == NAME and part.signature and not part.text:
                rendered += _alone(waiting)
                waiting = part.signature
                continue
            if isinstance(part, ToolCall):
                rendered.append(self._call(part, waiting, first=not has_calls))
                waiting, has_calls = "", True
                continue
            shown = self.render(part)
            if shown is not None and shown.keys() == {"text"} and not _is_text(rendered):
                shown, waiting = {**shown, **({"thoughtSignature": waiting} if waiting else {})}, ""
            rendered += _signed(rendered, waiting)
            waiting = ""
            if shown is not None:
                rendered.append(shown)
        return rendered + _signed(rendered, waiting)

    def render(self, part: Part) -> dict[str, Any] | None:
        """Render one part. None: Gemini has no such part."""
        self._dropped.add_given(**{"cache_control": getattr(part, "cache", None)})
        match part:
            case Text(text=text) | Refusal(text=text):
                return {"text": text} if text else None
            case Image(url=url, detail=detail):
                self._dropped.add_given(**{"image_url.detail": detail})
                return _media(url, "image/jpeg")
            case Document(url=url, cite=cite):
                self._dropped.add_given(citations=cite)
                return _media(url, "application/pdf")
            case Thinking():
                return self._thinking(part)
            case ToolCall():
                return self._call(part, "", first=True)
            case ToolResult():
                return self._result(part)
            case _:
                self._dropped.add(part.kind)
        return None

    def _thinking(self, part: Thinking) -> dict[str, Any] | None:
        if part.origin != NAME or not part.signature:
            self._dropped.add("thinking of another provider")
            return None
        thought = {"thought": True} if part.text else {}
        return {"text": part.text, **thought, "thoughtSignature": part.signature}

    def _call(self, part: ToolCall, signature: str, *, first: bool) -> dict[str, Any]:
        """Render a call with its signature. Gemini signs the first of parallel calls, and needs no other signature."""
        self._dropped.add_given(**{"cache_control": part.cache})
        self._names[part.id] = part.name
        signature = part.signature or signature or (SKIP_SIGNATURE if self._sign_calls and first else "")
        call = {"name": part.name, "args": object_of(part.arguments), **without_empty({"id": part.id or None})}
        return {"functionCall": call, **({"thoughtSignature": signature} if signature else {})}

    def _result(self, part: ToolResult) -> dict[str, Any]:
        """Render a tool result. Gemini matches results by the function's name, which is known from the call."""
        name = self._names.get(part.id, part.id)
        answer = {"error" if part.is_error else "output": part.text}
        inline: list[dict[str, Any]] = []
        for each in part.media:
            shown = None if isinstance(each, Opaque) else _inline(each.url)
            if shown is not None:
                inline.append(shown)
            else:
                self._dropped.add(each.kind if isinstance(each, Opaque) else "file of a tool result by address")
        result = {"name": name, "response": answer, **without_empty({"id": part.id or None, "parts": inline})}
        return {"functionResponse": result}


def _signed(rendered: list[dict[str, Any]], signature: str) -> list[dict[str, Any]]:
    """Put a signature on the text before it. If there is none, return a new part with the signature."""
    if signature and _is_text(rendered):
        rendered[-1]["thoughtSignature"] = signature
        return []
    return _alone(signature)


def _is_text(rendered: list[dict[str, Any]]) -> bool:
    """Whether the last part is a text without a signature."""
    return bool(rendered) and rendered[-1].keys() == {"text"}


def _alone(signature: str) -> list[dict[str, Any]]:
    return [{"text": "", "thoughtSignature": signature}] if signature else []


def _inline(url: str) -> dict[str, Any] | None:
    inline = read_data_url(url)
    return {"inlineData": {"mimeType": inline.media_type, "data": inline.data}} if inline else None


def _media(url: str, default_type: str) -> dict[str, Any]:
    """Render a file, inline or by address. Gemini requires a media type, so it is guessed from the address."""
    ending = url.partition("?")[0].rpartition(".")[2].lower()
    media_type = _IMAGE_TYPES.get(ending, default_type)
    return _inline(url) or {"fileData": {"mimeType": media_type, "fileUri": url}}


def drop_logprobs(answer: dict[str, Any]) -> None:
    """Remove the log-probabilities from a provider's answer. Some servers send the average without being asked.

    Source: https://ai.google.dev/api/generate-content#Candidate.
    """
    for candidate in objects_of(answer.get("candidates")):
        candidate.pop("logprobsResult", None)
        candidate.pop("avgLogprobs", None)
