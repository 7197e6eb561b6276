"""The description of Ollama's API for the rest of semroute.

Ollama's servers are called over Chat Completions, by a preset of the `openai` dialect.
"""

from __future__ import annotations

from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.ollama.client import Ollama
from semroute.dialects.ollama.embeddings import OllamaEmbedBody, OllamaEmbedding, OllamaEmbeddings

_OPTIONS = ("frequency_penalty", "presence_penalty", "seed", "stop", "temperature", "top_k", "top_p")

DIALECT = Dialect(
    client=Ollama(),
    field_names={
        "max_tokens": ("options.num_predict",),
        "reasoning_effort": ("think",),
        "response_format": ("format",),
        **{name: (f"options.{name}",) for name in _OPTIONS},
    },
    signs=Signs(shared_paths=("/api/",)),
    endpoints=(
        Endpoint(
            path="/api/embed",
            client=OllamaEmbeddings(),
            body=OllamaEmbedBody,
            about="Ollama's embeddings, by the model that the request names.",
        ),
        Endpoint(
            path="/api/embeddings",
            client=OllamaEmbedding(),
            body=OllamaEmbedBody,
            about="Ollama's older embeddings: one vector for one text.",
        ),
    ),
)
