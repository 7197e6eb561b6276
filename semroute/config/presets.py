"""Servers that speak OpenAI's dialect: their addresses, how they authenticate, and how they differ."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from msgspec.structs import replace

from semroute.bases import Frozen

PresetName = Literal[
    "openai",
    "azure",
    "bedrock",
    "cerebras",
    "deepinfra",
    "deepseek",
    "google",
    "groq",
    "llamacpp",
    "mistral",
    "ollama",
    "openrouter",
    "together",
    "vllm",
    "xai",
]


class Preset(Frozen, frozen=True, kw_only=True):
    """One server, or one kind of server.

    Fields that it refuses or silently ignores are left out, and the answer names them.
    """

    source: str
    """The documentation that this was read from."""
    name: str = ""
    """Its key in `PRESETS`."""
    base_url: str = ""
    """Empty: the route file has to give it."""
    key_header: str = "authorization"
    """The header that carries the key. In `authorization` the key is a bearer token."""
    path: str = "/chat/completions"
    """`{model}` and `{api_version}` are filled in."""
    embeddings_path: str = "/embeddings"
    api_version: str = ""
    """The default of `{api_version}`."""
    limit_field: Literal["", "max_tokens", "max_completion_tokens"] = ""
    """Its field for the output limit. Empty: the field that the caller used."""
    drop: tuple[str, ...] = ()
    """Fields of the body that it refuses or ignores."""
    message_drop: tuple[str, ...] = ()
    """Fields of a message that it refuses. Callers send such fields back from answers of other servers."""
    rename: dict[str, str] = {}
    """By field of the body, the name that it uses for it."""
    developer: bool = False
    """It knows the role `developer`. If not, `system` is sent."""
    stream_options: bool = True
    """It sends usage at the end of a stream only if asked. If False, it sends usage unasked."""
    json_schema: bool = True
    """It takes a JSON Schema for its answer. If not, JSON mode and an instruction replace the schema."""
    cache: Literal["", "cache_control", "prompt_cache_breakpoint"] = ""
    """The field that marks a prompt's prefix for its cache. Empty: there is none."""
    thoughts: Literal["", "reasoning_content", "chunks"] = ""
    """How earlier thoughts go back to the model. Empty: not at all. `reasoning_content`: in this field of each message
    of the assistant, because the server refuses a tool loop without it. `chunks`: among the content of the message."""
    call_signatures: bool = False
    """It signs calls of tools in `extra_content`, and wants this back."""
    own_fields: tuple[str, ...] = ()
    """Those of `PRIVATE_FIELDS` that it takes back."""
    of_openai: bool = False
    """It knows the newer fields of OpenAI, such as `prompt_cache_options`."""
    tiers: tuple[str, ...] = ()
    """The values of `service_tier` that it knows; empty: any."""
    batch_share: float = 1.0
    """What tokens cost in a batch, as a share of the list price."""
    reasoning_apart: bool = False
    """`completion_tokens` does not include the reasoning tokens."""


PRIVATE_FIELDS = frozenset({"extra_content", "reasoning_details", "provider_specific_fields", "thinking_blocks"})
"""Fields that one vendor adds to the messages of its answers, and that callers send back: Google's, OpenRouter's, and
two of LiteLLM's. Sources: https://ai.google.dev/gemini-api/docs/thought-signatures,
https://openrouter.ai/docs/use-cases/reasoning-tokens, https://docs.litellm.ai/docs/reasoning_content, 2026-11-30."""
_ANSWERED = ("annotations", "reasoning_content")

PLAIN = Preset(
    source="https://platform.openai.com/docs/api-reference/chat",
    developer=True,
    of_openai=True,
    own_fields=("provider_specific_fields", "thinking_blocks"),  # it may be LiteLLM, which has no preset
)
"""The preset of a server about which nothing is known."""

