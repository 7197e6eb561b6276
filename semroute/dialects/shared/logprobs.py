"""Log-probabilities that a check asked for, taken out of the answer of a caller who did not ask for them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from semroute.messages import Completion

NAME = "logprobs"


def without_logprobs(completion: Completion) -> Completion:
    """The answer as the model gives it to those who ask for no log-probabilities."""
    strip = _STRIP.get(completion.dialect)
    raw = completion.raw if strip is None else _stripped(completion.raw, strip)
    dropped = tuple(name for name in completion.dropped if name != NAME)
    return replace(completion, logprobs=(), raw=raw, dropped=dropped)


def _stripped(raw: bytes, strip: Callable[[dict[str, Any]], None]) -> bytes:
    answer = msgspec.json.decode(raw)  # it was read before, so that it is an object
    strip(answer)
    return msgspec.json.encode(answer)


def _chat(answer: dict[str, Any]) -> None:
    """OpenAI: https://platform.openai.com/docs/api-reference/chat/object. None stands where nothing was asked for."""
    for choice in _objects(answer.get("choices")):
        if "logprobs" in choice:
            choice["logprobs"] = None


def _responses(answer: dict[str, Any]) -> None:
    """OpenAI's Responses: https://platform.openai.com/docs/api-reference/responses/object. The list is empty then."""
    for item in _objects(answer.get("output")):
        for part in _objects(item.get("content")):
            if "logprobs" in part:
                part["logprobs"] = []


def _gemini(answer: dict[str, Any]) -> None:
    """Gemini: https://ai.google.dev/api/generate-content#Candidate. The average is given in any case by some."""
    for candidate in _objects(answer.get("candidates")):
        candidate.pop("logprobsResult", None)
        candidate.pop("avgLogprobs", None)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    return (each for each in value if isinstance(each, dict)) if isinstance(value, list) else iter(())


_STRIP: dict[str, Callable[[dict[str, Any]], None]] = {
    "openai": _chat,
    "responses": _responses,
    "gemini": _gemini,
}
"""By the dialect of the provider's own body. The other dialects have no log-probabilities."""
