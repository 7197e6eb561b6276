"""The client side of OpenAI's older text completions, which chat models answer here.

Source: https://platform.openai.com/docs/api-reference/completions.

Each prompt is one user turn. A request for several answers becomes several calls, each with its own decision and
record. So models that give one answer at a time can serve it too.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from semroute.decision import Decision
from semroute.dialects import sse
from semroute.dialects.openai.client import ChatBody, OpenAI, StreamOptions
from semroute.dialects.openai.client_answer import error_body
from semroute.dialects.openai.content import render_usage
from semroute.dialects.shared import fill_in_the_middle
from semroute.dialects.shared.body_parsing import convert, problem, shown, unread_fields
from semroute.errors import SemrouteError
from semroute.messages import (
    ChatRequest,
    Chunk,
    Completion,
    FinishReason,
    Message,
    Part,
    Refusal,
    Text,
    TokenLogprob,
    Usage,
    total,
)
from semroute.record import Record

NAME: Final = "text"
MAX_ANSWERS = 16
"""The most answers to one request: the number of prompts times `n`."""


class TextCompletionsBody(msgspec.Struct):
    """The fields of older completions that semroute reads."""

    prompt: str | list[Any] | None = None
    model: str = "auto"
    models: list[str] | None = None
    suffix: str | None = None
    echo: bool | None = None
    n: int | None = None
    best_of: int | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    strict: bool = False
    metadata: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logprobs: int | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    user: str | None = None


_LIKE_CHAT = {*TextCompletionsBody.__struct_fields__} & {*ChatBody.__struct_fields__} - {"n", "logprobs"}
"""The fields that mean the same in Chat Completions."""


def split(request: ChatRequest, new_id: Callable[[], str]) -> list[ChatRequest]:
    """Make one request for each answer that the caller asks for."""
    fields = convert(request.raw, TextCompletionsBody)
    return [
        msgspec.structs.replace(
            request,
            id=new_id(),
            messages=(*request.messages[:-1], Message(role="user", parts=(Text(text=text),))),
            # Each answer to a prompt needs its own seed. Otherwise they would all be the same.
            params=msgspec.structs.replace(request.params, seed=None if fields.seed is None else fields.seed + number),
        )
        for text in _prompts(fields.prompt)
        for number in range(fields.n or 1)
    ]


class TextDialect(OpenAI):
    """The client side of `/v1/completions`, for one answer."""

    name = NAME
    asked_in = "prompt"

    def parse_request(self, body: dict[str, Any], request_id: str) -> ChatRequest:
        """Read a caller's body. The first prompt is the user's turn.

        Raises `RequestError`, which names the field, what it got and what it expected.
        """
        fields = convert(body, TextCompletionsBody)
        texts, count = _prompts(fields.prompt), 1 if fields.n is None else fields.n
        if count < 1 or len(texts) * count > MAX_ANSWERS:
            got = f"got {count} answers to each of {len(texts)} prompts"
            raise problem("n", f"{got}, expected 1 to {MAX_ANSWERS} answers in all")
        if fields.best_of not in (None, 1, count):
            raise problem("best_of", f"got {fields.best_of}, expected the same as `n`: every answer is given")
        if fields.max_tokens == 0:
            raise problem("max_tokens", "got 0, expected at least 1: prompts are not scored")
        filled = fill_in_the_middle.instruction(fields.suffix) if fields.suffix else ""
        messages = [{"role": "system", "content": filled}] if filled else []
        messages.append({"role": "user", "content": texts[0]})
        asked = {name: body[name] for name in _LIKE_CHAT if name in body}
        asked |= {"messages": messages, "logprobs": fields.logprobs is not None, "top_logprobs": fields.logprobs}
        return msgspec.structs.replace(
            super().parse_request(asked, request_id),
            dialect=NAME,
            raw=body,
            unread=unread_fields(body, TextCompletionsBody.__struct_fields__),
        )

    def render_completion(self, completion: Completion, record: Record, request: ChatRequest) -> bytes:
        """Render the only answer."""
        return TextCompletions([request]).render([(completion, record, request)])

    def stream(self, request: ChatRequest, decision: Decision) -> TextStream:
        """Make the renderer of the only answer."""
        return TextCompletions([request]).stream(request, decision)


class TextCompletions(TextDialect):
    """The client side of `/v1/completions`, for all answers to one request. They have one id and different indices."""

    def __init__(self, requests: list[ChatRequest]) -> None:
        """`requests` are those that `split` made."""
        self.id = f"cmpl-{requests[0].id}"
        self.created = int(time.time())
        self.usages: list[Usage] = []
        """The usage of each answer that has ended."""
        self.echo = requests[0].raw.get("echo") is True
        self._indices = {request.id: index for index, request in enumerate(requests)}

    def render(self, answers: list[tuple[Completion, Record, ChatRequest]]) -> bytes:
        """Render all answers."""
        choices = []
        for completion, _, request in answers:
            said = self.prefix(request) + _text(completion.parts)
            logprobs = _Logprobs(len(self.prefix(request))).render(completion.logprobs)
            choices.append(_choice(self.index(request), said, logprobs, completion.finish_reason))
        usage = total([completion.usage or record.usage for completion, record, _ in answers])
        return msgspec.json.encode(self.body(answers[0][0].model, choices) | {"usage": render_usage(usage)})

    def stream(self, request: ChatRequest, decision: Decision) -> TextStream:
        """Make the renderer of one answer. The answers are streamed one after the other."""
        return TextStream(self, request)

    def index(self, request: ChatRequest) -> int:
        """Return the index of the answer to this request."""
        return self._indices[request.id]

    def is_last(self, request: ChatRequest) -> bool:
        """Whether no other answer follows."""
        return self.index(request) == len(self._indices) - 1

    def prefix(self, request: ChatRequest) -> str:
        """Return the text before the answer: the prompt, if the caller asked for `echo`."""
        return request.messages[-1].text if self.echo else ""

    def body(self, model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        """Render the fields that whole and streamed answers share."""
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": model,
            "choices": choices,
        }


class TextStream:
    """Writes the `text_completion` events of one answer. `[DONE]` follows the last answer."""

    keep_alive = sse.KEEP_ALIVE

    def __init__(self, answers: TextCompletions, request: ChatRequest) -> None:
        self._answers = answers
        self._request = request
        self._prefix = answers.prefix(request)
        self._logprobs = _Logprobs(len(self._prefix))
        self._model = ""
        self._usage: Usage | None = None

    def chunk(self, chunk: Chunk) -> bytes:
        """Render one chunk."""
        self._model = chunk.model or self._model
        self._usage = chunk.usage or self._usage
        said = _text(chunk.parts)
        if not said and chunk.finish_reason is None:
            return b""
        logprobs = self._logprobs.render(chunk.logprobs)
        said, self._prefix = self._prefix + said, ""
        choice = _choice(self._answers.index(self._request), said, logprobs, chunk.finish_reason)
        return sse.render(msgspec.json.encode(self._answers.body(self._model, [choice])))

    def end(self, record: Record) -> bytes:
        """Render the end of the last answer: the usage of all, if the caller asked for it, and `[DONE]`."""
        self._answers.usages.append(self._usage or record.usage)
        if not self._answers.is_last(self._request):
            return b""
        events = b""
        if self._request.stream_usage:
            body = self._answers.body(self._model, []) | {"usage": render_usage(total(self._answers.usages))}
            events = sse.render(msgspec.json.encode(body))
        return events + sse.render(b"[DONE]")

    def error(self, error: SemrouteError, status: int) -> bytes:
        """Render an error event, on which clients raise. No `[DONE]` follows."""
        return sse.render(msgspec.json.encode(error_body(error, status, "prompt")))


def _prompts(prompt: str | list[Any] | None) -> list[str]:
    texts = [prompt] if isinstance(prompt, str) else prompt or []
    if not texts:
        raise problem("prompt", "got nothing, expected text or a list of texts")
    for number, text in enumerate(texts):
        path = "prompt" if isinstance(prompt, str) else f"prompt[{number}]"
        if not isinstance(text, str):
            what = "tokens" if isinstance(text, int | list) else shown(text)
            raise problem(path, f"got {what}, expected text: each model counts tokens in its own way")
        if not text.strip():
            raise problem(path, "got an empty prompt, expected text")
    return texts


def _text(parts: tuple[Part, ...]) -> str:
    return "".join([part.text for part in parts if isinstance(part, Text | Refusal)])


def _choice(index: int, text: str, logprobs: dict[str, Any] | None, reason: FinishReason | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}


class _Logprobs:
    """Renders log-probabilities in the older form: parallel lists, with the position of each token in the text."""

    def __init__(self, offset: int) -> None:
        """`offset` is where the answer begins in the text."""
        self._offset = offset

    def render(self, logprobs: tuple[TokenLogprob, ...]) -> dict[str, Any] | None:
        """Render the log-probabilities of the next tokens. None: there are none."""
        if not logprobs:
            return None
        offsets = []
        for each in logprobs:
            offsets.append(self._offset)
            self._offset += len(each.token)
        return {
            "tokens": [each.token for each in logprobs],
            "token_logprobs": [each.logprob for each in logprobs],
            "top_logprobs": [{other.token: other.logprob for other in each.top} for each in logprobs],
            "text_offset": offsets,
        }
