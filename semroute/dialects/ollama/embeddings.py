"""The client side of Ollama's embeddings, for a named model. Source: https://docs.ollama.com/api/embed."""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.dialects.ollama.client import Ollama, named
from semroute.dialects.ollama.client_answer import nanoseconds
from semroute.dialects.shared.body_parsing import (
    convert,
    problem,
    refuse_auto,
)
from semroute.messages import (
    EMBEDDINGS,
    ChatRequest,
    Completion,
    Message,
    Text,
)
from semroute.record import Record


class OllamaEmbedBody(msgspec.Struct):
    """The fields of `/api/embed` that semroute reads."""

    model: str
    input: str | list[str] | None = None
    prompt: str | None = None
    """The name of `input` in the older `/api/embeddings`."""
    dimensions: int | None = None


class OllamaEmbeddings(Ollama):
    """The client side of `/api/embed`. The provider gets the request in OpenAI's form."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, also for `auto`: vectors of two models cannot be compared."""
        fields = convert(body, OllamaEmbedBody)
        model, given = named(fields.model), fields.prompt if fields.input is None else fields.input
        refuse_auto(model, fields.model)
        if not given:
            raise problem("input", "got nothing, expected text or a list of texts")
        texts = [given] if isinstance(given, str) else given
        size = {} if fields.dimensions is None else {"dimensions": fields.dimensions}
        return ChatRequest(
            id=request_id,
            messages=(Message(role="user", parts=tuple(Text(text=text) for text in texts)),),
            model=model,
            endpoint=EMBEDDINGS,
            dialect=EMBEDDINGS,
            raw={"model": model, "input": given, "encoding_format": "float", **size},
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render all vectors."""
        return msgspec.json.encode(embeddings_of(completion, record))


class OllamaEmbedding(OllamaEmbeddings):
    """The client side of the older `/api/embeddings`, which returns one vector."""

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render the first vector."""
        vectors = embeddings_of(completion, record)["embeddings"]
        return msgspec.json.encode({"embedding": vectors[0] if vectors else []})


def embeddings_of(completion: Completion, record: Record) -> dict[str, Any]:
    """Turn an answer of OpenAI's form into Ollama's."""
    found = msgspec.json.decode(completion.raw).get("data") or []
    usage = completion.usage or record.usage
    return {
        "model": record.model or completion.model,
        "embeddings": [row.get("embedding") for row in sorted(found, key=lambda row: row.get("index") or 0)],
        "total_duration": nanoseconds(record.latency_ms),
        "load_duration": 0,
        "prompt_eval_count": usage.input_tokens,
    }
