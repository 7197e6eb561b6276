"""Ollama's API, as the rest of semroute knows it. Its servers speak OpenAI's Chat Completions too: see the presets."""

from __future__ import annotations

from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.ollama.client import Ollama
from semroute.dialects.ollama.embeddings import OllamaEmbedBody, OllamaEmbedding, OllamaEmbeddings

DIALECT = Dialect(
    client=Ollama(),
    signs=Signs(shared_paths=("/api/",)),
    endpoints=(
        Endpoint(
            path="/api/embed",
            client=OllamaEmbeddings(),
            body=OllamaEmbedBody,
            about="Ollama's embeddings, by a model that is named.",
        ),
        Endpoint(
            path="/api/embeddings",
            client=OllamaEmbedding(),
            body=OllamaEmbedBody,
            about="The same in the older form: one vector.",
        ),
    ),
)
