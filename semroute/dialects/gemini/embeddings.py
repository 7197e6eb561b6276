"""Gemini's embeddings, for callers and providers, and translation from and to OpenAI's.

Sources: https://ai.google.dev/api/embeddings, https://platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping
from typing import Any

import msgspec

from semroute.dialects.gemini.client import Gemini
from semroute.dialects.gemini.content import NAME, as_written, camel_case
from semroute.dialects.shared.body_parsing import OURS, objects, problem, refuse_auto, without_empty
from semroute.dialects.shared.dropped import Dropped
from semroute.errors import BadAnswerError, RequestError, UnsupportedError
from semroute.json_errors import UNREADABLE
from semroute.messages import EMBEDDINGS, ChatRequest, Completion, Message, Text
from semroute.record import Record

GEMINI_EMBEDDINGS = "gemini_embeddings"
"""The dialect of requests for embeddings in Gemini's form."""
_SETTINGS = ("taskType", "title", "autoTruncate", "documentOcr", "audioTrackExtraction")
"""Settings that OpenAI's embeddings do not have."""


class GeminiEmbeddings(Gemini):
    """The client side of `embedContent` and `batchEmbedContents`."""

    name = GEMINI_EMBEDDINGS

    def __init__(self, *, batch: bool = False) -> None:
        """`batch`: the body has several contents, in `requests`."""
        self._batch = batch

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, also for `auto`: vectors of two models cannot be compared."""
        written, body = body, camel_case(body)
        model = str(body.get("model") or "")
        refuse_auto(model or "auto", model)  # a request without a model asks to be routed
        if self._batch and not body.get("requests"):
            raise problem("requests", "got none, expected at least one request with its `content`")
        try:
            requests = objects(body.get("requests"), "requests") if self._batch else [body]
            asked = [
                _parse(request, f"requests[{number}]." if self._batch else "")
                for number, request in enumerate(requests)
            ]
        except RequestError as error:
            raise as_written(error, written) from None
        models, strict = body.get("models"), body.get("strict")
        return ChatRequest(
            id=request_id,
            messages=(Message(role="user", parts=tuple(Text(text=text_of(request)) for request in asked)),),
            model=model,
            models=tuple(models) if isinstance(models, list) and all(isinstance(each, str) for each in models) else (),
            strict=strict is True,
            metadata=metadata if isinstance(metadata := body.get("metadata"), dict) else {},
            endpoint=EMBEDDINGS,
            dialect=GEMINI_EMBEDDINGS,
            raw={"requests": asked},
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render the vectors in Gemini's form."""
        vectors = [{"values": each} for each in vectors_of(completion)]
        return msgspec.json.encode({"embeddings": vectors} if self._batch else {"embedding": vectors[0]})


def _parse(request: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Read one request. Newer clients write the settings in `embedContentConfig`. They are moved to the top here."""
    content = request.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not objects(parts if isinstance(parts, list) else None, f"{path}content.parts"):
        raise problem(f"{path}content", "expected a content with at least one part, such as {'parts': [{'text': '…'}]}")
    config = request.get("embedContentConfig")
    settings = {**request, **(config if isinstance(config, dict) else {})}
    return {
        "content": content,
        **{name: settings[name] for name in (*_SETTINGS, "outputDimensionality") if name in settings},
    }


def text_of(request: Mapping[str, Any]) -> str:
    """Return the text of one request."""
    return "\n".join(str(part["text"]) for part in request["content"]["parts"] if isinstance(part.get("text"), str))


# --- requests to providers --------------------------------------------------------------------------------------------


def openai_body(request: ChatRequest, dropped: Dropped) -> dict[str, Any]:
    """Render OpenAI's body for a request of either dialect. Raises `UnsupportedError` for content other than text."""
    if request.dialect != GEMINI_EMBEDDINGS:
        return {key: value for key, value in request.raw.items() if key not in OURS}
    asked: list[dict[str, Any]] = request.raw["requests"]
    if any(set(part) - {"text"} for each in asked for part in each["content"]["parts"]):
        raise UnsupportedError("OpenAI's embeddings take only text")
    sizes = {each.get("outputDimensionality") for each in asked}
    if len(sizes) > 1:
        raise UnsupportedError("OpenAI's embeddings have one size for all texts of a request")
    dropped.add_given(**{name: next((each[name] for each in asked if each.get(name)), None) for name in _SETTINGS})
    return without_empty(
        {"input": [text_of(each) for each in asked], "dimensions": sizes.pop(), "encoding_format": "float"}
    )


def gemini_body(request: ChatRequest, model_name: str, dropped: Dropped) -> dict[str, Any]:
    """Render Gemini's body, always a batch. Raises `UnsupportedError` for token ids: only OpenAI takes them."""
    model = f"models/{model_name}"
    if request.dialect == GEMINI_EMBEDDINGS:
        return {"requests": [{"model": model, **each} for each in request.raw["requests"]]}
    said = request.raw["input"]
    texts = [said] if isinstance(said, str) else said
    if not all(isinstance(text, str) for text in texts):
        raise UnsupportedError("Gemini's embeddings take text, not tokens")
    dropped.add_given(user=request.raw.get("user"))
    size = without_empty({"outputDimensionality": request.raw.get("dimensions")})
    return {"requests": [{"model": model, "content": {"parts": [{"text": text}]}, **size} for text in texts]}


# --- answers ----------------------------------------------------------------------------------------------------------


class _Vector(msgspec.Struct):
    values: list[float]


class _Gemini(msgspec.Struct):
    embeddings: list[_Vector]


class _Datum(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class _OpenAI(msgspec.Struct):
    data: list[_Datum]


def vectors_of(completion: Completion) -> list[list[float]]:
    """Return the vectors of an answer, in order. Raises `BadAnswerError` if they cannot be read."""
    try:
        if completion.dialect == NAME:
            found = [each.values for each in msgspec.json.decode(completion.raw, type=_Gemini).embeddings]
        else:
            data = msgspec.json.decode(completion.raw, type=_OpenAI).data
            found = [_numbers(datum.embedding) for datum in sorted(data, key=lambda datum: datum.index)]
    except (*UNREADABLE, ValueError, struct.error) as error:
        raise BadAnswerError(f"the embeddings cannot be read: {error}", body=completion.raw) from None
    if not found:
        raise BadAnswerError("the answer holds no embeddings", body=completion.raw)
    return found


def _numbers(embedding: list[float] | str) -> list[float]:
    """Return the numbers of a vector. In base64 they are little-endian float32."""
    if not isinstance(embedding, str):
        return embedding
    packed = base64.b64decode(embedding, validate=True)
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def openai_answer(completion: Completion, record: Record, request: ChatRequest) -> bytes:
    """Render OpenAI's form of an answer that came from a provider of another dialect."""
    packed = request.raw.get("encoding_format") == "base64"
    usage = completion.usage or record.usage
    data = [
        {"object": "embedding", "index": number, "embedding": _packed(vector) if packed else vector}
        for number, vector in enumerate(vectors_of(completion))
    ]
    tokens = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
    return msgspec.json.encode(
        {"object": "list", "data": data, "model": completion.model or record.model, "usage": tokens}
    )


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
