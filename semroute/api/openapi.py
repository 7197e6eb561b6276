"""What OpenAPI says of bodies that are read by hand."""

from __future__ import annotations

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

_TEXT = Schema(type=OpenAPIType.STRING)
_COUNT = Schema(type=OpenAPIType.INTEGER, minimum=1)
_FLAG = Schema(type=OpenAPIType.BOOLEAN, default=False)
_OBJECT = Schema(type=OpenAPIType.OBJECT)
_TEXTS = Schema(type=OpenAPIType.ARRAY, items=_TEXT)
_OBJECTS = Schema(type=OpenAPIType.ARRAY, items=_OBJECT)
_MODEL = Schema(
    type=OpenAPIType.STRING, default="auto", description="`auto`, `auto:<route>` to force a route, or a model id."
)
_MESSAGES = Schema(
    type=OpenAPIType.ARRAY,
    min_items=1,
    items=Schema(
        type=OpenAPIType.OBJECT,
        properties={
            "role": Schema(type=OpenAPIType.STRING, enum=["system", "user", "assistant", "tool"]),
            "content": Schema(description="Text, or a list of content parts."),
        },
        required=["role"],
    ),
)
_DECIDING = {
    "prompt": Schema(type=OpenAPIType.STRING, description="One user turn; short for `messages`."),
    "messages": _MESSAGES,
    "model": _MODEL,
    "models": Schema(type=OpenAPIType.ARRAY, items=_TEXT, description="Your own fallback list of model ids."),
    "metadata": Schema(type=OpenAPIType.OBJECT, description="What rules can read."),
    "user": Schema(type=OpenAPIType.STRING, description="Names the conversation, which then stays on its model."),
    "tools": _OBJECTS,
    "max_tokens": _COUNT,
    "response_format": _OBJECT,
}
_SAMPLING = {
    "stream": _FLAG,
    "temperature": Schema(type=OpenAPIType.NUMBER),
    "top_p": Schema(type=OpenAPIType.NUMBER),
    "stop": Schema(description="Text, or a list of texts."),
    "seed": Schema(type=OpenAPIType.INTEGER),
    "tool_choice": Schema(description="As OpenAI's."),
}

_EXPLAIN = Schema(type=OpenAPIType.BOOLEAN, default=False, description="The decision carries `details`.")
_NATIVE = {**_DECIDING, **_SAMPLING, "explain": _EXPLAIN}


def _body(description: str, properties: dict[str, Schema], required: list[str] | None = None) -> RequestBody:
    schema = Schema(type=OpenAPIType.OBJECT, properties={**properties}, required=required)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, description=description)


@dataclass
class RouteOperation(Operation):
    """`POST /route`."""

    def __post_init__(self) -> None:
        self.request_body = _body("`prompt` or `messages`, the rest as you like.", _NATIVE)


@dataclass
class CompleteOperation(Operation):
    """`POST /complete`."""

    def __post_init__(self) -> None:
        self.request_body = _body("`prompt` or `messages`, the rest as you like.", _NATIVE)


@dataclass
class ChatOperation(Operation):
    """`POST /v1/chat/completions`."""

    def __post_init__(self) -> None:
        properties = {key: schema for key, schema in {**_DECIDING, **_SAMPLING}.items() if key != "prompt"}
        self.request_body = _body(
            "OpenAI's body. Fields that are not listed are passed on as they are.", properties, ["messages"]
        )


@dataclass
class MessagesOperation(Operation):
    """`POST /v1/messages`."""

    def __post_init__(self) -> None:
        properties = {key: _DECIDING[key] for key in ("messages", "model", "models", "metadata", "tools", "max_tokens")}
        described = {"system": Schema(description="Text, or a list of text blocks."), "stream": _FLAG, **properties}
        self.request_body = _body(
            "Anthropic's body. Fields that are not listed are passed on as they are.", described, ["messages"]
        )


@dataclass
class ResponsesOperation(Operation):
    """`POST /v1/responses`."""

    def __post_init__(self) -> None:
        properties = {key: _DECIDING[key] for key in ("model", "models", "metadata", "tools")}
        described = {"input": Schema(description="Text, or a list of items."), "stream": _FLAG, **properties}
        self.request_body = _body(
            "OpenAI's body. Fields that are not listed are passed on as they are.",
            {"instructions": _TEXT, **described},
            ["input"],
        )


@dataclass
class GeminiOperation(Operation):
    """`POST /v1beta/models/MODEL:generateContent`."""

    def __post_init__(self) -> None:
        described = {"contents": _OBJECTS, "systemInstruction": _OBJECT, "tools": _OBJECTS, "generationConfig": _OBJECT}
        self.request_body = _body(
            "Gemini's body. Fields that are not listed are passed on as they are.", {**described}, ["contents"]
        )


@dataclass
class EmbeddingsOperation(Operation):
    """`POST /v1/embeddings`."""

    def __post_init__(self) -> None:
        self.request_body = _body(
            "OpenAI's body. Fields that are not listed are passed on as they are.",
            {"input": Schema(description="Text, or a list of texts."), "model": _TEXT},
            ["input", "model"],
        )


@dataclass
class OllamaOperation(Operation):
    """`POST /api/chat`, and what is like it."""

    def __post_init__(self) -> None:
        properties = {key: _DECIDING[key] for key in ("model", "messages", "tools")}
        described = {"prompt": _TEXT, "stream": _FLAG, "options": _OBJECT, "format": _OBJECT, **properties}
        self.request_body = _body("Ollama's body.", {**described}, ["model"])


@dataclass
class CompletionsOperation(Operation):
    """`POST /v1/completions`."""

    def __post_init__(self) -> None:
        described = {"prompt": Schema(description="Text, or a list of texts."), "n": _COUNT, "suffix": _TEXT}
        self.request_body = _body("OpenAI's body.", {**described, **_SAMPLING, "model": _MODEL}, ["prompt"])
