"""Ollama's API as its clients speak it. Source: https://docs.ollama.com/api, as of version 0.13 (November 2025).

`Ollama` reads `/api/chat`, `OllamaGenerate` reads `/api/generate`, `OllamaEmbeddings` reads `/api/embed`. Answers are
streamed unless a request says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from semroute.decision import Decision
from semroute.dialects.dialect import EMBEDDINGS
from semroute.dialects.ollama.client_answer import NAME, OllamaStream, answer, embeddings_of, said_in_chat, said_in_text
from semroute.dialects.openai.content import parse_function
from semroute.dialects.shared import fill_in_the_middle
from semroute.dialects.shared.body_parsing import (
    arguments_of,
    convert,
    problem,
    refuse_auto,
    role_of,
    texts_of,
    unread_fields,
)
from semroute.dialects.shared.data_urls import data_url, image_type
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.dialects.shared.thinking import split_id
from semroute.errors import RequestError, SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    Image,
    JsonSchema,
    Message,
    Params,
    Part,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from semroute.record import Record

LATEST = ":latest"
"""What Ollama's clients put behind a model's name that has no tag."""
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_OF_THE_SERVER = ("num_", "use_m", "main_gpu", "low_vram", "vocab_only")
"""How options begin that say how a local server runs a model: there is none here that they could mean."""


class NothingAskedError(RequestError):
    """A request without a prompt: clients load a model with it, or unload it."""

    def __init__(self, path: str, fields: _Asked) -> None:
        super().__init__(f"$.{path}: got nothing, expected a prompt", param=path)
        self.model = named(fields.model)
        self.unload = fields.keep_alive in (0, "0", "0s")


class _Options(msgspec.Struct):
    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str = {}


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Message(msgspec.Struct):
    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    """base64."""
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    name: str | None = None
    """What `tool_name` was called before."""
    tool_call_id: str | None = None


class _Asked(msgspec.Struct):
    """What both kinds of requests may hold."""

    model: str
    models: list[str] | None = None
    stream: bool | None = None
    strict: bool = False
    metadata: dict[str, Any] | None = None
    format: str | dict[str, Any] | None = None
    options: _Options | None = None
    think: bool | str | None = None
    keep_alive: Any = None
    """How long a model stays in a local server's memory."""
    logprobs: bool | None = None
    top_logprobs: int | None = None


class OllamaChatBody(_Asked):
    """The body of `/api/chat`: the fields that are read here."""

    messages: list[_Message] | None = None
    tools: list[dict[str, Any]] | None = None


class OllamaGenerateBody(_Asked):
    """The body of `/api/generate`: the fields that are read here."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: list[str] | None = None


class OllamaEmbedBody(msgspec.Struct):
    """The body of `/api/embed`: the fields that are read here."""

    model: str
    input: str | list[str] | None = None
    prompt: str | None = None
    """What `input` is called at the older `/api/embeddings`."""
    dimensions: int | None = None


class Ollama:
    """The client side of `/api/chat`."""

    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, and `NothingAskedError` where there is no message."""
        fields = convert(body, OllamaChatBody)
        if not fields.messages:
            raise NothingAskedError("messages", fields)
        tools = tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(fields.tools or ()))
        return _request(fields, body, request_id, _messages(fields.messages), tools)

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """A whole answer."""
        return msgspec.json.encode(answer(said_in_chat, completion, record, request))

    def stream(self, request: ChatRequest, decision: Decision) -> OllamaStream:
        """A renderer for one streamed answer."""
        return OllamaStream(request, said_in_chat)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """`{"error": "…"}`."""
        return msgspec.json.encode({"error": str(error)})


class OllamaGenerate(Ollama):
    """The client side of `/api/generate`: one prompt, as the user's turn."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, and `NothingAskedError` where there is no prompt."""
        fields = convert(body, OllamaGenerateBody)
        if not fields.prompt:
            raise NothingAskedError("prompt", fields)
        system = [fields.system] if fields.system else []
        if fields.suffix:
            system.append(fill_in_the_middle.instruction(fields.suffix))
        before = tuple(Message(role="system", parts=(Text(text=text),)) for text in system)
        asked = Message(role="user", parts=(Text(text=fields.prompt), *_images(fields.images)))
        return _request(fields, body, request_id, (*before, asked), ())

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """A whole answer."""
        return msgspec.json.encode(answer(said_in_text, completion, record, request))

    def stream(self, request: ChatRequest, decision: Decision) -> OllamaStream:
        """A renderer for one streamed answer."""
        return OllamaStream(request, said_in_text)


