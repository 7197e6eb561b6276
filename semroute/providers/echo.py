"""A provider that answers offline, for demonstrations and for trying out routes without keys."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator

import msgspec

from semroute.config.schema.models import Model
from semroute.config.schema.resilience import Timeouts
from semroute.dialects.protocols import refuse_embeddings
from semroute.messages import ChatRequest, Chunk, Completion, FinishReason, Text, Usage

MAX_ECHO_CHARS = 400
BYTES_PER_TOKEN = 4


class EchoProvider:
    """Answers that it is an echo, with what it was asked. If JSON is asked for, the answer is JSON.

    A token is four bytes of UTF-8. The echo defines its own tokens, so this count is exact, not an estimate.
    """

    async def complete(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> Completion:
        """Return the whole echo. Raises `UnsupportedError` for embeddings."""
        refuse_embeddings(request, "echo")
        text, finish_reason = _answer(request, model)
        return Completion(
            parts=(Text(text=text),),
            finish_reason=finish_reason,
            usage=_usage(request, text),
            model=model.name,
            id=f"echo-{request.id}",
        )

    async def stream(self, request: ChatRequest, model: Model, timeouts: Timeouts) -> AsyncGenerator[Chunk]:
        """Yield the echo word by word, then its finish reason and usage."""
        text, finish_reason = _answer(request, model)
        for word in re.findall(r"\s*\S+\s*", text):
            yield Chunk(parts=(Text(text=word),), model=model.name, id=f"echo-{request.id}")
            await asyncio.sleep(0)  # as a network would: other tasks get their turn, and a cancelled call ends here
        yield Chunk(finish_reason=finish_reason, model=model.name, id=f"echo-{request.id}")
        yield Chunk(usage=_usage(request, text), model=model.name, id=f"echo-{request.id}")

    async def aclose(self) -> None:
        """Do nothing: nothing is open."""


def _answer(request: ChatRequest, model: Model) -> tuple[str, FinishReason]:
    asked = next((message.text for message in reversed(request.messages) if message.role == "user"), "")
    if len(asked) > MAX_ECHO_CHARS:
        asked = asked[: MAX_ECHO_CHARS - 1] + "…"
    text = f"[echo of {model.name}] You said: {asked}"
    if request.params.json_output:
        text = msgspec.json.encode({"echo": model.name, "said": asked}).decode()
    max_tokens = request.params.max_tokens
    if max_tokens is None or _tokens(text) <= max_tokens:
        return text, "stop"
    return text.encode()[: max_tokens * BYTES_PER_TOKEN].decode(errors="ignore"), "length"


def _usage(request: ChatRequest, text: str) -> Usage:
    return Usage(input_tokens=sum(_tokens(message.text) for message in request.messages), output_tokens=_tokens(text))


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
