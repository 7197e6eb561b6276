"""A route's output contract, put to each model in the way it understands, so that a fallback stays machine-readable."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec.structs import replace

from semroute.providers.base import Provider
from semroute.types import ChatRequest, Chunk, Completion, JsonSchema, Message, Model, Text, Timeouts
from semroute.written import JsonContract

NAME = "answer"


class ContractProvider:
    """A provider whose every answer is asked to keep a contract."""

    def __init__(self, provider: Provider, contract: JsonContract) -> None:
        self._provider = provider
        self._contract = contract

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """As the provider's."""
        asked = put(request, model, self._contract)
        completion = await self._provider.complete(asked, model, timeouts)
        return completion if asked.dialect == request.dialect else replace(completion, dialect="", raw=b"")

    def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """As the provider's."""
        asked = put(request, model, self._contract)
        chunks = self._provider.stream(asked, model, timeouts)
        return chunks if asked.dialect == request.dialect else _read(chunks)

    async def aclose(self) -> None:
        """Nothing to close: the provider is another's."""


async def _read(chunks: AsyncGenerator[Chunk]) -> AsyncGenerator[Chunk]:
    """What was read of an answer, without its own bytes: the contract may be kept by means that no caller knows of."""
    async with aclosing(chunks):
        async for chunk in chunks:
            yield replace(chunk, dialect="", raw=b"")


def put(request: ChatRequest, model: Model, contract: JsonContract) -> ChatRequest:
    """The request as a model must get it to keep the contract. A caller's own schema stands; mere JSON does not."""
    params = request.params
    if params.json_schema is not None or (params.json_output and contract.json_schema is None):
        return request
    return _asked(request, contract) if "json" in model.features else _told(request, contract)


def _asked(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """By the parameter that the provider's dialect has for it."""
    schema = contract.json_schema
    wanted = JsonSchema(document=schema, name=NAME) if schema is not None else None
    said = replace(request, params=replace(request.params, json_output=True, json_schema=wanted))
    if request.dialect != "openai":
        return replace(said, dialect="", raw={})
    form: dict[str, Any] = {"type": "json_object"}
    if schema is not None:
        form = {"type": "json_schema", "json_schema": {"name": NAME, "schema": schema}}
    return replace(said, raw={**request.raw, "response_format": form})


def _told(request: ChatRequest, contract: JsonContract) -> ChatRequest:
    """In words, for a model that knows no such parameter."""
    text = "Answer with JSON only: no other text, no code fence."
    if contract.json_schema is not None:
        text += f" It must be valid by this JSON Schema: {msgspec.json.encode(contract.json_schema).decode()}"
    messages = (Message(role="system", parts=(Text(text=text),)), *request.messages)
    if request.dialect != "openai":
        return replace(request, messages=messages, dialect="", raw={})
    turns = [{"role": "system", "content": text}, *request.raw.get("messages", ())]
    return replace(request, messages=messages, raw={**request.raw, "messages": turns})
