"""OpenAI's Chat Completions, as the rest of semroute knows it."""

from __future__ import annotations

from semroute.config.presets import preset_of
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.openai.body_edits import EDITS
from semroute.dialects.openai.client import ChatBody, OpenAI
from semroute.dialects.openai.content import drop_logprobs
from semroute.dialects.openai.embeddings import Embeddings, EmbeddingsBody
from semroute.dialects.openai.model_list import OpenAIModelList
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.openai.provider_request import HEADERS

_client = OpenAI()
_embeddings = Embeddings()


def _provider(provider: ProviderSettings) -> OpenAIProviderDialect:
    return OpenAIProviderDialect(preset_of(provider.preset, provider.base_url), provider.api_version)


DIALECT = Dialect(
    client=_client,
    signs=Signs(shared_paths=("/v1/", "/openai/")),
    endpoints=(
        Endpoint(
            path="/v1/chat/completions",
            client=_client,
            body=ChatBody,
            about="OpenAI's Chat Completions: `model` is `auto`, `auto:<route>` or a model id.",
        ),
        Endpoint(
            path="/v1/embeddings",
            client=_embeddings,
            body=EmbeddingsBody,
            about="OpenAI's embeddings, passed through: `model` is a model id.",
        ),
        Endpoint(
            path="/openai/deployments/{model:str}/chat/completions",
            client=_client,
            body=ChatBody,
            about="Azure's older address of Chat Completions: the deployment in the path is the `model`.",
        ),
        Endpoint(
            path="/openai/deployments/{model:str}/embeddings",
            client=_embeddings,
            body=EmbeddingsBody,
            about="Azure's older address of embeddings: the deployment in the path is the `model`.",
        ),
    ),
    models=OpenAIModelList(),
    provider=_provider,
    edits=EDITS,
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
