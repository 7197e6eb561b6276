"""The description of OpenAI Chat Completions for the rest of semroute."""

from __future__ import annotations

from typing import Any

from semroute.config.presets import preset_of
from semroute.config.schema.providers import ProviderSettings
from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.openai.client import ChatBody, OpenAI
from semroute.dialects.openai.content import drop_logprobs
from semroute.dialects.openai.embeddings import Embeddings, EmbeddingsBody
from semroute.dialects.openai.model_list import OpenAIModelList
from semroute.dialects.openai.provider import OpenAIProviderDialect
from semroute.dialects.openai.provider_request import HEADERS
from semroute.dialects.shared.body_edits import BodyEdits, add_to_messages
from semroute.messages import JsonSchema


def _add_instruction(raw: dict[str, Any], text: str) -> dict[str, Any]:
    return {**raw, "messages": [{"role": "system", "content": text}, *raw.get("messages", ())]}


def _ask_for_json(raw: dict[str, Any], schema: JsonSchema | None) -> dict[str, Any]:
    form: dict[str, Any] = {"type": "json_object"}
    if schema is not None:
        form = {"type": "json_schema", "json_schema": {"name": schema.name, "schema": schema.document}}
    return {**raw, "response_format": form}


def _provider(provider: ProviderSettings) -> OpenAIProviderDialect:
    return OpenAIProviderDialect(preset_of(provider.preset, provider.base_url), provider.api_version)


_client = OpenAI()
_embeddings = Embeddings()
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
    edits=BodyEdits(add_turns=add_to_messages, add_instruction=_add_instruction, ask_for_json=_ask_for_json),
    field_names={
        "max_tokens": ("max_tokens", "max_completion_tokens"),
        "user": ("user", "safety_identifier"),
        "tools.function": ("tools.function", "functions"),
    },
    headers=HEADERS,
    drop_logprobs=drop_logprobs,
)