_PRESETS: dict[PresetName, Preset] = {
    "openai": Preset(
        source="https://platform.openai.com/docs/api-reference/chat",
        base_url="https://api.openai.com/v1",
        batch_share=0.5,  # https://platform.openai.com/docs/guides/batch, 2026-11-30: half of the price
        limit_field="max_completion_tokens",
        message_drop=("reasoning_content",),
        developer=True,
        cache="prompt_cache_breakpoint",
        of_openai=True,
    ),
    "azure": Preset(
        source="https://learn.microsoft.com/azure/ai-services/openai/reference",
        key_header="api-key",
        path="/openai/deployments/{model}/chat/completions?api-version={api_version}",
        embeddings_path="/openai/deployments/{model}/embeddings?api-version={api_version}",
        api_version="2024-10-21",
        limit_field="max_completion_tokens",
        message_drop=("reasoning_content",),
        developer=True,
        of_openai=True,
    ),
    "bedrock": Preset(
        # Regional: https://bedrock-mantle.REGION.api.aws/v1, or https://bedrock-runtime.REGION.amazonaws.com/openai/v1.
        source="https://docs.aws.amazon.com/bedrock/latest/userguide/inference-chat-completions-mantle.html",
        limit_field="max_completion_tokens",
    ),
    "cerebras": Preset(
        source="https://inference-docs.cerebras.ai/resources/openai",
        base_url="https://api.cerebras.ai/v1",
        limit_field="max_completion_tokens",
        drop=("frequency_penalty", "presence_penalty", "logit_bias", "service_tier", "n"),
        message_drop=_ANSWERED,
    ),
    "deepinfra": Preset(
        source="https://deepinfra.com/docs/openai_api",
        base_url="https://api.deepinfra.com/v1/openai",
        batch_share=0.8,  # https://deepinfra.com/blog/batch-api, 2026-06-19: 20% less
        limit_field="max_tokens",
        drop=("logit_bias", "parallel_tool_calls", "store"),
    ),
    "deepseek": Preset(
        source="https://api-docs.deepseek.com/api/create-chat-completion",
        base_url="https://api.deepseek.com",
        limit_field="max_tokens",
        drop=("logit_bias", "n", "parallel_tool_calls", "seed", "service_tier", "store"),
        json_schema=False,
        thoughts="reasoning_content",  # https://api-docs.deepseek.com/guides/thinking_mode, 2026-11-30
    ),
    "google": Preset(
        # Vertex AI: https://REGION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/REGION/endpoints/openapi.
        source="https://ai.google.dev/gemini-api/docs/openai",
        base_url="https://generativelanguage.googleapis.com/v1beta/openai",
        batch_share=0.5,  # https://developers.googleblog.com/scale-your-ai-workloads-batch-mode-gemini-api, 2025-07-07
        developer=True,
        own_fields=("extra_content",),
        call_signatures=True,  # https://ai.google.dev/gemini-api/docs/thought-signatures, 2026-11-30
    ),
    "groq": Preset(
        source="https://console.groq.com/docs/openai",
        base_url="https://api.groq.com/openai/v1",
        limit_field="max_completion_tokens",
        drop=("logprobs", "top_logprobs", "logit_bias", "n", "store"),
        message_drop=_ANSWERED,
        tiers=("auto", "on_demand", "flex", "performance"),  # https://console.groq.com/docs/service-tiers, 2026-11-30
    ),
    "llamacpp": Preset(
        source="https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md",
        base_url="http://localhost:8080/v1",
        limit_field="max_tokens",
        drop=("service_tier", "store", "user"),
    ),
    "mistral": Preset(
        source="https://docs.mistral.ai/api/#tag/chat",
        base_url="https://api.mistral.ai/v1",
        limit_field="max_tokens",
        rename={"seed": "random_seed"},
        drop=("logprobs", "top_logprobs", "logit_bias", "service_tier", "store", "user"),
        message_drop=(*_ANSWERED, "audio", "name", "refusal"),
        stream_options=False,
        thoughts="chunks",  # https://docs.mistral.ai/inference/conversations/reasoning, 2026-11-30
    ),
    "ollama": Preset(
        source="https://docs.ollama.com/api/openai-compatibility",
        base_url="http://localhost:11434/v1",
        limit_field="max_tokens",
        drop=("logit_bias", "n", "parallel_tool_calls", "service_tier", "store", "tool_choice", "user"),
    ),
    "openrouter": Preset(
        source="https://openrouter.ai/docs/api-reference/parameters",
        base_url="https://openrouter.ai/api/v1",
        limit_field="max_tokens",
        cache="cache_control",
        own_fields=("reasoning_details",),
        of_openai=True,  # https://openrouter.ai/docs/client-sdks/go/models/components/promptcacheoptions.md, 2026-11-30
    ),
    "together": Preset(
        source="https://docs.together.ai/docs/openai-api-compatibility",
        base_url="https://api.together.xyz/v1",
        limit_field="max_tokens",
        drop=("logprobs", "top_logprobs", "service_tier", "store", "user"),  # its own `logprobs` is a number
    ),
    "vllm": Preset(
        source="https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
        base_url="http://localhost:8000/v1",
        drop=("service_tier", "store"),
    ),
    "xai": Preset(
        source="https://docs.x.ai/docs/api-reference",
        base_url="https://api.x.ai/v1",
        limit_field="max_completion_tokens",
        drop=("logit_bias", "service_tier", "store"),
        reasoning_apart=True,
    ),
}

PRESETS: dict[PresetName, Preset] = {name: replace(preset, name=name) for name, preset in _PRESETS.items()}


_HOSTS = {urlsplit(each.base_url).hostname: each for each in PRESETS.values() if each.base_url.startswith("https://")}
"""By the vendor's own host. Any server may run on this machine, so `localhost` stands for none."""


def preset_of(preset: PresetName | None, base_url: str) -> Preset:
    """Return the preset that a provider names. Without one: that of the host's vendor, and `PLAIN` for other hosts."""
    if preset is not None:
        return PRESETS[preset]
    host = urlsplit(base_url).hostname or ""
    return PRESETS["google"] if host.endswith(".googleapis.com") else _HOSTS.get(host, PLAIN)
