"""The client side of Ollama's API. Source: https://docs.ollama.com/api, as of version 0.13 (November 2025).

`Ollama` reads `/api/chat`, and `OllamaGenerate` reads `/api/generate`. Answers are streamed unless a request says
otherwise.
"""

from __future__ import annotations

from typing import Any

import msgspec

from semroute.decision import Decision
from semroute.dialects.ollama.client_answer import answer, said_in_chat, said_in_text
from semroute.dialects.ollama.client_stream import OllamaStream
from semroute.dialects.ollama.content import NAME, OllamaMessage, parse_images, parse_messages
from semroute.dialects.openai.content import parse_function
from semroute.dialects.shared import fill_in_the_middle
from semroute.dialects.shared.body_parsing import (
    convert,
    message_of,
    problem,
    shown,
    texts_of,
    unread_fields,
)
from semroute.dialects.shared.model_abilities import parse_effort
from semroute.errors import RequestError, SemrouteError
from semroute.messages import (
    ChatRequest,
    Completion,
    JsonSchema,
    Message,
    Params,
    Text,
    Tool,
)
from semroute.record import Record

LATEST = ":latest"
"""The tag that Ollama's clients add to a model's name without one."""
_OF_THE_SERVER = ("num_", "use_m", "main_gpu", "low_vram", "vocab_only")
"""Prefixes of options for a local server that runs the model. They mean nothing here, so they are not noted."""


class NothingAskedError(RequestError):
    """A request without a prompt. Clients send it to load or unload a model."""

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


class _Asked(msgspec.Struct):
    """The fields of both `/api/chat` and `/api/generate`."""

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
    """The fields of `/api/chat` that semroute reads."""

    messages: list[OllamaMessage] | None = None
    tools: list[dict[str, Any]] | None = None


class OllamaGenerateBody(_Asked):
    """The fields of `/api/generate` that semroute reads."""

    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    images: list[str] | None = None


class Ollama:
    """The client side of `/api/chat`."""

    name = NAME

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, and `NothingAskedError` if there is no message."""
        fields = convert(body, OllamaChatBody)
        if not fields.messages:
            raise NothingAskedError("messages", fields)
        tools = tuple(_tool(tool, f"tools[{number}]") for number, tool in enumerate(fields.tools or ()))
        return _request(fields, body, request_id, parse_messages(fields.messages), tools)

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer."""
        return msgspec.json.encode(answer(said_in_chat, completion, record, request))

    def stream(self, request: ChatRequest, decision: Decision) -> OllamaStream:
        """Make the renderer of one streamed answer."""
        return OllamaStream(request, said_in_chat)

    def render_error(self, error: SemrouteError, status: int, request_id: str = "") -> bytes:
        """Render `{"error": "…"}`."""
        return msgspec.json.encode({"error": message_of(error)})


class OllamaGenerate(Ollama):
    """The client side of `/api/generate`. The prompt is the user's turn."""

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. Raises `RequestError`, and `NothingAskedError` if there is no prompt."""
        fields = convert(body, OllamaGenerateBody)
        if not fields.prompt:
            raise NothingAskedError("prompt", fields)
        system = [fields.system] if fields.system else []
        if fields.suffix:
            system.append(fill_in_the_middle.instruction(fields.suffix))
        before = tuple(Message(role="system", parts=(Text(text=text),)) for text in system)
        asked = Message(role="user", parts=(Text(text=fields.prompt), *parse_images(fields.images)))
        return _request(fields, body, request_id, (*before, asked), ())

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render a whole answer."""
        return msgspec.json.encode(answer(said_in_text, completion, record, request))

    def stream(self, request: ChatRequest, decision: Decision) -> OllamaStream:
        """Make the renderer of one streamed answer."""
        return OllamaStream(request, said_in_text)


def named(model: str) -> str:
    """Return a model's name as in the route files."""
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
        raise problem(f"{path}.function", f"got {shown(function)}, expected an object with the function's name")
    return parse_function(function, f"{path}.function")
