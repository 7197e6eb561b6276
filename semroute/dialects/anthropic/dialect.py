"""The description of Anthropic Messages for the rest of semroute."""

from __future__ import annotations

from semroute.dialects.anthropic.api_versions import HEADERS, pinned_version
from semroute.dialects.anthropic.client import Anthropic, MessagesBody
from semroute.dialects.anthropic.model_list import AnthropicModelList
from semroute.dialects.anthropic.provider import AnthropicProviderDialect
from semroute.dialects.description import Dialect, Endpoint, Signs
from semroute.dialects.shared.body_edits import BodyEdits, add_to_messages

_client = Anthropic()

DIALECT = Dialect(
    client=_client,
    signs=Signs(paths=("/v1/messages",), headers={"anthropic-version": "/"}),
    endpoints=(
        Endpoint(
            path="/v1/messages",
            client=_client,
            body=MessagesBody,
            about="Anthropic's Messages: `model` is `auto`, `auto:<route>` or a model id.",
        ),
    ),
    models=AnthropicModelList(),
    provider=lambda provider: AnthropicProviderDialect(pinned_version(provider.headers)),
    telemetry_name="anthropic",
    field_names={
        "messages.tool_calls.id": ("messages.content.id",),
        "parallel_tool_calls": ("tool_choice.disable_parallel_tool_use",),
        "reasoning_effort": ("output_config.effort", "thinking.budget_tokens", "thinking.type"),
        "response_format": ("output_config.format",),
        "stop": ("stop_sequences",),
        "tools.function": ("tools",),
        "tools.function.parameters": ("tools.input_schema",),
        "user": ("metadata.user_id",),
    },
    edits=BodyEdits(add_turns=add_to_messages),
    headers=HEADERS,
)