class OllamaEmbeddings(Ollama):
    """The client side of `/api/embed` and `/api/embeddings`, passed on to a named model in OpenAI's form."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, also for `auto`: vectors of different models do not compare."""
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
            dialect=EMBEDDINGS,
            raw={"model": model, "input": given, "encoding_format": "float", **size},
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """The vectors of the provider's answer."""
        return msgspec.json.encode(embeddings_of(completion, record))


class OllamaEmbedding(OllamaEmbeddings):
    """`/api/embeddings`: one vector."""

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """The only vector."""
        vectors = embeddings_of(completion, record)["embeddings"]
        return msgspec.json.encode({"embedding": vectors[0] if vectors else []})


def named(model: str) -> str:
    """A model's name as the route files have it."""
    return model.removesuffix(LATEST)


def _request(
    fields: _Asked, body: dict[str, Any], request_id: str, messages: tuple[Message, ...], tools: tuple[Tool, ...]
) -> ChatRequest:
    options = body.get("options") or {}
    unread = unread_fields(options, _Options.__struct_fields__)
    unread_options = [f"options.{name}" for name in unread if not name.startswith(_OF_THE_SERVER)]
    return ChatRequest(
        id=request_id,
        messages=messages,
        model=named(fields.model),
        models=tuple(map(named, fields.models or ())),
        tools=tools,
        params=_params(fields),
        stream=fields.stream is not False,
        strict=fields.strict,
        metadata=fields.metadata or {},
        dialect=NAME,
        raw=body,
        unread=(*unread_fields(body, type(fields).__struct_fields__), *unread_options),
    )


def _params(fields: _Asked) -> Params:
    options = fields.options or _Options()
    effort = parse_effort(fields.think) if isinstance(fields.think, str) else None
    if fields.think is False:
        effort = "none"
    return Params(
        max_tokens=options.num_predict,
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        frequency_penalty=options.frequency_penalty,
        presence_penalty=options.presence_penalty,
        stop=texts_of(options.stop),
        seed=options.seed,
        json_output=bool(fields.format),
        json_schema=JsonSchema(document=fields.format) if isinstance(fields.format, dict) and fields.format else None,
        effort=effort,
        thinking_tokens=-1 if fields.think is True else None,
        show_thinking=bool(fields.think),
        logprobs=bool(fields.logprobs),
        top_logprobs=fields.top_logprobs,
    )


def _tool(tool: dict[str, Any], path: str) -> Tool:
    function = tool.get("function")
    if not isinstance(function, dict):
        raise problem(f"{path}.function", "expected a function with its name")
    return parse_function(function, f"{path}.function")


def _messages(messages: Sequence[_Message]) -> tuple[Message, ...]:
    """Calls and results are matched by the function's name and by their order, where they have no ids."""
    read: list[Message] = []
    waiting: dict[str, list[str]] = {}
    for number, message in enumerate(messages):
        role = role_of(message.role, _ROLES, f"messages[{number}]")
        text = [Text(text=message.content)] if message.content else []
        if role == "tool":
            result = _result(message, waiting)
            if read and read[-1].role == "tool":
                read[-1] = Message(role=role, parts=(*read[-1].parts, result))
            else:
                read.append(Message(role=role, parts=(result,)))
            continue
        thought: list[Part] = [Thinking(text=message.thinking)] if message.thinking else []
        calls = [_call(call, number, index) for index, call in enumerate(message.tool_calls or ())]
        for call in calls:
            waiting.setdefault(call.name, []).append(call.id)
        parts = (*thought, *text, *_images(message.images), *calls)
        read.append(Message(role=role, parts=parts or (Text(text=""),)))
    return tuple(read)


def _call(call: _Call, number: int, index: int) -> ToolCall:
    id_, signature = split_id(call.id or f"call_{number}_{index}")
    arguments = arguments_of(call.function.arguments)
    return ToolCall(id=id_, name=call.function.name, arguments=arguments, index=index, signature=signature)


def _result(message: _Message, waiting: dict[str, list[str]]) -> ToolResult:
    """The result of the oldest call of that function that waits for one; without a name, of the oldest of all."""
    name = message.tool_name or message.name or ""
    oldest = waiting.get(name) or (not name and next(filter(None, waiting.values()), None)) or []
    id_ = split_id(message.tool_call_id or "")[0] or (oldest[0] if oldest else name or "call")
    for ids in waiting.values():
        if id_ in ids:
            ids.remove(id_)
    images = tuple(part for part in _images(message.images))
    return ToolResult(id=id_, text=message.content or "", media=images)


def _images(images: Sequence[str] | None) -> tuple[Image, ...]:
    return tuple(Image(url=_picture(image)) for image in images or ())


def _picture(image: str) -> str:
    """The `data:` URL of a picture in base64, whose type only its first bytes tell."""
    if image.startswith("data:"):
        return image
    kind = "image/webp" if image.startswith("UklGR") else image_type("", image)
    return data_url(kind or "image/png", image)
